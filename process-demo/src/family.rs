//! How does a worker of a crew come to be another's child, and how does it become process 1 of a namespace?
//!
//! These are called where a crew enlists workers that are processes. Whoever returns goes on as the worker, by the line
//! of the process that called; that one stays what the crew has forked, and what it ends.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use process_demo::asleep::look_until;
use shared::Tried;
use shared::measure::SystemClock;

/// Goes on as a child of the calling process. That one does the rest, and exits with its value.
///
/// Unlike a child of `child::fork`, this one does not end with its parent; it ends with the crew, which closes its line.
pub fn go_on_as_child(rest: impl FnOnce(Pid) -> u8) -> Result<()> {
    // SAFETY: a worker that is a process has one thread, so no lock is held by a thread that the child will not have.
    match unsafe { fork() }.context("forking")? {
        ForkResult::Child => Ok(()),
        // SAFETY: it ends the process without running anything of it.
        ForkResult::Parent { child } => unsafe { libc::_exit(rest(child).into()) },
    }
}

/// Goes on as process 1 of a new pid namespace, where numbers begin again and nobody else takes any. The process outside
/// exits as it does.
pub fn become_process_one() -> Result<()> {
    let alone = CloneFlags::CLONE_NEWPID;
    // Without privileges, a user namespace of one's own gives them, where that is allowed.
    unshare(alone).or_else(|_| unshare(alone | CloneFlags::CLONE_NEWUSER)).context("a pid namespace")?;
    go_on_as_child(|first| match waitpid(first, None) {
        Ok(WaitStatus::Exited(_, code)) => code as u8,
        _ => u8::MAX,
    })?;
    Ok(set_pdeathsig(Signal::SIGKILL)?)
}

/// What came of an attempt in a namespace. Some machines have none, or none whose numbers one may choose.
pub fn tried<T>(attempt: Result<T>) -> Result<Tried<T>> {
    // Read-only /proc/sys, a kernel without namespaces or without a choice of numbers, too many namespaces.
    const MISSING: [Errno; 4] = [Errno::EROFS, Errno::EINVAL, Errno::ENOENT, Errno::EUSERS];
    match attempt {
        Err(error) if error.downcast_ref().is_some_and(|errno| MISSING.contains(errno)) => {
            Ok(Err(format!("{error:#}")))
        }
        attempt => shared::tried(attempt),
    }
}

/// Waits for all processes that this one, a subreaper, has adopted; it has no child of its own any more. Their crews are
/// gone, so each of them is about to end.
pub fn wait_for_the_adopted(clock: SystemClock) -> Result<()> {
    let look = || match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Err(Errno::ECHILD) => Ok(Some(())),
        Err(error) => Err(error),
        Ok(_) => Ok(None),
    };
    look_until(clock, look)?.context("a process that was adopted does not end")
}
