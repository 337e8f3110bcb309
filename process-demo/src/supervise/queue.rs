//! What becomes of a queue of tasks, shared by supervised workers, when some tasks bring trouble?

use std::hash::{DefaultHasher, Hasher};
use std::num::NonZeroUsize;
use std::process::ExitStatus;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::{io, slice};

use anyhow::{Context, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::prctl::set_dumpable;
use process_demo::supervisor::{Event, Policy, Supervisor, WhenParentDies, Worker};
use shared::measure::SystemClock;

pub const WORKERS: usize = 2; // One fails, one goes on; on two CPUs the supervisor then has to fight for neither.

/// How long a queue is, and what goes wrong in it.
pub struct Trouble {
    pub tasks: usize,
    /// So many tasks bring trouble, evenly spread.
    pub planned: usize,
    /// What such a task does to its worker.
    pub strike: fn(&Worker<'_>),
    /// It does so at each of its first tries.
    pub bad_tries: u64,
    pub policy: Policy,
}

/// A task in shared memory, which outlives every worker: the next one in the slot finds what the last one had in hand.
struct Task {
    /// `OPEN`, the worker's slot plus one, or `DONE`.
    owner: AtomicU64,
    tries: AtomicU64,
    result: AtomicU64,
    struck_ns: AtomicU64,
    done_ns: AtomicU64,
}

const OPEN: u64 = 0;
const DONE: u64 = u64::MAX;

/// What came of a queue.
pub struct Outcome {
    pub tasks: usize,
    pub begun: usize,
    /// With the right result.
    pub done: usize,
    /// How many times a task was begun that had been begun before.
    pub begun_again: usize,
    /// From each failure until its task was done: the next worker in the slot does it first of all.
    pub recoveries_ns: Vec<f64>,
    /// From the first trouble until every worker had ended.
    pub took_ns: f64,
    /// What the supervisor told.
    pub events: Vec<Event>,
}

impl Trouble {
    /// Has the queue done under a supervisor, which is this process.
    pub fn supervise(&self, clock: SystemClock) -> Result<Outcome> {
        let tasks = in_shared_memory(self.tasks).context("mapping a table of tasks")?;
        let work = |worker: &Worker<'_>| self.work(worker, tasks, clock);
        // SAFETY: the workers use the tasks by atomics, and memory of their own; nothing in shared memory is owned.
        let supervisor = unsafe { Supervisor::new(self.policy, &[WhenParentDies::End; WORKERS], work) };
        let mut supervisor = supervisor.context("preparing a supervisor")?;
        let mut events = Vec::new();
        while let Some(event) = supervisor.next_event().context("supervising")? {
            if let Event::NotStarted { error, .. } = event {
                return Err(io::Error::from(error)).context("forking a worker"); // It could try again, but this machine refuses.
            }
            events.push(event);
        }
        let over_ns = clock.now_ns();
        let tries = || tasks.iter().map(|task| task.tries.load(Relaxed));
        let is_right = |task: &usize| tasks[*task].result.load(Relaxed) == checksum(*task);
        let times_ns = tasks.iter().map(|task| (task.struck_ns.load(Relaxed), task.done_ns.load(Relaxed)));
        let struck = times_ns.filter(|(struck, _)| *struck > 0);
        let made_good = struck.clone().filter(|(_, done)| *done > 0);
        Ok(Outcome {
            tasks: self.tasks,
            begun: tries().filter(|tries| *tries > 0).count(),
            done: (0..self.tasks).filter(is_right).count(),
            begun_again: tries().map(|tries| tries.saturating_sub(1)).sum::<u64>() as usize,
            recoveries_ns: made_good.map(|(struck, done)| (done - struck) as f64).collect(),
            took_ns: struck.map(|(struck, _)| over_ns - struck).max().unwrap_or(0) as f64,
            events,
        })
    }

    /// A worker's life: first what the last worker of its slot had in hand when it ended, then whatever is open.
    fn work(&self, worker: &Worker<'_>, tasks: &[Task], clock: SystemClock) -> u8 {
        let mine = worker.slot() as u64 + 1;
        let left_over = (0..tasks.len()).filter(|&task| tasks[task].owner.load(Relaxed) == mine);
        // One atomic step: a worker that ends right after it has left its mark on the task.
        let take = |task: &usize| tasks[*task].owner.compare_exchange(OPEN, mine, Relaxed, Relaxed).is_ok();
        let mut to_do = left_over.chain((0..tasks.len()).filter(take));
        while worker.goes_on()
            && let Some(number) = to_do.next()
        {
            let task = &tasks[number];
            if task.tries.fetch_add(1, Relaxed) < self.bad_tries && self.brings_trouble(number) {
                let _ = set_dumpable(false); // No core and no crash reporter: neither is part of the recovery.
                task.struck_ns.store(clock.now_ns(), Relaxed);
                (self.strike)(worker);
            }
            task.result.store(checksum(number), Relaxed);
            task.done_ns.store(clock.now_ns(), Relaxed);
            task.owner.store(DONE, Relaxed); // The results are read when every worker has ended.
        }
        0
    }

    fn brings_trouble(&self, task: usize) -> bool {
        let distance = self.tasks / self.planned;
        task % distance == distance / 2 && task / distance < self.planned
    }
}

impl Outcome {
    pub fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(event)).count()
    }

    /// How many workers ended like this.
    pub fn ended(&self, wanted: impl Fn(ExitStatus) -> bool) -> usize {
        self.count(|event| matches!(event, Event::Ended { exit, .. } if wanted(*exit)))
    }

    /// Workers that ended otherwise than with all done.
    pub fn lost(&self) -> usize {
        self.ended(|exit| !exit.success())
    }

    pub fn restarts(&self) -> usize {
        self.count(|event| matches!(event, Event::Started { .. })).saturating_sub(WORKERS)
    }
}

/// What a task computes: some microseconds of work, and no two tasks have one result.
pub fn checksum(task: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&[task as u8; 4096]);
    hasher.write_usize(task);
    hasher.finish()
}

/// They stay until this process ends.
fn in_shared_memory(tasks: usize) -> Result<&'static [Task]> {
    let bytes = NonZeroUsize::new(tasks * size_of::<Task>()).context("a queue without tasks")?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }?;
    // SAFETY: so many tasks are mapped there, aligned to a page, zeroed, never unmapped, and used by atomics only.
    Ok(unsafe { slice::from_raw_parts(start.cast().as_ptr(), tasks) })
}
