//! How does one rival get its samples? Prepared, warmed up and timed, turn by turn.

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;

use super::measured::{Figures, Row, RowName};
use super::{Budget, Calibration, Clock, Pinning, Ready, Rival, Timing};
use crate::refused::refused;
use crate::report::{Placement, significant};
use crate::stats;

/// A sample lasts at least so many reads of the clock, so that they cost it under 2 %.
const CLOCK_READS: u64 = 50;

/// Of one sample: enough that two never differ by what rounding did, few enough for the document.
const DIGITS: usize = 6;

/// No machine does so many: a batch that grows beyond it and still takes no time does no work.
const OPERATIONS_PER_NS: u64 = 1000;

/// A rival in its contest.
pub(super) enum Entry<'a> {
    Running(Box<Runner<'a>>),
    Skipped { name: RowName, placement: Placement, why: String },
}

/// A rival that takes its turns.
pub(super) struct Runner<'a> {
    name: RowName,
    placement: Placement,
    pinning: Pinning,
    ready: Ready<'a>,
    steps: u64,
    /// In one turn: of a slow one fewer, so that there are rounds enough.
    events: u64,
    /// A batch that took less was sized while something stalled the machine; no event is too short.
    shortest_ns: u64,
    /// Reserved and touched before the first turn: storing a sample must not fault a page in.
    pub(super) samples: Vec<f64>,
    /// Where each round starts in `samples`.
    rounds: Vec<usize>,
    cpu_ns: Option<u64>,
    operations: u64,
}

/// Prepares those that fork before those that start threads, and keeps the rows in their order.
pub(super) fn prepare_all<'a>(rivals: Vec<Rival<'a>>, budget: &Budget, timing: Timing) -> Result<Vec<Entry<'a>>> {
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
    let Rival { name, placement, prepare, .. } = rival;
    let Some(pinning) = Pinning::of(placement) else {
        return Ok(Entry::Skipped { name, placement, why: "one usable CPU".to_owned() });
    };
    let ready = match prepare(pinning) {
        Ok(ready) => ready,
        Err(error) => match refused(&error) {
            Some(why) => return Ok(Entry::Skipped { name, placement, why }),
            None => return Err(error.context(format!("preparing '{}'", name.label))),
        },
    };
    let room = budget.rounds * if timing == Timing::Events { budget.events as usize } else { 1 };
    let mut samples = vec![f64::MAX; room]; // Not zero: zeroed memory is mapped, but not yet there.
    samples.clear();
    let rounds = Vec::with_capacity(budget.rounds);
    Ok(Entry::Running(Box::new(Runner {
        name,
        placement,
        pinning,
        ready,
        steps: 1,
        events: budget.events,
        shortest_ns: 0,
        samples,
        rounds,
        cpu_ns: Some(0),
        operations: 0,
    })))
}

impl<'a> Entry<'a> {
    pub(super) fn running(&mut self) -> Option<&mut Runner<'a>> {
        if let Entry::Running(runner) = self { Some(runner) } else { None }
    }

    /// Some refusals come only with the first use: a fork, a lock, a large message.
    pub(super) fn warm_up(
        &mut self,
        clock: &dyn Clock,
        calibration: &Calibration,
        budget: &Budget,
        timing: Timing,
        turn_ns: u64,
    ) -> Result<()> {
        let Entry::Running(runner) = self else { return Ok(()) };
        let Err(error) = runner.warm_up(clock, calibration, budget, timing, turn_ns) else { return Ok(()) };
        let Some(why) = refused(&error) else { return Err(error) };
        *self = Entry::Skipped { name: runner.name.clone(), placement: runner.placement, why };
        Ok(())
    }

    pub(super) fn children(&self) -> &[Pid] {
        if let Entry::Running(runner) = self { &runner.ready.children } else { &[] }
    }

    pub(super) fn shares_a_cpu(&self) -> bool {
        matches!(self, Entry::Running(runner) if runner.placement == Placement::SameCpu)
    }

    pub(super) fn shares_a_core(&self) -> bool {
        matches!(self, Entry::Running(runner) if runner.pinning.shares_a_core())
    }

    pub(super) fn into_row(self) -> Row {
        match self {
            Entry::Skipped { name, placement, why } => Row { name, placement, cpus: Vec::new(), figures: Err(why) },
            Entry::Running(runner) => {
                let Runner { name, placement, pinning, steps, samples, rounds, cpu_ns, operations, .. } = *runner;
                let cpu_ns = cpu_ns.map(|total| total as f64 / operations.max(1) as f64);
                Row { name, placement, cpus: pinning.cpus(), figures: Ok(Figures { steps, samples, rounds, cpu_ns }) }
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
        let right = right.with_context(|| format!("in '{}'", self.name.label))?;
        ensure!(right == steps, "'{}': {right} of {steps} operations proved right", self.name.label);
        Ok(elapsed_ns.max(1)) // A coarse clock may not see an event at all: a zero would make ratios infinite.
    }

    /// Doubles the batch until it lasts long enough, then waits until three windows in a row agree within 5 %.
    fn warm_up(
        &mut self,
        clock: &dyn Clock,
        calibration: &Calibration,
        budget: &Budget,
        timing: Timing,
        turn_ns: u64,
    ) -> Result<()> {
        let _pinned = self.pinning.own.pin()?;
        let start_ns = clock.now_ns();
        let long_enough_ns = budget.sample_ns.max(CLOCK_READS * calibration.cost_ns.max(calibration.resolution_ns));
        if timing == Timing::Batches {
            self.shortest_ns = long_enough_ns / 2; // Not all of it: once warm, a batch may be a little faster.
        }
        let mut windows = Vec::new();
        loop {
            let window_ns = self.window(clock, timing)?;
            self.events = (turn_ns / window_ns.max(1)).clamp(1, budget.events);
            if timing == Timing::Batches && window_ns < long_enough_ns {
                let (label, steps) = (&self.name.label, self.steps);
                let possible = steps / OPERATIONS_PER_NS <= long_enough_ns;
                ensure!(possible, "'{label}': {steps} operations in {window_ns} ns cannot be real work");
                self.steps *= 2;
                windows.clear();
                continue;
            }
            windows.push(window_ns);
            // One window alone may have been long because it was the first.
            let time_is_up = windows.len() >= 2 && clock.now_ns() - start_ns >= budget.warm_up_ns;
            if agree(&windows) || time_is_up {
                return Ok(());
            }
        }
    }

    /// One batch, or the median of one turn's events.
    fn window(&mut self, clock: &dyn Clock, timing: Timing) -> Result<u64> {
        match timing {
            Timing::Batches => self.time(clock, self.steps),
            Timing::Events => {
                let events: Result<Vec<f64>> = (0..self.events).map(|_| Ok(self.time(clock, 1)? as f64)).collect();
                Ok(stats::median(&events?).value as u64)
            }
        }
    }

    pub(super) fn take_turn(&mut self, clock: &dyn Clock, timing: Timing) -> Result<()> {
        let _pinned = self.pinning.own.pin()?;
        let samples = match timing {
            Timing::Batches => 1,
            Timing::Events => {
                // After the others' turns the caches are theirs and the peer is long asleep: one such event in each
                // hundred would be the 99th percentile.
                self.time(clock, 1)?;
                self.events
            }
        };
        let cpu_before = self.cpu_ns_so_far(clock);
        self.rounds.push(self.samples.len());
        for _ in 0..samples {
            let elapsed_ns = self.sample(clock)?;
            // A batch's share of one operation has no more digits than the clock gave.
            self.samples.push(significant(elapsed_ns as f64 / self.steps as f64, DIGITS));
        }
        let cpu_after = self.cpu_ns_so_far(clock);
        let spent = cpu_after.zip(cpu_before).and_then(|(after, before)| after.checked_sub(before));
        self.cpu_ns = self.cpu_ns.zip(spent).map(|(sum, spent)| sum + spent);
        Ok(())
    }

    fn cpu_ns_so_far(&mut self, clock: &dyn Clock) -> Option<u64> {
        let (here, elsewhere) = (clock.cpu_ns(&self.ready.children)?, (self.ready.elsewhere)()?);
        Some(here + elsewhere)
    }

    /// One event, or one batch: of more steps, from now on, if it turns out far too short.
    fn sample(&mut self, clock: &dyn Clock) -> Result<u64> {
        loop {
            let elapsed_ns = self.time(clock, self.steps)?;
            self.operations += self.steps;
            if elapsed_ns >= self.shortest_ns {
                return Ok(elapsed_ns);
            }
            self.steps *= 2;
        }
    }
}

/// Whether the last three windows differ by less than 5 % of the shortest.
fn agree(windows: &[u64]) -> bool {
    let Some(last) = windows.last_chunk::<3>() else { return false };
    last.iter().all(|one| last.iter().all(|other| one.abs_diff(*other) * 20 <= *one))
}
