//! What does each act reach, seen from outside?

use std::ptr::{from_ref, null};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use process_demo::asleep::{look_until, state_of};
use process_demo::crew::{Arguments, Reply, Task};
use process_demo::pidfd::PidFd;
use shared::Tried;
use shared::measure::SystemClock;

use super::actors::{Actor, Scene, pid_of};

/// In the order of the columns.
pub const ACTS: [&str; 6] = ["wait for", "see it end", "stop", "priority", "limit", "end"];

/// What an act did, as seen from outside.
#[derive(PartialEq)]
pub enum Reach {
    /// What it was meant for, and nothing else.
    Alone,
    /// All threads of the process.
    Whole,
    /// The kernel refused, or nothing came of it.
    Refused(String),
}

const NICEST: i32 = 19; // The lowest priority: whoever may set any may set this one.
const DESCRIPTORS: u64 = 77; // A soft limit that nobody else sets.

/// Has the first worker try everything; the target ends last, unless that is refused.
pub fn try_all(mut scene: Scene, clock: SystemClock) -> Result<[Tried<Reach>; ACTS.len()]> {
    let target = PidFd::open(scene.process).context("pidfd_open")?;
    let wait = scene.attempt(wait)?;
    let open = scene.attempt(open)?;
    let stop = scene.signal(Signal::SIGSTOP, |id| Ok(state_of(id)? == 'T'), &target, clock)?;
    let priority = match niceness(scene.process)? {
        NICEST => Err("the lowest was set before".to_owned()), // As by nice(1): no change could be seen.
        _ => Ok(scene.set(set_lowest_priority, |id| Ok(niceness(id)? == NICEST))?),
    };
    let limit = scene.set(set_limit, is_limited)?;
    let end = scene.signal(Signal::SIGKILL, |id| Ok(matches!(state_of(id)?, 'Z' | 'X')), &target, clock)?;
    let see = if open == Reach::Alone {
        target.signal(Signal::SIGKILL).context("ending it")?; // Somebody must, for its end to be seen.
        scene.attempt(see)?
    } else {
        open
    };
    Ok([Ok(wait), Ok(see), Ok(stop), priority, Ok(limit), Ok(end)])
}

impl Scene {
    fn arguments(&self) -> Arguments {
        [self.process, self.id, Pid::from_raw(0)].map(|id| id.as_raw() as u64)
    }

    /// What an act reaches that has no effect to be seen.
    fn attempt(&mut self, act: Task<Actor>) -> Result<Reach> {
        match self.crew.ask(0, act, self.arguments())? {
            Reply::Failed { errno, .. } => Ok(Reach::Refused(format!("{errno:?}"))),
            reply => reply.value().map(|_| Reach::Alone),
        }
    }

    /// What an act reaches whose effect is there as soon as it is done.
    fn set(&mut self, act: Task<Actor>, seen: fn(Pid) -> Result<bool>) -> Result<Reach> {
        match self.attempt(act)? {
            Reach::Alone => self.reached(seen),
            refused => Ok(refused),
        }
    }

    /// What a signal reaches. It may take whoever sends it too: then there is no answer before the target goes on, or none.
    fn signal(
        &mut self,
        signal: Signal,
        seen: fn(Pid) -> Result<bool>,
        target: &PidFd,
        clock: SystemClock,
    ) -> Result<Reach> {
        let [process, id, _] = self.arguments();
        self.crew.tell(0, send, [process, id, signal as u64]);
        let mut reply = None;
        look_until(clock, || -> Result<_> {
            if reply.is_none() && self.crew.is_over(0)? {
                reply = Some(self.crew.hear(0)?);
            }
            let refused = matches!(reply, Some(Reply::Failed { .. }));
            Ok((refused || (seen(self.id)? && seen(self.process)?)).then_some(()))
        })?;
        let reached = self.reached(seen)?;
        let _ = target.signal(Signal::SIGCONT); // The dead do not hear it, which is no error of ours.
        match reply.map_or_else(|| self.crew.hear(0), Ok)? {
            Reply::Failed { errno, .. } => Ok(Reach::Refused(format!("{errno:?}"))),
            _ => Ok(reached),
        }
    }

    fn reached(&self, seen: fn(Pid) -> Result<bool>) -> Result<Reach> {
        Ok(match (seen(self.id)?, self.id != self.process && seen(self.process)?) {
            (true, false) => Reach::Alone,
            (true, true) => Reach::Whole,
            (false, _) => Reach::Refused("no effect".to_owned()),
        })
    }
}

fn wait(own: &mut Actor, [_, id, _]: Arguments) -> Result<u64> {
    // A look, which takes nothing: for who may not wait, the answer is ECHILD at once.
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
    match own.other_thread.take() {
        Some(thread) => thread.join().unwrap(),
        None => drop(waitid(Id::Pid(pid_of(id)), look)?),
    }
    Ok(0)
}

fn open(own: &mut Actor, [_, id, _]: Arguments) -> Result<u64> {
    own.descriptor = Some(PidFd::open(pid_of(id))?);
    Ok(0)
}

fn see(own: &mut Actor, _: Arguments) -> Result<u64> {
    let descriptor = own.descriptor.as_ref().context("no descriptor")?;
    if descriptor.ends_within(Duration::from_secs(5))? { Ok(0) } else { Err(Errno::ETIMEDOUT.into()) }
}

fn send(_: &mut Actor, [process, id, signal]: Arguments) -> Result<u64> {
    if process == id {
        kill(pid_of(process), Signal::try_from(signal as i32)?)?;
    } else {
        // SAFETY: the call takes three integers. (nix has no tgkill.)
        Errno::result(unsafe { libc::tgkill(process as i32, id as i32, signal as i32) })?;
    }
    Ok(0)
}

fn set_lowest_priority(_: &mut Actor, [_, id, _]: Arguments) -> Result<u64> {
    // SAFETY: the call takes three integers. (nix has no setpriority.)
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, id as libc::id_t, NICEST) })?;
    Ok(0)
}

/// The niceness of a process's first thread, or of another thread.
fn niceness(id: Pid) -> Result<i32> {
    Errno::clear(); // -1 is a niceness as well.
    // SAFETY: the call takes two integers. (nix has no getpriority.)
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, id.as_raw().unsigned_abs()) };
    match Errno::last() {
        Errno::UnknownErrno => Ok(nice),
        error => Err(error).context("getpriority"),
    }
}

fn set_limit(_: &mut Actor, [_, id, _]: Arguments) -> Result<u64> {
    let limit = limit_of(pid_of(id), None)?;
    limit_of(pid_of(id), Some(libc::rlimit { rlim_cur: DESCRIPTORS.min(limit.rlim_max), ..limit }))?;
    Ok(0)
}

fn is_limited(id: Pid) -> Result<bool> {
    let limit = limit_of(id, None)?;
    Ok(limit.rlim_cur == DESCRIPTORS.min(limit.rlim_max))
}

/// The limit of descriptors, of any process or thread, before it is perhaps set.
fn limit_of(id: Pid, new: Option<libc::rlimit>) -> Result<libc::rlimit> {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(null(), from_ref);
    // SAFETY: the kernel reads a limit, if there is one, and writes one; both are ours. (nix has no prlimit.)
    Errno::result(unsafe { libc::prlimit(id.as_raw(), libc::RLIMIT_NOFILE, new, &mut old) }).context("prlimit")?;
    Ok(old)
}
