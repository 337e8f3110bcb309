//! What was seen, mechanism by mechanism: plain data, which a table and other demonstrations are made from.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use shared::number::{counted, with_unit};
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

    /// What became of writers that got EPIPE, and did not ignore SIGPIPE.
    pub fn by_sigpipe(&self) -> impl Iterator<Item = &Answer> {
        self.seen.iter().flatten().filter_map(|deaths| deaths.sigpipe.as_ref())
    }

    /// Whether both sides learn of the other's death, in every round.
    pub fn notices(&self) -> bool {
        self.seen.is_ok() && self.sights().all(|sight| notices(&sight.answer))
    }

    /// How many of both sides do not; more where nothing was seen.
    pub fn untold(&self) -> usize {
        if self.seen.is_err() { usize::MAX } else { SIDES.iter().filter(|survivor| !self.tells(**survivor)).count() }
    }

    fn tells(&self, survivor: Survivor) -> bool {
        self.seen.iter().flatten().all(|deaths| notices(&survivor(deaths).answer))
    }

    /// What was lost with the reader: the most of any round.
    pub fn lost(&self) -> u64 {
        self.seen.iter().flatten().map(|deaths| deaths.reader_died.lost()).max().unwrap_or(0)
    }

    fn lost_exactly(&self) -> String {
        counted(self.lost() as usize, self.way.unit.trim_end_matches('s'))
    }

    /// What was left in any round, each once.
    pub fn left(&self) -> Vec<&str> {
        let mut left: Vec<&str> = self.sights().flat_map(|sight| &sight.left).map(String::as_str).collect();
        left.sort_unstable();
        left.dedup();
        left
    }
}

/// What one side saw of the other's death.
type Survivor = fn(&Deaths) -> &Sight;

const READER: Survivor = |deaths| &deaths.writer_died;
const WRITER: Survivor = |deaths| &deaths.reader_died;
const SIDES: [Survivor; 2] = [READER, WRITER];

pub fn notices(answer: &Answer) -> bool {
    matches!(answer, Answer::End | Answer::Error(_) | Answer::Killed(_))
}

/// Whether that way's writer slept on when its reader died.
pub fn is_silent_to_its_writer(rows: &[Row], name: &str) -> bool {
    let of_it = rows.iter().filter(|row| row.way.name == name);
    let mut died = of_it.flat_map(|row| row.seen.iter().flatten()).map(|deaths| &deaths.reader_died.answer);
    died.any(|answer| matches!(answer, Answer::Silence(_)))
}

/// What each side sees, in short.
pub fn table(rows: &[Row]) -> Table {
    let cells = |row: &Row| {
        let Ok(seen) = &row.seen else { return skipped(row) };
        let [reader, writer] = SIDES.map(|survivor| {
            let says = each_once(seen.iter().map(|deaths| in_words(&survivor(deaths).answer)));
            word(says, row.tells(survivor))
        });
        let lost = match (row.lost(), row.way.unit) {
            (0, _) => "nothing".to_owned(),
            (bytes, "bytes") => with_unit("bytes", bytes as f64),
            _ => row.lost_exactly(),
        };
        let left = if row.left().is_empty() { "nothing".to_owned() } else { row.left().join(", ") };
        vec![
            Cell::Text(row.way.name.to_owned()),
            reader,
            writer,
            word(lost, row.lost() == 0),
            word(left, row.left().is_empty()),
        ]
    };
    Table {
        title: "What the survivor sees, what is lost unread, what stays behind".to_owned(),
        columns: ["mechanism", "reader sees", "writer sees", "lost", "left behind"].map(column).into(),
        rows: rows.iter().map(cells).collect(),
    }
}

/// What the reader had, where the silent slept, and how much was lost, exactly.
pub fn details(rows: &[Row]) -> Table {
    let cells = |row: &Row| {
        let Ok(seen) = &row.seen else { return skipped(row) };
        let had = seen.iter().map(|deaths| if deaths.writer_died.received > 0 { "half" } else { "nothing" }.to_owned());
        let [reader, writer] = SIDES.map(|survivor| {
            let calls = seen.iter().filter_map(|deaths| match &survivor(deaths).answer {
                Answer::Silence(call) => Some(call.clone()),
                _ => None,
            });
            Cell::Text(each_once(calls))
        });
        vec![
            Cell::Text(row.way.name.to_owned()),
            Cell::Text(each_once(had)),
            reader,
            writer,
            Cell::Text(row.lost_exactly()),
        ]
    };
    Table {
        title: "What the reader had of the message, and in which call the silent sleep".to_owned(),
        columns: ["mechanism", "reader had", "reader sleeps in", "writer sleeps in", "lost"].map(column).into(),
        rows: rows.iter().map(cells).collect(),
    }
}

fn column(name: &str) -> Column {
    if name == "mechanism" { Column::label(name) } else { Column::value(name, "") }
}

fn skipped(row: &Row) -> Vec<Cell> {
    let why = row.seen.as_ref().err().cloned().unwrap_or_default();
    let name = Cell::Text(row.way.name.to_owned());
    vec![name, Cell::Skipped { skipped: why }, Cell::Nothing, Cell::Nothing, Cell::Nothing]
}

fn word(says: String, good: bool) -> Cell {
    Cell::Word { says, mood: if good { Mood::Good } else { Mood::Bad } }
}

fn each_once(words: impl Iterator<Item = String>) -> String {
    words.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" or ")
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::End => "end".to_owned(),
        Answer::Error(name) => name.clone(),
        Answer::Killed(signal) => signal.to_string(),
        Answer::Silence(_) => "silence".to_owned(),
        Answer::Unaware => "no error".to_owned(),
        Answer::Whole => "half as whole".to_owned(),
    }
}
