//! How many does a lock let in at once? One experiment for every lock and semaphore, with threads or processes.

use anyhow::{Context, Result};
use nix::libc;
use nix::unistd::Pid;
use process_demo::asleep::{Activity, activity_of, look_until};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING};
use shared::measure::SystemClock;
use shared::{Cell, Column, Stage};

use crate::locks::{Lock, LockKind, Unlock};
use crate::room::Room;

/// What was seen at one lock.
pub struct Seen {
    pub workers: Kind,
    pub lock: &'static str,
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

/// What each worker has: the same lock as all others, and the same room.
struct Visitor<'l> {
    lock: &'l dyn Lock,
    room: &'l Room,
    unlock: Option<Unlock<'l>>,
}

impl Visitor<'_> {
    fn come_to_stay(&mut self, _: Arguments) -> Result<u64> {
        self.unlock = Some(self.lock.enter());
        self.room.enter();
        Ok(0)
    }

    fn go(&mut self, _: Arguments) -> Result<u64> {
        self.room.leave();
        self.unlock.take().context("it never came in")?();
        Ok(0)
    }

    fn visit(&mut self, [times, ..]: Arguments) -> Result<u64> {
        for _ in 0..times {
            let unlock = self.lock.enter();
            self.room.enter();
            self.room.add();
            self.room.leave();
            unlock();
        }
        Ok(times)
    }
}

/// As many as it should admit come to stay, and then a crowd, which waits at the lock until they go. From then on the
/// crowd enters and leaves, over and over.
pub fn observe(stage: &mut Stage, workers: Kind, kind: &LockKind, admits: u32) -> Result<Seen> {
    let made = (kind.make)(admits)?;
    let lock = &*made;
    let room = Room::new()?;
    let entries_each = stage.by_effort(50, 1000, 10_000);
    let first = admits as usize; // Of the crowd.
    let all = first + 2 * (first + 1);
    let mut crew = Crew::of(workers, all, || Ok(Visitor { lock, room: &room, unlock: None }))?;
    for worker in 0..first {
        crew.ask(worker, Visitor::come_to_stay, NOTHING)?.value()?;
    }
    crew.tell(first, Visitor::visit, [entries_each, 0, 0]);
    let asleep = wait_until_asleep(stage.clock(), crew.tid(first), lock);
    let inside = room.inside();
    let was_open = crew.ask(first + 1, |own, _| Ok(own.lock.is_open().into()), NOTHING)?.value()? > 0;
    for worker in first + 1..all {
        crew.tell(worker, Visitor::visit, [entries_each, 0, 0]);
    }
    for worker in 0..first {
        crew.ask(worker, Visitor::go, NOTHING)?.value()?;
    }
    let entries = (first..all).map(|worker| crew.hear(worker)?.value()).sum::<Result<u64>>()?;
    let (additions, most) = (room.additions(), room.most());
    let seen = Seen { workers, lock: kind.name, admits, inside, asleep, was_open, entries, additions, most };
    seen.tell(stage);
    Ok(seen)
}

/// Two come to stay where there is no lock; returns how many were inside at once.
pub fn observe_without(stage: &mut Stage, workers: Kind) -> Result<u32> {
    let room = Room::new()?;
    let mut crew = Crew::of(workers, 2, || Ok(&room))?;
    for worker in 0..2 {
        let come = |room: &mut &Room, _| {
            room.enter();
            Ok(0)
        };
        crew.ask(worker, come, NOTHING)?.value()?;
    }
    let most = room.most();
    stage.fact(format!("Without a lock, two {workers} are inside at once"), most == 2, format!("{most} inside"));
    Ok(most)
}

/// Returns how many sleep on a word of the lock, which is one, or none if it does not come to that.
fn wait_until_asleep(clock: SystemClock, id: Pid, lock: &dyn Lock) -> Result<u32> {
    let look = || -> Result<_> {
        let Activity::Asleep(sleep) = activity_of(id)? else { return Ok(None) };
        let call = sleep.call.with_context(|| format!("/proc/{id}/syscall"))?;
        let word = call.arguments[0] as usize;
        Ok((call.number == libc::SYS_futex && lock.memory().contains(&word)).then_some(1))
    };
    Ok(look_until(clock, look)?.unwrap_or(0))
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
        let words = [self.workers.to_string(), self.lock.to_owned()].map(Cell::Text);
        let counts = [self.admits.into(), self.most.into(), self.entries as f64, self.additions as f64];
        words.into_iter().chain(counts.map(Cell::Number)).collect()
    }

    fn was_full(&self) -> bool {
        self.inside == self.admits && !self.was_open
    }

    fn tell(&self, stage: &mut Stage) {
        let Seen { workers, lock, admits, inside, .. } = self;
        let tried = if self.was_open { "one more try gets in" } else { "one more try is refused" };
        match &self.asleep {
            Ok(asleep) => {
                let says = format!("{lock}, {workers}: with {admits} inside, the next one sleeps");
                let got = format!("{inside} inside, {asleep} asleep in the kernel on its word; {tried}");
                stage.fact(says, self.was_full() && *asleep == 1, got);
            }
            Err(error) => {
                stage.note(format!("Nobody can see here who sleeps in the kernel: {error:#}."));
                let says = format!("{lock}, {workers}: with {admits} inside, one more is refused");
                stage.fact(says, self.was_full(), format!("{inside} inside; {tried}"));
            }
        }
    }
}

/// Of a table of what locks let in; `lock` is what a lock is there.
pub fn columns(lock: &str) -> Vec<Column> {
    let labels = ["between", lock].map(Column::label);
    let values = ["inside at most", "entries", "additions kept"].map(|name| Column::value(name, ""));
    labels.into_iter().chain([Column::x("admits", "")]).chain(values).collect()
}
