//! How long does each rival take? A contest of rivals, measured in turn.

mod clock;
mod entry;
mod measured;
mod placement;
mod spoilers;
#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};
use nix::unistd::Pid;

pub use clock::{Calibration, Clock, SystemClock};
pub use measured::{Figures, Measured, Row, RowName};
pub use placement::{PinTo, Pinned, Pinning, usable_cpus};

use crate::report::{Effort, Placement, RowRole};
use entry::{Entry, prepare_all};
use spoilers::Watch;

/// Rivals to be measured together, in turn; they differ in one thing.
pub struct Contest<'a> {
    key: Option<String>,
    title: String,
    differs_in: String,
    timing: Timing,
    rivals: Vec<Rival<'a>>,
}

/// What one sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// As many operations as make the clock's own cost vanish; gives a median.
    Batches,
    /// One operation, timed alone, the clock's cost included; gives a median and a 99th percentile.
    Events,
}

/// One row to be: how to get ready, and whether that takes a process.
pub struct Rival<'a> {
    name: RowName,
    placement: Placement,
    parties: Parties,
    prepare: Prepare<'a>,
}

type Prepare<'a> = Box<dyn FnOnce(Pinning) -> Result<Ready<'a>> + 'a>;
type Turn<'a> = Box<dyn FnMut(u64) -> Result<u64> + 'a>;
type CpuTime<'a> = Box<dyn FnMut() -> Option<u64> + 'a>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Parties {
    Processes,
    Threads,
}

/// A rival that is ready: its turn performs so many operations, checks each, and returns how many proved right.
/// Dropping it ends what the preparation started.
pub struct Ready<'a> {
    turn: Turn<'a>,
    children: Vec<Pid>,
    elsewhere: CpuTime<'a>,
}

impl<'a> Ready<'a> {
    /// Between its turns, whatever the rival started must sleep in the kernel.
    pub fn new(turn: impl FnMut(u64) -> Result<u64> + 'a) -> Ready<'a> {
        Ready::with_children(turn, Vec::new())
    }

    /// The same, with child processes whose CPU time counts; this process and its ended children count anyway.
    pub fn with_children(turn: impl FnMut(u64) -> Result<u64> + 'a, children: Vec<Pid>) -> Ready<'a> {
        Ready { turn: Box::new(turn), children, elsewhere: Box::new(|| Some(0)) }
    }

    /// Adds CPU time that nobody can read from outside: that of a child's own ended children, which the child must be
    /// asked for. `cpu_ns` gives its sum so far, in nanoseconds, or nothing if that is unknown; it is asked outside of
    /// what is timed, but its own cost counts.
    pub fn and_cpu(mut self, cpu_ns: impl FnMut() -> Option<u64> + 'a) -> Ready<'a> {
        self.elsewhere = Box::new(cpu_ns);
        self
    }
}

impl<'a> Rival<'a> {
    /// A rival whose preparation forks: it is prepared before any rival's threads start.
    ///
    /// The preparation gets the two sides' pinning; `pinning.peer.pin()` pins the peer. An error that means 'refused by
    /// this machine', then or at the first use, makes a skipped row with its reason.
    pub fn of_processes(
        label: impl Into<String>,
        placement: Placement,
        prepare: impl FnOnce(Pinning) -> Result<Ready<'a>> + 'a,
    ) -> Rival<'a> {
        Rival { name: RowName::of(label), placement, parties: Parties::Processes, prepare: Box::new(prepare) }
    }

    /// A rival of one or more threads of this process.
    pub fn of_threads(
        label: impl Into<String>,
        placement: Placement,
        prepare: impl FnOnce(Pinning) -> Result<Ready<'a>> + 'a,
    ) -> Rival<'a> {
        Rival { name: RowName::of(label), placement, parties: Parties::Threads, prepare: Box::new(prepare) }
    }

    /// What the row is of, for those who read rows and not labels: `("ring", RowRole::Processes)`.
    #[must_use]
    pub fn known_as(mut self, key: impl Into<String>, role: RowRole) -> Rival<'a> {
        (self.name.key, self.name.role) = (key.into(), Some(role));
        self
    }

    /// Shown by `--full` alone.
    #[must_use]
    pub fn in_detail(mut self) -> Rival<'a> {
        self.name.detail = true;
        self
    }
}

impl<'a> Contest<'a> {
    pub fn new(title: impl Into<String>, differs_in: impl Into<String>, timing: Timing) -> Contest<'a> {
        Contest { key: None, title: title.into(), differs_in: differs_in.into(), timing, rivals: Vec::new() }
    }

    /// The key by which the guide finds what was measured: `start`, `round-trip`.
    #[must_use]
    pub fn known_as(mut self, key: &str) -> Contest<'a> {
        self.key = Some(key.to_owned());
        self
    }

    /// Adds a row; rows stand in this order.
    pub fn add(&mut self, rival: Rival<'a>) {
        self.rivals.push(rival);
    }

    /// Measures all rivals with what the effort allows.
    pub fn measure(self, effort: Effort) -> Result<Measured> {
        self.measure_with(&SystemClock, &Budget::of(effort))
    }

    /// The same by any clock and budget: a fake clock shows batch sizes, order and early stop exactly.
    pub fn measure_with(self, clock: &dyn Clock, budget: &Budget) -> Result<Measured> {
        ensure!(budget.rounds > 0 && budget.events > 0, "a budget of nothing measures nothing");
        let calibration = Calibration::of(clock);
        let mut entries = prepare_all(self.rivals, budget, self.timing)?;
        let turn_ns = budget.time_ns / (FEWEST_ROUNDS * entries.len().max(1)) as u64;
        for entry in &mut entries {
            entry.warm_up(clock, &calibration, budget, self.timing, turn_ns)?;
        }
        let children = entries.iter().flat_map(Entry::children).copied().collect();
        let watch = Watch::start(clock, children);
        take_rounds(&mut entries, clock, budget, self.timing)?;
        let mut spoiled = watch.findings(clock, entries.iter().any(Entry::shares_a_cpu));
        if entries.iter().any(Entry::shares_a_core) {
            spoiled
                .push("its two CPUs are two hardware threads of one core, which share its units and caches".to_owned());
        }
        let rows: Vec<Row> = entries.into_iter().map(Entry::into_row).collect();
        spoiled.extend(rows.iter().filter_map(|row| row.two_modes(&calibration)));
        let (key, title, differs_in) = (self.key, self.title, self.differs_in);
        Ok(Measured { key, title, differs_in, timing: self.timing, calibration, rows, spoiled })
    }
}

/// Round after round, until they are done or time is up; in a round that a loaded machine drags out, until it is long up.
fn take_rounds(entries: &mut [Entry<'_>], clock: &dyn Clock, budget: &Budget, timing: Timing) -> Result<()> {
    let start_ns = clock.now_ns();
    let spent_ns = || clock.now_ns() - start_ns;
    for round in 0..budget.rounds {
        if spent_ns() >= budget.time_ns && round >= FEWEST_ROUNDS {
            break;
        }
        // A B, then B A: a drift in time hits every rival alike.
        let order: Vec<usize> =
            if round % 2 == 0 { (0..entries.len()).collect() } else { (0..entries.len()).rev().collect() };
        for index in order {
            // Everybody has one round by then. A ratio without an interval is too close to call, but it comes in time.
            if round > 0 && spent_ns() >= budget.time_ns.saturating_mul(LONG_UP) {
                return Ok(());
            }
            if let Some(entry) = entries[index].running() {
                entry.take_turn(clock, timing)?;
            }
        }
    }
    Ok(())
}

/// The fewest rounds whose ratios have a 99 % rank interval: 2 * 0.5^8 < 0.01.
pub const FEWEST_ROUNDS: usize = 8;

/// So many times its budget, a contest ends with fewer rounds too: its batches were sized in calmer moments.
const LONG_UP: u64 = 4;

/// How much a contest may spend.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub rounds: usize,
    /// After so long no new round starts, once `FEWEST_ROUNDS` are done; after `LONG_UP` times as long, none goes on.
    pub time_ns: u64,
    /// A batch lasts at least so long: one stray interrupt of some microseconds must not show.
    pub sample_ns: u64,
    /// Events that a rival times in one turn at most, after one that is not timed.
    pub events: u64,
    /// The longest warm-up of one rival, but for two windows, which it always takes.
    pub warm_up_ns: u64,
}

impl Budget {
    pub fn of(effort: Effort) -> Budget {
        const MS: u64 = 1_000_000;
        const EVENTS: u64 = 25; // Those of one round move together: more rounds tell more than more events.
        match effort {
            Effort::Quick => {
                Budget { rounds: 13, time_ns: 250 * MS, sample_ns: MS / 2, events: 10, warm_up_ns: 20 * MS }
            }
            Effort::Normal => {
                Budget { rounds: 71, time_ns: 6_000 * MS, sample_ns: MS, events: EVENTS, warm_up_ns: 300 * MS }
            }
            Effort::Thorough => {
                Budget { rounds: 401, time_ns: 120_000 * MS, sample_ns: 2 * MS, events: EVENTS, warm_up_ns: 1_000 * MS }
            }
        }
    }
}
