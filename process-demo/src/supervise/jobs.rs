//! Who does which task, and what goes wrong on the way? A table in shared memory, which outlives every worker.

use std::num::NonZeroUsize;
use std::process::abort;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use anyhow::Result;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::prctl::set_dumpable;
use nix::unistd::{alarm, pause};
use process_demo::supervisor::Worker;
use shared::measure::SystemClock;

use super::pieces::Pieces;
use super::words::Words;

/// How a task makes its worker fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Abort,
    SegmentationFault,
    Hang,
}

/// Which tries of a chosen task fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    First,
    Every,
}

/// So many tasks; the chosen ones among them fail, evenly spread.
pub struct Jobs<'a> {
    count: usize,
    failures: &'a [Failure],
    tries: Tries,
    pieces: &'a Pieces,
    clock: SystemClock,
    /// Three words of each task (who has it, how often it was begun, its result), then two times of each failure (when it
    /// came, when it was made good), then one word of each slot, then the first task that may be open.
    words: Words,
    slots: usize,
}

const OPEN: u64 = 0;
const DONE: u64 = u64::MAX; // Anything between is the slot that has the task, plus one.

impl<'a> Jobs<'a> {
    pub fn new(
        count: usize,
        failures: &'a [Failure],
        tries: Tries,
        slots: usize,
        pieces: &'a Pieces,
        clock: SystemClock,
    ) -> Result<Jobs<'a>> {
        let words = Words::new(3 * count + 2 * failures.len() + slots + 1)?;
        Ok(Jobs { count, failures, tries, pieces, clock, words, slots })
    }

    /// A worker's life: first what the last worker of its slot had in hand when it ended, then whatever is open.
    pub fn work(&self, worker: &Worker<'_>) -> u8 {
        let mine = worker.slot() as u64 + 1;
        let mut left_over = (0..self.count).find(|&task| self.owner(task).load(Relaxed) == mine);
        let mut made_good = self.failure_in(worker.slot()).swap(0, Relaxed) as usize;
        while worker.goes_on() {
            let Some(task) = left_over.take().or_else(|| self.take(mine)) else { break };
            let is_first = self.begun(task).fetch_add(1, Relaxed) == 0;
            if let Some(number) = self.failure_of(task).filter(|_| is_first || self.tries == Tries::Every) {
                self.fail(number, worker.slot());
            }
            self.result(task).store(self.pieces.checksum(task), Relaxed);
            self.owner(task).store(DONE, Release); // Publishes the result to whoever sees that the task is done.
            if made_good > 0 {
                self.made_good_ns(made_good - 1).store(self.clock.now_ns(), Relaxed);
                made_good = 0;
            }
        }
        0
    }

    /// One atomic step: a worker that ends right after it leaves its mark on the task.
    fn take(&self, mine: u64) -> Option<usize> {
        let from = self.first_open().load(Relaxed) as usize;
        let is_mine = |&task: &usize| self.owner(task).compare_exchange(OPEN, mine, Relaxed, Relaxed).is_ok();
        let task = (from..self.count).find(is_mine)?;
        self.first_open().fetch_max(task as u64 + 1, Relaxed); // Everything before is taken, and stays so.
        Some(task)
    }

    fn fail(&self, number: usize, slot: usize) -> ! {
        let _ = set_dumpable(false); // No core and no crash reporter: neither is part of the recovery.
        self.failure_in(slot).store(number as u64 + 1, Relaxed);
        self.failed_ns(number).store(self.clock.now_ns(), Relaxed);
        match self.failures[number] {
            Failure::Abort => abort(),
            Failure::SegmentationFault => write_where_nothing_may_be_written(),
            Failure::Hang => {
                // A supervisor that did not notice is to fail the demonstration, not to hang it.
                alarm::set(HANGS_AT_MOST_S);
                loop {
                    pause();
                }
            }
        }
    }

    /// Which failure the task was chosen for, by its number.
    fn failure_of(&self, task: usize) -> Option<usize> {
        let distance = self.count / (self.failures.len() + 1);
        let number = (task / distance).checked_sub(1)?;
        (task.is_multiple_of(distance) && number < self.failures.len()).then_some(number)
    }

    /// How many tasks are done, with the right result.
    pub fn done(&self) -> usize {
        let is_right = |task| self.result(task).load(Relaxed) == self.pieces.checksum(task);
        let is_done = |&task: &usize| self.owner(task).load(Acquire) == DONE && is_right(task);
        (0..self.count).filter(is_done).count()
    }

    /// How many times a task was begun that had been begun before.
    pub fn repeated(&self) -> u64 {
        (0..self.count).map(|task| self.begun(task).load(Relaxed).saturating_sub(1)).sum()
    }

    /// Of each failure that was made good: how long until the next worker in the slot had done its first task.
    pub fn recoveries_ns(&self) -> Vec<f64> {
        let times = |number| (self.failed_ns(number).load(Relaxed), self.made_good_ns(number).load(Relaxed));
        let made_good = (0..self.failures.len()).map(times).filter(|(failed, good)| *failed > 0 && good > failed);
        made_good.map(|(failed, good)| (good - failed) as f64).collect()
    }

    fn owner(&self, task: usize) -> &AtomicU64 {
        &self.words[task]
    }

    fn begun(&self, task: usize) -> &AtomicU64 {
        &self.words[self.count + task]
    }

    fn result(&self, task: usize) -> &AtomicU64 {
        &self.words[2 * self.count + task]
    }

    fn failed_ns(&self, number: usize) -> &AtomicU64 {
        &self.words[3 * self.count + number]
    }

    fn made_good_ns(&self, number: usize) -> &AtomicU64 {
        &self.words[3 * self.count + self.failures.len() + number]
    }

    /// The number of the failure that ended the slot's last worker, plus one.
    fn failure_in(&self, slot: usize) -> &AtomicU64 {
        &self.words[3 * self.count + 2 * self.failures.len() + slot]
    }

    fn first_open(&self) -> &AtomicU64 {
        &self.words[3 * self.count + 2 * self.failures.len() + self.slots]
    }
}

const HANGS_AT_MOST_S: u32 = 5;

fn write_where_nothing_may_be_written() -> ! {
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe { mmap_anonymous(None, NonZeroUsize::MIN, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) };
    if let Ok(page) = page {
        // SAFETY: the page is nobody else's, and no byte of it changes: the kernel ends this process instead.
        unsafe { page.cast::<u8>().as_ptr().write_volatile(1) };
    }
    abort() // Only reached if there was no such page.
}
