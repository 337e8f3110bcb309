//! How many does a gate let in at once? One experiment for every lock and semaphore, with threads or processes.

use std::thread;

use anyhow::Result;
use nix::unistd::Pid;
use shared::measure::SystemClock;
use shared::{Cell, Column, Stage};

use crate::asleep::asleep_on;
use crate::gate::Gate;
use crate::room::Room;
use crate::workers::Workers;

/// What was seen at one gate.
pub struct Seen {
    pub workers: Workers,
    pub gate: &'static str,
    /// How many it should let in at once.
    pub admits: u32,
    /// Of those who came to stay.
    pub inside: u32,
    /// Of those who came to stay; an error if this machine does not show who sleeps.
    pub asleep: Result<u32>,
    /// With so many inside, would one more have been let in?
    pub was_open: bool,
    pub entries: u64,
    /// What is left of the additions in two steps, one per entry.
    pub additions: u64,
    /// The most that were ever inside at once.
    pub most: u32,
}

/// One more than it should admit come to stay; then a crowd enters and leaves, over and over.
pub fn observe(stage: &mut Stage, workers: Workers, gate: &dyn Gate, admits: u32) -> Result<Seen> {
    let room = Room::new()?;
    let come = admits + 1;
    let clock = stage.clock();
    let stay = || gate.pass(&|| room.stay());
    let (inside, asleep, was_open) = workers.run(come, &stay, |ids| {
        let arrived = room.await_arrivals(admits);
        let asleep = wait_until_one_sleeps(clock, ids, gate);
        let found = (room.inside(), asleep, gate.is_open());
        arrived.and(room.let_go(come)).map(|()| found)
    })??;
    let entries_each = stage.by_effort(50, 1000, 10_000);
    let crowd = 2 * come;
    let visit = || (0..entries_each).for_each(|_| gate.pass(&|| room.visit()));
    workers.run(crowd, &visit, |_| ())?;
    let (entries, additions, most) = (u64::from(crowd) * entries_each, room.additions(), room.most());
    let seen = Seen { workers, gate: gate.name(), admits, inside, asleep, was_open, entries, additions, most };
    seen.tell(stage);
    Ok(seen)
}

/// Two come to stay where there is no gate; returns how many were inside at once.
pub fn observe_without(stage: &mut Stage, workers: Workers) -> Result<u32> {
    let room = Room::new()?;
    workers.run(2, &|| room.stay(), |_| room.await_arrivals(2).and(room.let_go(2)))??;
    let most = room.most();
    stage.fact(format!("Without a lock, two {workers} are inside at once"), most == 2, format!("{most} inside"));
    Ok(most)
}

/// Returns how many of them sleep at the gate, once one does.
fn wait_until_one_sleeps(clock: SystemClock, ids: &[Pid], gate: &dyn Gate) -> Result<u32> {
    const PATIENCE_NS: u64 = 5_000_000_000; // Only a bound, for a gate that lets in one too many.
    let from_ns = clock.now_ns();
    loop {
        let sleeps = |&id| asleep_on(id, &gate.memory()).map(u32::from);
        let asleep = ids.iter().map(sleeps).sum::<Result<u32>>()?;
        if asleep > 0 || clock.now_ns() - from_ns > PATIENCE_NS {
            return Ok(asleep);
        }
        thread::yield_now();
    }
}

impl Seen {
    /// Whether it kept to its number, in the forced part and in the crowd.
    pub fn kept_its_number(&self) -> bool {
        self.was_full() && self.most == self.admits
    }

    /// None is lost if they were made one at a time.
    pub fn kept_every_addition(&self) -> bool {
        self.additions == self.entries
    }

    /// As many were inside as it admits, never more; if it admits one, no addition was lost.
    pub fn kept_the_crowd(&self) -> bool {
        self.most == self.admits && (self.admits > 1 || self.kept_every_addition())
    }

    /// What it let in, as a row below `columns`.
    pub fn row(&self) -> Vec<Cell> {
        let words = [self.workers.to_string(), self.gate.to_owned()].map(Cell::Text);
        let counts = [self.admits.into(), self.most.into(), self.entries as f64, self.additions as f64];
        words.into_iter().chain(counts.map(Cell::Number)).collect()
    }

    fn was_full(&self) -> bool {
        self.inside == self.admits && !self.was_open
    }

    fn tell(&self, stage: &mut Stage) {
        let Seen { workers, gate, admits, inside, .. } = self;
        let tried = if self.was_open { "one more try gets in" } else { "one more try is refused" };
        match &self.asleep {
            Ok(asleep) => {
                let says = format!("{gate}, {workers}: with {admits} inside, the next one sleeps");
                let got = format!("{inside} inside, {asleep} asleep in the kernel on its word; {tried}");
                stage.fact(says, self.was_full() && *asleep == 1, got);
            }
            Err(error) => {
                stage.note(format!("Nobody can see here who sleeps in the kernel: {error:#}."));
                let says = format!("{gate}, {workers}: with {admits} inside, one more is refused");
                stage.fact(says, self.was_full(), format!("{inside} inside; {tried}"));
            }
        }
    }
}

/// Of a table of what gates let in; `gate` is what a gate is there.
pub fn columns(gate: &str) -> Vec<Column> {
    let labels = ["between", gate].map(Column::label);
    let values = ["inside at most", "entries", "additions kept"].map(|name| Column::value(name, ""));
    labels.into_iter().chain([Column::x("admits", "")]).chain(values).collect()
}
