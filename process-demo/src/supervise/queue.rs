//! What becomes of a queue of tasks when some of them crash or hang the worker that does them?

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use process_demo::supervisor::{Event, Policy, Supervisor, WhenMakerDies};
use shared::Stage;

use super::jobs::{Failure, Jobs, Tries};
use super::pieces::Pieces;

pub const WORKERS: usize = 2; // One fails, one goes on; on two CPUs the supervisor then has to fight for neither.

/// One queue: how long, and what is to go wrong.
pub struct Trouble<'a> {
    pub tasks: usize,
    pub failures: &'a [Failure],
    pub tries: Tries,
    pub policy: Policy,
}

/// What came of it.
pub struct Outcome {
    pub tasks: usize,
    /// Tasks with the right result at the end.
    pub done: usize,
    /// How many times a task was begun that had been begun before.
    pub repeated: u64,
    pub recoveries_ns: Vec<f64>,
    pub seen: Seen,
    /// The supervisor has reaped every worker.
    pub none_left: bool,
}

/// What the supervisor told.
#[derive(Default)]
pub struct Seen {
    pub started: usize,
    /// Ended by SIGABRT or SIGSEGV.
    pub crashed: usize,
    /// Ended for want of a heartbeat.
    pub hung: usize,
    /// Ended with all done.
    pub finished: usize,
    /// Ended in any other way.
    pub otherwise: usize,
    pub waits: Vec<Duration>,
    /// After how many restarts, for each slot that was given up.
    pub gave_up: Vec<usize>,
    /// The first events.
    log: Vec<Event>,
}

impl Seen {
    pub fn failed(&self) -> usize {
        self.crashed + self.hung
    }

    pub fn restarts(&self) -> usize {
        self.started.saturating_sub(WORKERS)
    }

    /// How the first worker to end was replaced, line by line.
    pub fn first_crash(&self) -> Vec<String> {
        let first =
            self.log.iter().find_map(|event| if let Event::Ended { slot, .. } = event { Some(slot) } else { None });
        let replaces = |event: &&Event| match event {
            Event::Ended { slot, .. } | Event::Restarting { slot, .. } | Event::Started { slot, .. } => {
                Some(slot) == first
            }
            _ => false,
        };
        let from = self.log.iter().skip_while(|event| !matches!(event, Event::Ended { .. }));
        const LINES: usize = 3; // It ended, it is started again, it runs.
        from.filter(replaces).take(LINES).map(Event::to_string).collect()
    }

    fn note(&mut self, event: &Event) {
        const MOST_EVENTS: usize = 64; // The first crash comes early.
        if self.log.len() < MOST_EVENTS {
            self.log.push(*event);
        }
        match event {
            Event::Started { .. } => self.started += 1,
            Event::Hung { .. } => self.hung += 1,
            Event::Ended { exit, .. } => match exit.signal() {
                None if exit.success() => self.finished += 1,
                Some(libc::SIGABRT | libc::SIGSEGV) => self.crashed += 1,
                Some(libc::SIGKILL) => {} // Counted as hung, when it was; the sum of all ends shows others.
                _ => self.otherwise += 1,
            },
            Event::Restarting { wait, .. } => self.waits.push(*wait),
            Event::GaveUp { restarts, .. } => self.gave_up.push(*restarts),
            Event::NotStarted { .. } | Event::Draining | Event::Drained { .. } => {}
        }
    }
}

/// Has the queue done under a supervisor, which is this process.
pub fn supervise(stage: &Stage, pieces: &Pieces, trouble: &Trouble<'_>) -> Result<Outcome> {
    let Trouble { tasks, failures, tries, policy } = *trouble;
    let jobs = Jobs::new(tasks, failures, tries, WORKERS, pieces, stage.clock())?;
    let mut seen = Seen::default();
    // SAFETY: the workers use the table by atomics and memory of their own; nothing in shared memory is owned.
    let supervisor = unsafe { Supervisor::new(policy, &[WhenMakerDies::End; WORKERS], |worker| jobs.work(worker)) };
    let mut supervisor = supervisor.context("preparing a supervisor")?;
    while let Some(event) = supervisor.next_event().context("supervising")? {
        if let Event::NotStarted { error, .. } = event {
            return Err(io::Error::from(error)).context("forking a worker"); // It could try again, but this machine refuses.
        }
        seen.note(&event);
    }
    let none_left = waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err::<WaitStatus, _>(Errno::ECHILD);
    let (done, repeated, recoveries_ns) = (jobs.done(), jobs.repeated(), jobs.recoveries_ns());
    Ok(Outcome { tasks, done, repeated, recoveries_ns, seen, none_left })
}
