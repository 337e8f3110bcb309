//! One mechanism and all that was counted of it, in tables.

use anyhow::{Context, Result};
use nix::sys::signal::SigSet;
use shared::{Cell, Column, Table, refused};

use super::burden::{Burden, duties};
use super::programs::{MESSAGE, PROGRAMS};
use super::system_calls::{self, Counted, PerMessage, name_of};
use super::text::{self, Used, Written};
use crate::abilities::lines::{Between, MECHANISMS, MPSC};
use crate::abilities::{Abilities, Seen};
use crate::peer_death::ways::Names;

/// Snippets that wrap a mechanism, by its name.
const SNIPPETS: &[(&str, &str, &str)] = &[
    ("pipe", "pipe_pair", include_str!("../../snippets/pipe_pair.rs")),
    ("named FIFO", "fifo", include_str!("../../snippets/fifo.rs")),
    ("Unix stream", "socket_pair", include_str!("../../snippets/socket_pair.rs")),
    ("POSIX queue", "message_queue", include_str!("../../snippets/message_queue.rs")),
    ("eventfd", "event", include_str!("../../snippets/event.rs")),
    ("memory + futex", "shared_region", include_str!("../../snippets/shared_region.rs")),
    ("ring", "ring", include_str!("../../snippets/ring.rs")),
    ("ipc-channel", "typed", include_str!("../../snippets/typed.rs")),
    ("signal", "queued_signal", include_str!("../../snippets/queued_signal.rs")),
    ("whole messages on any stream", "framed", include_str!("../../snippets/framed.rs")),
    ("who is on the other end", "peer_credentials", include_str!("../../snippets/peer_credentials.rs")),
];

const PROGRAMS_TEXT: &str = include_str!("programs.rs");

/// What was counted; in place of what this machine refuses, the reason.
pub struct Row<'a> {
    pub abilities: &'a Abilities,
    used: Used,
    /// The program ran, and its message arrived as it was sent.
    pub arrived: Result<bool, String>,
    calls: Result<Vec<Counted>, String>,
}

/// Runs the program, and counts the system calls so many times.
pub fn count<'a>(abilities: &'a Abilities, names: &Names, series: usize) -> Result<Row<'a>> {
    let name = abilities.name;
    let mechanism = MECHANISMS.iter().find(|mechanism| mechanism.name == name).context("an unknown mechanism")?;
    let (_, function, program) = *PROGRAMS.iter().find(|program| program.0 == name).context("no program of it")?;
    let used = text::used(PROGRAMS_TEXT, function).context("the program has no text")?;
    if let Seen::Skipped(why) = &abilities.producers {
        return Ok(Row { abilities, used, arrived: Err(why.clone()), calls: Err(why.clone()) });
    }
    let before = SigSet::thread_get_mask()?; // One of them blocks a signal.
    let ran = program(names).map(|message| message == MESSAGE);
    before.thread_set_mask()?;
    let arrived = or_reason(ran).with_context(|| format!("the smallest program: {name}"))?;
    let calls = or_reason((0..series).map(|_| system_calls::of(mechanism, names)).collect())
        .with_context(|| format!("counting system calls: {name}"))?;
    Ok(Row { abilities, used, arrived, calls })
}

fn or_reason<T>(done: Result<T>) -> Result<Result<T, String>> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(error) => refused(&error).map(Err).ok_or(error),
    }
}

impl Row<'_> {
    pub fn is_between_processes(&self) -> bool {
        self.abilities.between == Between::Processes
    }

    fn counted(&self) -> Option<&Counted> {
        self.calls.as_ref().ok()?.first()
    }

    /// Whether each message, and each series, needed the same system calls; none if none could be counted.
    pub fn repeats(&self) -> Option<bool> {
        let first = self.counted()?;
        let same = self.calls.iter().flatten().all(|calls| calls == first);
        Some(same && first.awaited.repeats && first.present.repeats)
    }

    pub fn burden(&self) -> Burden {
        let ran = self.arrived.is_ok();
        Burden {
            name: self.abilities.name,
            lines: ran.then_some(self.used.lines),
            can_fail: ran.then_some(self.used.can_fail),
            system_calls: self.counted().map(|calls| (calls.set_up + calls.present.total()) as usize),
            duties: duties(&self.abilities.crash).map(|duties| duties.len()),
        }
    }
}

/// Lines counted by kind, and lines of the files, of all snippets.
pub fn lines_by_kind_and_in_all() -> (usize, usize) {
    let counted = SNIPPETS.iter().map(|(_, _, text)| text::lines(text));
    let by_kind = counted.map(|lines| lines.code + lines.tests + lines.comments + lines.blank).sum();
    (by_kind, SNIPPETS.iter().map(|(_, _, text)| text.matches('\n').count()).sum())
}

/// The four counts that decide, the least first: of every mechanism between processes, and of the channel.
pub fn counts(rows: &[Row]) -> Table {
    let cells = |row: &Row| {
        let burden = row.burden();
        let number = |count: Option<usize>| count.map_or(Cell::Nothing, |count| Cell::Number(count as f64));
        let (name, lines) = match &row.arrived {
            Err(why) => (burden.name.to_owned(), Cell::Skipped { skipped: why.clone() }),
            Ok(_) if row.is_between_processes() => (burden.name.to_owned(), number(burden.lines)),
            Ok(_) => (format!("{}, threads", burden.name), number(burden.lines)),
        };
        let rest = [burden.can_fail, burden.system_calls, burden.duties].map(number);
        [Cell::Text(name), lines].into_iter().chain(rest).collect()
    };
    let mut shown: Vec<&Row> =
        rows.iter().filter(|row| row.is_between_processes() || row.abilities.name == MPSC).collect();
    shown.sort_by_key(|row| (row.arrived.is_err(), row.used.lines, row.used.can_fail));
    let column = |name| Column::value(name, "");
    Table {
        title: "The smallest program that sends 64 bytes".to_owned(),
        columns: vec![
            Column::label("mechanism"),
            column("lines"),
            column("places to fail"),
            column("system calls"),
            column("duties after a crash"),
        ],
        rows: shown.into_iter().map(cells).collect(),
    }
}

pub fn programs(rows: &[Row]) -> Table {
    let cells = |row: &Row| {
        let number = |count: usize| Cell::Number(count as f64);
        let ran = match &row.arrived {
            Ok(_) => number(row.used.lines),
            Err(why) => Cell::Skipped { skipped: why.clone() },
        };
        let mut cells = vec![name_of_row(row), ran, number(row.used.can_fail), number(row.used.unsafe_blocks)];
        cells.extend(match duties(&row.abilities.crash) {
            Some(duties) if duties.is_empty() => [number(0), Cell::Text("nothing".to_owned())],
            Some(duties) => [number(duties.len()), Cell::Text(duties.join(", "))],
            None => [Cell::Nothing, Cell::Nothing],
        });
        cells
    };
    Table {
        title: "The smallest program in detail, and what a killed peer asks for".to_owned(),
        columns: vec![
            Column::label("mechanism"),
            Column::value("lines", ""),
            Column::value("can fail", ""),
            Column::value("unsafe", ""),
            Column::value("duties", ""),
            Column::value("after a crash", ""),
        ],
        rows: rows.iter().map(cells).collect(),
    }
}

fn name_of_row(row: &Row) -> Cell {
    Cell::Text(row.abilities.name.to_owned())
}

pub fn calls(rows: &[Row]) -> Table {
    let cells = |row: &Row| {
        let [set_up, awaited, present] = match (row.counted(), &row.calls) {
            (Some(calls), _) => [Cell::Number(calls.set_up as f64), names(&calls.awaited), names(&calls.present)],
            (None, Err(why)) => [Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing],
            (None, Ok(_)) => [Cell::Nothing, Cell::Nothing, Cell::Nothing],
        };
        vec![name_of_row(row), set_up, awaited, present]
    };
    Table {
        title: "System calls of both sides, together".to_owned(),
        columns: vec![
            Column::label("mechanism"),
            Column::value("set-up", ""),
            Column::value("message slept for", ""),
            Column::value("message there already", ""),
        ],
        rows: rows.iter().map(cells).collect(),
    }
}

/// As in '3: read, poll 2'.
fn names(message: &PerMessage) -> Cell {
    let name = |(name, times): (&String, &u64)| match times {
        1 => name_of(name).to_owned(),
        times => format!("{} {times}", name_of(name)),
    };
    let all: Vec<String> = message.calls.iter().map(name).collect();
    let varies = if message.repeats { "" } else { "varies, once " };
    Cell::Text(match all.is_empty() {
        true => format!("{varies}0"),
        false => format!("{varies}{}: {}", message.total(), all.join(", ")),
    })
}

pub fn snippets() -> Table {
    let cells = |&(what, file, text): &(&str, &str, &str)| {
        let Written { lines, unsafe_blocks, items, errors } = text::written(text);
        let number = |count: usize| Cell::Number(count as f64);
        let (what, file) = (Cell::Text(what.to_owned()), Cell::Text(file.to_owned()));
        vec![what, file, number(lines), number(unsafe_blocks), number(items), number(errors)]
    };
    Table {
        title: "The snippets that these programs rest on".to_owned(),
        columns: vec![
            Column::label("for"),
            Column::value("snippet", ""),
            Column::value("lines", ""),
            Column::value("unsafe", ""),
            Column::value("to know", ""),
            Column::value("errors named", ""),
        ],
        rows: SNIPPETS.iter().map(cells).collect(),
    }
}
