//! Which signals merge, and in which order do they come?

use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use ipc_demo::queued_signal::{Taken, block, send, take};
use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::unistd::Pid;
use process_demo::crew::{self, Crew, NOTHING};
use shared::{Cell, Column, Mood, Stage, Table};

pub const COUNT: usize = 100;

/// One kind of signal, and the values of those that arrived.
pub struct Kind {
    name: &'static str,
    signal: c_int,
    send: fn(Pid, c_int, usize) -> io::Result<()>,
    carries: bool,
    pub values: Vec<usize>,
}

/// Two standard ones, then two real-time ones.
pub fn show(stage: &mut Stage) -> Result<Vec<Kind>> {
    let kind = |name, signal, send, carries| Kind { name, signal, send, carries, values: Vec::new() };
    let by_kill: fn(Pid, c_int, usize) -> io::Result<()> = |to, signal, _| kill(to, signal);
    let mut kinds = vec![
        kind("SIGUSR1, by kill", libc::SIGUSR1, by_kill, false),
        kind("SIGUSR2, by sigqueue", libc::SIGUSR2, send, true),
        kind("SIGRTMIN, by kill", libc::SIGRTMIN(), by_kill, false),
        kind("SIGRTMIN+1, by sigqueue", libc::SIGRTMIN() + 1, send, true),
    ];
    let signals: Vec<c_int> = kinds.iter().map(|kind| kind.signal).collect();
    block(&signals)?; // The child inherits that, so there is no moment in which it would take one.
    let taken = send_all(&kinds, &signals)?;
    for kind in &mut kinds {
        kind.values = taken.iter().filter(|(signal, _)| *signal == kind.signal).map(|(_, number)| *number).collect();
    }
    stage.show(table(&kinds));
    judge(stage, &kinds, &taken);
    Ok(kinds)
}

/// Sends the highest number first, and returns what a child then found, in its order.
fn send_all(kinds: &[Kind], signals: &[c_int]) -> Result<Vec<(c_int, usize)>> {
    let mut child = Crew::of(crew::Kind::Processes, 1, || Ok(signals))?;
    let pid = child.pid(0).context("the receiver has ended")?;
    for kind in kinds.iter().rev() {
        (1..=COUNT).try_for_each(|value| (kind.send)(pid, kind.signal, value)).context(kind.name)?;
    }
    taken_by(&mut child)
}

/// Has a child take every pending signal; their numbers and values.
pub fn taken_by<'s>(child: &mut Crew<&'s [c_int]>) -> Result<Vec<(c_int, usize)>> {
    let take_one = |signals: &mut &'s [c_int], _| {
        let taken = take(signals, Duration::ZERO)?;
        Ok(taken.map_or(0, |Taken { signal, number, .. }| (signal as u64) << 32 | number as u64))
    };
    let mut taken = Vec::new();
    loop {
        match child.ask(0, take_one, NOTHING)?.value()? {
            0 => return Ok(taken),
            both => taken.push(((both >> 32) as c_int, both as u32 as usize)),
        }
    }
}

/// By libc: nix has no names for real-time signals.
pub fn kill(to: Pid, signal: c_int) -> io::Result<()> {
    // SAFETY: it takes two numbers.
    Ok(Errno::result(unsafe { libc::kill(to.as_raw(), signal) }).map(drop)?)
}

fn judge(stage: &mut Stage, kinds: &[Kind], taken: &[(c_int, usize)]) {
    let counts = |kinds: &[Kind]| kinds.iter().map(|kind| kind.values.len()).collect::<Vec<_>>();
    let (standard, queued) = kinds.split_at(2);
    let says = format!("Of {COUNT} standard signals of one number one arrives: those that wait merge");
    stage.fact(says, counts(standard) == [1, 1], format!("{} arrived", in_words(&counts(standard))));
    let says = "The one that arrives has the first value; the others are lost, and no sender is told";
    stage.fact(says, kinds[1].values == [1], format!("value {}", in_words(&kinds[1].values)));
    let says = format!("Of {COUNT} real-time signals all {COUNT} arrive");
    stage.fact(says, counts(queued) == [COUNT, COUNT], format!("{} arrived", in_words(&counts(queued))));
    let in_order = kinds[3].values.iter().copied().eq(1..=COUNT);
    let got = if in_order { "1, 2, 3 and so on" } else { "another order" };
    stage.fact("They come in the order in which they were sent, each with its value", in_order, got);
    let by_number = taken.is_sorted_by_key(|(signal, _)| *signal);
    let got = if by_number { "the last sent came first" } else { "another order" };
    stage.fact("Of different numbers the lowest comes first, though it was sent last", by_number, got);
}

fn in_words(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ")
}

fn table(kinds: &[Kind]) -> Table {
    let word = |says: &str, mood| Cell::Word { says: says.to_owned(), mood };
    let row = |kind: &Kind| {
        let intact = kind.values.iter().copied().eq(1..=COUNT);
        let values = match (kind.carries, intact) {
            (false, _) => word("carries none", Mood::Neutral),
            (true, true) => word("all, in order", Mood::Good),
            (true, false) => word(&format!("{} alone", in_words(&kind.values)), Mood::Bad),
        };
        let count = |count: usize| Cell::Number(count as f64);
        vec![Cell::Text(kind.name.to_owned()), count(COUNT), count(kind.values.len()), values]
    };
    Table {
        title: "Sent to a child that has them blocked".to_owned(),
        columns: vec![
            Column::label("signal"),
            Column::value("sent", ""),
            Column::value("arrived", ""),
            Column::value("values", ""),
        ],
        rows: kinds.iter().map(row).collect(),
    }
}
