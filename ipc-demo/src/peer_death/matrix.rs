//! What was seen, mechanism by mechanism: plain data, which a table and other demonstrations are made from.

use anyhow::{Context, Result};
use shared::number::count;
use shared::{Cell, Column, Mood, Table, refused};

use super::scene::{Dies, OnSigpipe, Sight, play};
use super::watch::Answer;
use super::ways::{Names, WAYS, Way};

/// One mechanism, and what was seen of it; or why this machine refuses it.
pub struct Row {
    pub way: &'static Way,
    pub seen: Result<Vec<Deaths>, String>,
}

/// One round: each side died once.
pub struct Deaths {
    pub writer_died: Sight,
    pub reader_died: Sight,
    /// Whether SIGPIPE would have killed the writer, which ignored it in `reader_died`; none where it saw no EPIPE.
    pub sigpipe: Option<Answer>,
}

/// Plays every death of every way.
pub fn observe(names: &Names, rounds: usize) -> Result<Vec<Row>> {
    let row = |way: &'static Way| match (0..rounds).map(|_| deaths(way, names)).collect() {
        Ok(seen) => Ok(Row { way, seen: Ok(seen) }),
        Err(error) => {
            let why = refused(&error).ok_or_else(|| error.context(format!("killing one side of: {}", way.name)))?;
            Ok(Row { way, seen: Err(why) })
        }
    };
    WAYS.iter().map(row).collect()
}

fn deaths(way: &Way, names: &Names) -> Result<Deaths> {
    let writer_died = play(way, Dies::Writer, OnSigpipe::Ignores, names).context("the writer dies")?;
    let reader_died = play(way, Dies::Reader, OnSigpipe::Ignores, names).context("the reader dies")?;
    let broken = reader_died.answer == Answer::Error("EPIPE".to_owned());
    let sigpipe = match broken {
        true => Some(play(way, Dies::Reader, OnSigpipe::Dies, names)?.answer),
        false => None,
    };
    Ok(Deaths { writer_died, reader_died, sigpipe })
}

impl Deaths {
    pub fn both(&self) -> [&Sight; 2] {
        [&self.writer_died, &self.reader_died]
    }
}

impl Row {
    pub fn sights(&self) -> impl Iterator<Item = &Sight> {
        self.seen.iter().flatten().flat_map(Deaths::both)
    }

    /// Whether both sides learn of the other's death, in every round.
    pub fn notices(&self) -> bool {
        self.seen.is_ok() && self.sights().all(|sight| notices(&sight.answer))
    }

    /// What was lost with the reader: the most of any round.
    pub fn lost(&self) -> u64 {
        self.seen.iter().flatten().map(|deaths| deaths.reader_died.lost()).max().unwrap_or(0)
    }

    /// What was left in any round, each once.
    pub fn left(&self) -> Vec<&str> {
        let mut left: Vec<&str> = self.sights().flat_map(|sight| &sight.left).map(String::as_str).collect();
        left.sort_unstable();
        left.dedup();
        left
    }
}

pub fn notices(answer: &Answer) -> bool {
    matches!(answer, Answer::End | Answer::Error(_) | Answer::Killed(_))
}

/// Whether that way's writer slept on when its reader died.
pub fn is_silent_to_its_writer(rows: &[Row], name: &str) -> bool {
    let of_it = rows.iter().filter(|row| row.way.name == name);
    let mut died = of_it.flat_map(|row| row.seen.iter().flatten()).map(|deaths| &deaths.reader_died.answer);
    died.any(|answer| matches!(answer, Answer::Silence(_)))
}

pub fn table(rows: &[Row]) -> Table {
    Table {
        title: "One side is killed in the middle of a message".to_owned(),
        columns: vec![
            Column::label("by"),
            Column::value("the reader sees", ""),
            Column::value("the writer sees", ""),
            Column::value("lost unread", ""),
            Column::value("left behind", ""),
        ],
        rows: rows.iter().map(cells).collect(),
    }
}

fn cells(row: &Row) -> Vec<Cell> {
    let name = Cell::Text(row.way.name.to_owned());
    let seen = match &row.seen {
        Ok(seen) => seen,
        Err(why) => {
            return vec![name, Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing, Cell::Nothing];
        }
    };
    let word = |says: Vec<String>, good: bool| {
        let mood = if good { Mood::Good } else { Mood::Bad };
        Cell::Word { says: each_once(says).join(" or "), mood }
    };
    let aware = |sight: fn(&Deaths) -> &Sight| seen.iter().all(|deaths| notices(&sight(deaths).answer));
    let reader = seen.iter().map(|deaths| {
        let had = if deaths.writer_died.received > 0 { "half" } else { "nothing" };
        format!("{had}, then {}", in_words(&deaths.writer_died.answer))
    });
    let reader = reader.collect();
    let writer = seen.iter().map(|deaths| match &deaths.sigpipe {
        Some(Answer::Killed(signal)) => format!("EPIPE or {signal}"),
        _ => in_words(&deaths.reader_died.answer),
    });
    let lost = row.lost();
    let unit = if lost == 1 { row.way.unit.trim_end_matches('s') } else { row.way.unit };
    let left = row.left();
    let left = if left.is_empty() { vec!["nothing".to_owned()] } else { vec![left.join(", ")] };
    let clean = row.left().is_empty();
    vec![
        name,
        word(reader, aware(|deaths| &deaths.writer_died)),
        word(writer.collect(), aware(|deaths| &deaths.reader_died)),
        word(vec![format!("{} {unit}", count(lost))], lost == 0),
        word(left, clean),
    ]
}

fn each_once(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words.dedup();
    words
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::End => "end".to_owned(),
        Answer::Error(name) => name.clone(),
        Answer::Killed(signal) => signal.to_string(),
        Answer::Silence(call) => format!("silence ({call})"),
        Answer::Unaware => "no error".to_owned(),
        Answer::Whole => "half taken for whole".to_owned(),
    }
}
