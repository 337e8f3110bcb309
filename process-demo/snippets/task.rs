//! A task that shares with its creator what the flags say: the one system call behind fork and threads.
//!
//! Needs: nix 0.31 (sched)
//! Tests need: nix 0.31 (process, sched)
//! Runs on: Linux with glibc
//! Instead: std::thread for work, std::process::Command for programs; this one shows what the flags do.
//!
//! Linux has no other notion: a process is a task that shares nothing, a thread is one that shares all, and whatever lies
//! between is a task too.
//!
//! What it does not do: make threads for work. Those need more (memory for their thread-locals, most of all), which
//! `pthread_create(3)` sees to; this is for looking. It has no time-out: the creator sleeps as long as the task lives.
//! The work must not panic; its stack is small and unguarded, and a signal's handler may run on it as well.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
//! use nix::sched::CloneFlags;
//!
//! let value = AtomicU8::new(1);
//! let change = || { value.store(2, Relaxed); 0 };
//! // SAFETY: the work stores to an atomic, and nothing else.
//! let copy = unsafe { run(CloneFlags::empty(), change) }.unwrap(); // As a fork.
//! assert_eq!(value.load(Relaxed), 1);
//! // SAFETY: as above.
//! let beside = unsafe { run(CloneFlags::CLONE_VM, change) }.unwrap();
//! assert_eq!(value.load(Relaxed), 2);
//! for child in [copy, beside] {
//!     nix::sys::wait::waitpid(child, None).unwrap();
//! }
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use nix::libc;
use nix::sched::{CloneFlags, clone};
use nix::unistd::Pid;

/// Makes a task that does `work` and ends with its value; returns the task's number once it has ended, or has become
/// another program.
///
/// The creator sleeps as long as the task lives (CLONE_VFORK is added to the flags). A task that is no thread of this process
/// (CLONE_THREAD) is a child that is to be waited for, and ends with SIGCHLD.
///
/// # Errors
/// As `clone(2)` says: EINVAL for flags that the kernel refuses together, EAGAIN at the limit of processes, ENOMEM.
///
/// # Safety
/// `work` must not panic. It runs beside all other threads of this process if the flags share memory, and with copies of
/// the locks that they hold if they do not: in a program with a second thread it may only call what is
/// async-signal-safe (`signal-safety(7)`). A signal for the task runs this program's handler, if there is one, on the
/// task's small stack. Flags that hand the kernel more than `clone` takes here, CLONE_SETTLS say, are
/// not for it.
pub unsafe fn run(flags: CloneFlags, work: impl FnMut() -> u8) -> nix::Result<Pid> {
    let mut work = work;
    let mut stack = vec![0; STACK_BYTES];
    let call = Box::new(move || isize::from(work()));
    // SAFETY: with shared memory the task runs on the creator's thread-locals, with a stack of its own; CLONE_VFORK lets the
    // creator sleep until the task has ended, so it is the only one that uses them, and the stack outlives it.
    unsafe { clone(call, &mut stack, flags | CloneFlags::CLONE_VFORK, Some(libc::SIGCHLD)) }
}

const STACK_BYTES: usize = 64 << 10; // Plenty for a few calls without a buffer; there is no guard page below it.

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::sys::wait::{WaitStatus, waitpid};

    #[test]
    fn a_task_that_shares_nothing_is_a_child_with_an_exit_code() {
        // SAFETY: the work only returns.
        let task = unsafe { run(CloneFlags::empty(), || 42) }.unwrap();
        assert_eq!(waitpid(task, None), Ok(WaitStatus::Exited(task, 42)));
    }

    #[test]
    fn a_task_of_this_process_is_no_child() {
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_SIGHAND | CloneFlags::CLONE_THREAD;
        // SAFETY: the work only returns.
        let task = unsafe { run(flags, || 0) }.unwrap();
        assert_eq!(waitpid(task, None), Err(Errno::ECHILD));
    }

    #[test]
    fn handlers_are_not_shared_without_the_memory_that_they_lie_in() {
        // SAFETY: the work only returns.
        let refused = unsafe { run(CloneFlags::CLONE_SIGHAND, || 0) };
        assert_eq!(refused, Err(Errno::EINVAL));
    }
}
