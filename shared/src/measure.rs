//! How long does each rival take? The engine that sizes, warms up, alternates and times.

mod clock;
mod placement;
mod spoilers;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;

pub use clock::{Calibration, Clock, SystemClock};
pub use placement::{Pinned, Seat, Seats, usable_cpus};
use spoilers::Watch;

use crate::refused::refused;
use crate::report::{Comparison, ComparisonRow, Effort, MeasuredRow, Placement};
use crate::stats::{self, Median, Ratio};

/// Rivals to be measured together, in turn; they differ in one thing.
pub struct Contest<'a> {
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
    label: String,
    placement: Placement,
    parties: Parties,
    prepare: Prepare<'a>,
}

type Prepare<'a> = Box<dyn FnOnce(Seats) -> Result<Ready<'a>> + 'a>;
type Turn<'a> = Box<dyn FnMut(u64) -> Result<u64> + 'a>;

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
}

impl<'a> Ready<'a> {
    /// Between its turns, whatever the rival started must sleep in the kernel.
    pub fn new(turn: impl FnMut(u64) -> Result<u64> + 'a) -> Ready<'a> {
        Ready { turn: Box::new(turn), children: Vec::new() }
    }

    /// The same, with child processes whose CPU time counts; this process and its ended children count anyway.
    pub fn with_children(turn: impl FnMut(u64) -> Result<u64> + 'a, children: Vec<Pid>) -> Ready<'a> {
        Ready { turn: Box::new(turn), children }
    }
}

impl<'a> Rival<'a> {
    /// A rival whose preparation forks: it is prepared before any rival's threads start.
    ///
    /// The preparation gets the two sides' seats; `seats.peer.sit()` pins the peer. An error that means 'refused by
    /// this machine' makes a skipped row with its reason.
    pub fn of_processes(
        label: impl Into<String>,
        placement: Placement,
        prepare: impl FnOnce(Seats) -> Result<Ready<'a>> + 'a,
    ) -> Rival<'a> {
        Rival { label: label.into(), placement, parties: Parties::Processes, prepare: Box::new(prepare) }
    }

    /// A rival of one or more threads of this process.
    pub fn of_threads(
        label: impl Into<String>,
        placement: Placement,
        prepare: impl FnOnce(Seats) -> Result<Ready<'a>> + 'a,
    ) -> Rival<'a> {
        Rival { label: label.into(), placement, parties: Parties::Threads, prepare: Box::new(prepare) }
    }
}

impl<'a> Contest<'a> {
    pub fn new(title: impl Into<String>, differs_in: impl Into<String>, timing: Timing) -> Contest<'a> {
        Contest { title: title.into(), differs_in: differs_in.into(), timing, rivals: Vec::new() }
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
        let calibration = Calibration::of(clock);
        let watch = Watch::start(clock);
        let mut entries = prepare_all(self.rivals, budget, self.timing)?;
        for entry in entries.iter_mut().filter_map(Entry::running) {
            entry.warm_up(clock, &calibration, budget, self.timing)?;
        }
        let start_ns = clock.now_ns();
        for round in 0..budget.rounds {
            let time_is_up = clock.now_ns() - start_ns > budget.time_ns;
            if time_is_up && round >= FEWEST_ROUNDS {
                break;
            }
            // A B, then B A: a drift in time hits every rival alike.
            let order: Vec<usize> =
                if round % 2 == 0 { (0..entries.len()).collect() } else { (0..entries.len()).rev().collect() };
            for index in order {
                if let Some(entry) = entries[index].running() {
                    entry.take_turn(clock, budget, self.timing)?;
                }
            }
        }
        let spoiled = watch.findings(clock, entries.iter().any(Entry::shares_a_cpu));
        let rows = entries.into_iter().map(Entry::into_row).collect();
        let (title, differs_in) = (self.title, self.differs_in);
        Ok(Measured { title, differs_in, timing: self.timing, calibration, rows, spoiled })
    }
}

/// The fewest rounds whose ratios have a 99 % rank interval: 2 * 0.5^8 < 0.01.
pub const FEWEST_ROUNDS: usize = 8;

/// A sample lasts at least so many reads of the clock, so that they cost it under 2 %.
const CLOCK_READS: u64 = 50;

/// How much a contest may spend.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub rounds: usize,
    /// After so long no new round starts, once `FEWEST_ROUNDS` are done.
    pub time_ns: u64,
    /// A batch lasts at least so long: one stray interrupt of some microseconds must not show.
    pub sample_ns: u64,
    /// Events that a rival times in one turn.
    pub events: u64,
    /// The longest warm-up of one rival.
    pub warm_up_ns: u64,
}

impl Budget {
    pub fn of(effort: Effort) -> Budget {
        const MS: u64 = 1_000_000;
        match effort {
            Effort::Quick => {
                Budget { rounds: 15, time_ns: 700 * MS, sample_ns: MS / 2, events: 32, warm_up_ns: 20 * MS }
            }
            Effort::Normal => {
                Budget { rounds: 101, time_ns: 10_000 * MS, sample_ns: MS, events: 100, warm_up_ns: 300 * MS }
            }
            Effort::Thorough => {
                Budget { rounds: 401, time_ns: 120_000 * MS, sample_ns: 2 * MS, events: 250, warm_up_ns: 1_000 * MS }
            }
        }
    }
}

enum Entry<'a> {
    Running(Box<Runner<'a>>),
    Skipped { label: String, placement: Placement, why: String },
}

struct Runner<'a> {
    label: String,
    placement: Placement,
    seats: Seats,
    ready: Ready<'a>,
    steps: u64,
    /// Reserved and touched before the first turn: storing a sample must not fault a page in.
    samples: Vec<f64>,
    /// Where each round starts in `samples`.
    rounds: Vec<usize>,
    cpu_ns: Option<u64>,
    operations: u64,
}

/// Prepares those that fork before those that start threads, and keeps the rows in their order.
fn prepare_all<'a>(rivals: Vec<Rival<'a>>, budget: &Budget, timing: Timing) -> Result<Vec<Entry<'a>>> {
    let mut waiting: Vec<(usize, Rival<'a>)> = rivals.into_iter().enumerate().collect();
    waiting.sort_by_key(|(_, rival)| rival.parties);
    let mut entries: Vec<(usize, Entry<'a>)> = Vec::with_capacity(waiting.len());
    for (index, rival) in waiting {
        entries.push((index, prepare(rival, budget, timing)?));
    }
    entries.sort_by_key(|(index, _)| *index);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

fn prepare<'a>(rival: Rival<'a>, budget: &Budget, timing: Timing) -> Result<Entry<'a>> {
    let Rival { label, placement, prepare, .. } = rival;
    let Some(seats) = Seats::of(placement) else {
        return Ok(Entry::Skipped { label, placement, why: "one usable CPU".to_owned() });
    };
    let ready = match prepare(seats) {
        Ok(ready) => ready,
        Err(error) => match refused(&error) {
            Some(why) => return Ok(Entry::Skipped { label, placement, why }),
            None => return Err(error.context(format!("preparing '{label}'"))),
        },
    };
    let room = budget.rounds * if timing == Timing::Events { budget.events as usize } else { 1 };
    let mut samples = vec![f64::MAX; room]; // Not zero: zeroed memory is mapped, but not yet there.
    samples.clear();
    let rounds = Vec::with_capacity(budget.rounds);
    let runner =
        Runner { label, placement, seats, ready, steps: 1, samples, rounds, cpu_ns: Some(0), operations: 0 };
    Ok(Entry::Running(Box::new(runner)))
}

impl<'a> Entry<'a> {
    fn running(&mut self) -> Option<&mut Runner<'a>> {
        if let Entry::Running(runner) = self { Some(runner) } else { None }
    }

    fn shares_a_cpu(&self) -> bool {
        matches!(self, Entry::Running(runner) if runner.placement == Placement::SameCpu)
    }

    fn into_row(self) -> Row {
        match self {
            Entry::Skipped { label, placement, why } => Row { label, placement, figures: Err(why) },
            Entry::Running(runner) => {
                let Runner { label, placement, steps, samples, rounds, cpu_ns, operations, .. } = *runner;
                let cpu_ns = cpu_ns.map(|total| total as f64 / operations.max(1) as f64);
                Row { label, placement, figures: Ok(Figures { steps, samples, rounds, cpu_ns }) }
            }
        }
    }
}

impl Runner<'_> {
    /// One timed call of the rival; an operation that did not prove right ends the contest.
    fn time(&mut self, clock: &dyn Clock, steps: u64) -> Result<u64> {
        let from_ns = clock.now_ns();
        let right = (self.ready.turn)(steps);
        let elapsed_ns = clock.now_ns() - from_ns;
        let right = right.with_context(|| format!("in '{}'", self.label))?;
        ensure!(right == steps, "'{}': {right} of {steps} operations proved right", self.label);
        Ok(elapsed_ns)
    }

    /// Doubles the batch until it lasts long enough, then waits until three windows in a row agree within 5 %.
    fn warm_up(&mut self, clock: &dyn Clock, calibration: &Calibration, budget: &Budget, timing: Timing) -> Result<()> {
        let _pinned = self.seats.own.sit()?;
        let start_ns = clock.now_ns();
        let long_enough_ns = budget.sample_ns.max(CLOCK_READS * calibration.cost_ns.max(calibration.resolution_ns));
        let mut windows = Vec::new();
        loop {
            let window_ns = match timing {
                Timing::Batches => self.time(clock, self.steps)?,
                Timing::Events => {
                    let events: Result<Vec<f64>> =
                        (0..budget.events).map(|_| Ok(self.time(clock, 1)? as f64)).collect();
                    stats::median(&events?).value as u64
                }
            };
            if timing == Timing::Batches && window_ns < long_enough_ns {
                self.steps *= 2;
                windows.clear();
                continue;
            }
            windows.push(window_ns);
            let last = &windows[windows.len().saturating_sub(3)..];
            let (low, high) = (last.iter().min().copied(), last.iter().max().copied());
            let agree = last.len() == 3 && high.zip(low).is_some_and(|(high, low)| (high - low) * 20 <= low);
            if agree || clock.now_ns() - start_ns >= budget.warm_up_ns {
                return Ok(());
            }
        }
    }

    fn take_turn(&mut self, clock: &dyn Clock, budget: &Budget, timing: Timing) -> Result<()> {
        let _pinned = self.seats.own.sit()?;
        let (samples, steps) = if timing == Timing::Events { (budget.events, 1) } else { (1, self.steps) };
        let cpu_before = clock.cpu_ns(&self.ready.children);
        self.rounds.push(self.samples.len());
        for _ in 0..samples {
            let elapsed_ns = self.time(clock, steps)?;
            self.samples.push(elapsed_ns as f64 / steps as f64);
        }
        let spent = clock.cpu_ns(&self.ready.children).zip(cpu_before).map(|(after, before)| after - before);
        self.cpu_ns = self.cpu_ns.zip(spent).map(|(sum, spent)| sum + spent);
        self.operations += samples * steps;
        Ok(())
    }
}

/// What a contest found.
pub struct Measured {
    title: String,
    differs_in: String,
    timing: Timing,
    pub calibration: Calibration,
    pub rows: Vec<Row>,
    /// What disturbed it.
    pub spoiled: Vec<String>,
}

/// One rival's figures, or the reason why there are none.
pub struct Row {
    pub label: String,
    pub placement: Placement,
    figures: Result<Figures, String>,
}

/// Raw samples in nanoseconds per operation, by round.
pub struct Figures {
    steps: u64,
    samples: Vec<f64>,
    rounds: Vec<usize>,
    /// CPU time of all parties per operation; none if it could not be read.
    pub cpu_ns: Option<f64>,
}

impl Figures {
    /// In the order in which they were taken.
    pub fn samples(&self) -> &[f64] {
        &self.samples
    }

    pub fn median(&self) -> Median {
        stats::median(&self.samples)
    }

    /// The median of each round: what ratios and slopes are made of.
    pub fn by_round(&self) -> Vec<f64> {
        let ends = self.rounds.iter().skip(1).copied().chain([self.samples.len()]);
        self.rounds.iter().zip(ends).map(|(&from, to)| stats::median(&self.samples[from..to]).value).collect()
    }

    /// How many times as long as the other this takes.
    pub fn against(&self, other: &Figures) -> Ratio {
        stats::ratio(&self.by_round(), &other.by_round())
    }
}

impl Measured {
    /// The figures of one row; none if it was skipped or does not exist.
    pub fn figures(&self, label: &str, placement: Placement) -> Option<&Figures> {
        let row = self.rows.iter().find(|row| row.label == label && row.placement == placement)?;
        row.figures.as_ref().ok()
    }

    /// How many times as long the first takes as the second, both placed alike.
    pub fn ratio(&self, label: &str, other: &str, placement: Placement) -> Option<Ratio> {
        Some(self.figures(label, placement)?.against(self.figures(other, placement)?))
    }

    pub(crate) fn comparison(&self) -> Comparison {
        let title = match self.timing {
            Timing::Batches => self.title.clone(),
            Timing::Events => {
                format!("{} (each timed alone, the clock's {} ns included)", self.title, self.calibration.cost_ns)
            }
        };
        let rows = self.rows.iter().map(|row| row.to_report(self.timing)).collect();
        Comparison { title, differs_in: self.differs_in.clone(), rows }
    }
}

impl Row {
    fn to_report(&self, timing: Timing) -> ComparisonRow {
        let figures = match &self.figures {
            Ok(figures) => figures,
            Err(why) => {
                return ComparisonRow::Skipped { label: self.label.clone(), skipped: why.clone() };
            }
        };
        let Median { value, low, high } = figures.median();
        ComparisonRow::Measured(MeasuredRow {
            label: self.label.clone(),
            placement: self.placement,
            unit: "ns".to_owned(),
            steps: figures.steps,
            samples: figures.samples.clone(),
            median: value,
            low,
            high,
            p99: (timing == Timing::Events).then(|| stats::p99(&figures.samples)),
            cpu_ns: figures.cpu_ns,
        })
    }
}
