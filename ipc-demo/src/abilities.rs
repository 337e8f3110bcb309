//! What can a mechanism do beyond carrying one message from one to one? Each is tried; nothing is known beforehand.

pub mod lines;
mod mailbox;
mod many;
mod select;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, raise};
use process_demo::child::Exit;
use process_demo::crew::{Crew, Kind, NOTHING, Reply};
use shared::{Cell, Table, Tried, tried};

use crate::names::Names;
use crate::peer_death::{self, Dies, play};
use lines::{MECHANISMS, Mechanism};

/// What was seen of one mechanism.
pub struct Abilities {
    pub mechanism: &'static Mechanism,
    /// Two send at once into one end: does all arrive, whole?
    pub two_send: Tried<Seen>,
    /// Can one wait for two of them at once, without a thread for each?
    wait_for_two: Tried<Seen>,
    /// Does a mebibyte go in one send?
    large: Tried<Seen>,
    /// One side is killed: what does the other know, and what is left?
    pub deaths: Tried<Deaths>,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Yes,
    /// Yes, by these means only.
    Partly(String),
    /// The error that came, or what came in its place.
    No(String),
}

/// What the death of one side means to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deaths {
    /// The other side lives on. How many of the two sides are told of the other's death; whether some of what was sent
    /// can never be read; and what is left in the system when both are gone.
    OneSide { told: usize, lost: bool, left: BTreeSet<&'static str> },
    /// Both sides are one process: it ends with its thread, and so is nothing left.
    BothSides,
}

/// Tries every mechanism. It forks: this process must have one thread, which keeps signals blocked from then on.
pub fn observe(names: &Names) -> Result<Vec<Abilities>> {
    let observe = |one| observe_one(one, names).with_context(|| format!("trying what it can: {}", one.name));
    MECHANISMS.iter().map(observe).collect()
}

fn observe_one(mechanism: &'static Mechanism, names: &Names) -> Result<Abilities> {
    let deaths = match mechanism.between {
        Kind::Processes => kill_each_side(mechanism.name, names),
        Kind::Threads => kill_a_thread(),
    };
    Ok(Abilities {
        mechanism,
        two_send: tried(many::two_send(mechanism, names))?,
        wait_for_two: tried(select::wait_for_two(mechanism, names))?,
        large: tried(many::large(mechanism, names))?,
        deaths: tried(deaths)?,
    })
}

fn kill_each_side(name: &str, names: &Names) -> Result<Deaths> {
    let mechanism = peer_death::MECHANISMS.iter().find(|one| one.name == name).context("no such mechanism")?;
    let [reader, writer] = [play(mechanism, Dies::Writer, names)?, play(mechanism, Dies::Reader, names)?];
    let told = [&reader, &writer].into_iter().filter(|survivor| survivor.answer.is_ok()).count();
    let left = reader.left.into_iter().chain(writer.left).collect();
    Ok(Deaths::OneSide { told, lost: writer.lost > 0, left })
}

/// One of two threads.
fn kill_a_thread() -> Result<Deaths> {
    let mut threads = Crew::of(Kind::Threads, 2, || Ok(()))?;
    threads.ask(0, |(), _| Ok(raise(Signal::SIGKILL).map(|()| 0)?), NOTHING)?;
    let other = threads.ask(1, |(), _| Ok(0), NOTHING)?;
    ensure!(other == Reply::Gone(Exit::Signal(Signal::SIGKILL)), "a thread was killed, and another one lives");
    Ok(Deaths::BothSides)
}

pub fn table(all: &[Abilities]) -> Table {
    let cell = |seen: &Seen| match seen {
        Seen::Yes => Cell::good("yes"),
        Seen::Partly(says) => Cell::neutral(says),
        Seen::No(says) => Cell::bad(says),
    };
    let told = |deaths: &Deaths| match deaths {
        Deaths::BothSides => Cell::bad("both die"),
        Deaths::OneSide { told: 2, .. } => Cell::good("both"),
        Deaths::OneSide { told, .. } => Cell::bad(["none", "one"][*told]),
    };
    let lost = |deaths: &Deaths| match deaths {
        Deaths::OneSide { lost: false, .. } => Cell::good("no"),
        _ => Cell::bad("yes"),
    };
    let row = |Abilities { mechanism, two_send, wait_for_two, large, deaths }: &Abilities| {
        let trials = [two_send, wait_for_two, large].map(|seen| Cell::of(seen, cell));
        let lost = deaths.as_ref().map_or(Cell::Nothing, lost); // The cell before it says why.
        [vec![mechanism.name.into()], trials.into(), vec![Cell::of(deaths, told), lost]].concat()
    };
    let title = "What each mechanism can do; who is told of a death, and is the unread lost";
    let columns = ["mechanism", "two send", "wait for two", "1 MiB", "told of death", "unread lost"];
    Table::new(title, columns, all.iter().map(row))
}
