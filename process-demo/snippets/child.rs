//! A child process by fork that cannot get lost: it dies with its parent, and dropping its handle ends it.
//!
//! Needs: nix 0.31 (process, signal)
//! Runs on: Linux
//! Instead: std::process::Command for another program, duct for a pipeline of them; this one runs a closure.
//!
//! A fork copies the whole memory, but only the thread that calls it. Whatever another thread holds at that moment, the
//! allocator's lock for one, stays locked in the child for ever; so a process with a second thread is refused.
//!
//! What it does not do: end or limit what the child itself starts. `wait` has no time-out: it waits for ever if the
//! child lives. SIGCHLD must not be ignored, and nobody else may wait for any child. A child that changes its user, or
//! becomes a set-user-ID program, outlives its parent: the kernel then forgets that it was to die.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::signal::{Signal, raise};
//!
//! # nix::sys::prctl::set_name(c"\xc3").unwrap(); // A program's name may be cut inside a letter.
//! // SAFETY: nothing alive here owns anything in shared memory.
//! let child = unsafe { fork(|| 6 * 7) }.unwrap();
//! assert_eq!(child.wait().unwrap(), Exit::Code(42));
//!
//! // SAFETY: as above.
//! let killed = unsafe { fork(|| raise(Signal::SIGTERM).is_ok().into()) }.unwrap();
//! assert_eq!(killed.wait().unwrap().to_string(), "ended by SIGTERM");
//!
//! // SAFETY: as above.
//! let waiting = unsafe { fork(|| loop { nix::unistd::pause() }) }.unwrap();
//! let pid = waiting.pid();
//! drop(waiting); // Kills it and reaps it: nothing of that number is left.
//! assert_eq!(nix::sys::signal::kill(pid, None), Err(nix::errno::Errno::ESRCH));
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::mem::{ManuallyDrop, forget};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fmt, fs, io, thread};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getpid, getppid};

/// Makes a child process that runs `work` and exits with its value; with 101, as Rust programs do, if `work` panics.
///
/// What `work` has captured by value exists in both: the child uses its copy, and the parent's is dropped before this
/// returns. So the child's end of a pipe, moved into `work`, is closed in the parent at once.
///
/// The child is killed as soon as the thread that made it ends. It leaves by `_exit`: no destructor of the parent's
/// values runs in it, and what stands in a buffer of standard output is not written twice.
///
/// The first process of a new pid namespace cannot see its parent, and so not tell whether that one lives: it exits with
/// 101 at once, without doing any work.
///
/// # Errors
/// Refused if this process has a second thread (one that was just joined may still be counted, so this waits for it for
/// a while), and whatever `fork(2)` returns: EAGAIN at the limit of processes, ENOMEM.
///
/// # Safety
/// Every value alive now exists twice afterwards. None of those that `work` touches may own something in memory that
/// stays shared between the two: the guard of a lock in a shared mapping, say, would unlock it twice.
pub unsafe fn fork(work: impl FnOnce() -> u8) -> io::Result<Child> {
    wait_until_alone()?;
    let parent = getpid();
    // SAFETY: this thread is the only one, so no lock is held by a thread that the child will not have.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Child { pid: child, parent }),
        ForkResult::Child => {
            // The parent may have died before the request was made; then the child has another parent by now.
            let watched = set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == parent;
            let value = if watched { value_of(work) } else { PANICKED };
            // SAFETY: `_exit` ends the process without running anything of it.
            unsafe { libc::_exit(value.into()) }
        }
    }
}

/// A running child process; it is killed and reaped when this is dropped.
///
/// Its number stays its own because nobody else waits for it. So this process must not ignore SIGCHLD, and no other part of
/// it may wait for any child that comes, by `waitpid(-1)`: else the drop might kill a stranger.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    parent: Pid,
}

impl Child {
    /// Stays this child's until it has been waited for.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// ECHILD, if somebody else has reaped it (SIGCHLD is ignored, or another part waits for any child); EINVAL, if a
    /// real-time signal has ended it, for which nix has no name: then it is reaped all the same.
    pub fn wait(self) -> io::Result<Exit> {
        let child = ManuallyDrop::new(self); // Once reaped, its number may be another's: nothing must kill that.
        reap(child.pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A later child of the same parent has a copy of this handle; its drop must not end a sibling.
        if getpid() == self.parent {
            let _ = kill(self.pid, Signal::SIGKILL); // Not reaped yet, so the number is still its own.
            let _ = reap(self.pid);
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code, 0 to 255.
    Code(i32),
    /// By a signal.
    Signal(Signal),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "ended by {signal}"),
        }
    }
}

const PANICKED: u8 = 101; // What a Rust program exits with when its main thread panics.

fn value_of(work: impl FnOnce() -> u8) -> u8 {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        forget(payload); // Dropping it could panic again, up into frames that belong to the parent.
        PANICKED
    })
}

const LOOKS: u32 = 10_000; // Some tenths of a second: far longer than the kernel needs to put a joined thread away.

fn wait_until_alone() -> io::Result<()> {
    for _ in 0..LOOKS {
        if fs::read_dir("/proc/self/task")?.count() == 1 {
            return Ok(());
        }
        thread::yield_now(); // Lets an ending thread finish, on one CPU too.
    }
    Err(io::Error::other("fork refused: this process has a second thread, which the child would not have"))
}

fn reap(pid: Pid) -> io::Result<Exit> {
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Exit::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Exit::Signal(signal)),
            Ok(_) | Err(Errno::EINTR) => {} // A tracer would see stops; a handler may interrupt the wait.
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_second_thread_is_refused() {
        // The harness runs this in a thread of its own, beside the main one.
        // SAFETY: the child, if there were one, would only exit.
        let refused = unsafe { fork(|| 0) }.unwrap_err();
        assert!(refused.to_string().contains("second thread"), "{refused}");
    }
}
