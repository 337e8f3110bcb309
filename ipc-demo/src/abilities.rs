//! What can a mechanism do beyond carrying one message from one to one? Each is tried; nothing is known beforehand.

mod crash;
pub mod lines;
mod many;
mod select;

use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::signal::SigSet;
use shared::{Cell, Column, Mood, Table, refused};

pub use crash::Afterwards;
use crash::Deaths;
use lines::{Between, MECHANISMS, Mechanism, openings};

use crate::names::Names;

/// What was seen of one mechanism.
pub struct Abilities {
    pub name: &'static str,
    pub between: Between,
    /// Two send at once into one end: does all arrive, whole?
    pub producers: Seen,
    /// Can one wait for two of them at once, without a thread for each?
    pub select: Seen,
    /// Does a mebibyte go in one send?
    pub large: Seen,
    /// One side is killed: what does the other know, and what is left?
    pub crash: Afterwards,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Yes,
    /// Yes, by these means only.
    Partly(String),
    /// The error that came, or what came in its place.
    No(String),
    /// This machine refuses what the trial needs.
    Skipped(String),
}

impl Seen {
    pub fn is_skipped(&self) -> bool {
        matches!(self, Seen::Skipped(_))
    }
}

/// Tries every mechanism. What needs a name gets it in the directory, which is the caller's own, or in the system,
/// where `system_name` must be nobody else's; all names are gone afterwards. It forks: this process must have one
/// thread.
pub fn observe(directory: &Path, system_name: &str) -> Result<Vec<Abilities>> {
    openings::introduce_ipc_channel()?;
    let names = Names { directory: directory.to_owned(), system: system_name.to_owned() };
    let before = SigSet::thread_get_mask()?; // Signals to be waited for are blocked, and stay so until the end.
    let deaths = Deaths::begin(&names)?;
    let tried = MECHANISMS.iter().map(|mechanism| trials(mechanism, &names)).collect::<Result<Vec<_>>>();
    before.thread_set_mask()?;
    let seen = deaths.see(&names)?;
    let both = MECHANISMS.iter().zip(tried?).zip(seen);
    Ok(both.map(|((mechanism, trials), crash)| of(mechanism, trials, crash)).collect())
}

fn trials(mechanism: &Mechanism, names: &Names) -> Result<[Seen; 3]> {
    let name = mechanism.name;
    let producers = or_skipped(many::producers(mechanism, names)).with_context(|| format!("two at once: {name}"))?;
    let select = or_skipped(select::of_two(mechanism, names)).with_context(|| format!("two to wait for: {name}"))?;
    let large = or_skipped(many::large(mechanism, names)).with_context(|| format!("a large one: {name}"))?;
    Ok([producers, select, large])
}

fn of(mechanism: &Mechanism, [producers, select, large]: [Seen; 3], crash: Afterwards) -> Abilities {
    Abilities { name: mechanism.name, between: mechanism.between, producers, select, large, crash }
}

fn or_skipped(seen: Result<Seen>) -> Result<Seen> {
    seen.or_else(|error| refused(&error).map(Seen::Skipped).ok_or(error))
}

pub fn table(all: &[Abilities]) -> Table {
    Table {
        title: "What each mechanism can do; who is told of a death, and is the unread lost".to_owned(),
        columns: vec![
            Column::label("mechanism"),
            Column::value("two send", ""),
            Column::value("wait for two", ""),
            Column::value("1 MiB", ""),
            Column::value("told of death", ""),
            Column::value("unread lost", ""),
        ],
        rows: all.iter().map(cells).collect(),
    }
}

fn cells(abilities: &Abilities) -> Vec<Cell> {
    let cell = |seen: &Seen| match seen {
        Seen::Yes => Cell::Word { says: "yes".to_owned(), mood: Mood::Good },
        Seen::Partly(says) => Cell::Word { says: says.clone(), mood: Mood::Neutral },
        Seen::No(says) => Cell::Word { says: says.clone(), mood: Mood::Bad },
        Seen::Skipped(why) => Cell::Skipped { skipped: why.clone() },
    };
    let Abilities { name, producers, select, large, crash, .. } = abilities;
    let [told, lost] = crash.cells();
    vec![Cell::Text((*name).to_owned()), cell(producers), cell(select), cell(large), told, lost]
}
