//! A signal that carries a number and waits in a queue, taken when the receiver likes and never by a handler.
//!
//! Needs: nix 0.31 (process)
//! Runs on: Linux
//! Instead: signal-hook for handlers, iterators and event loops; this one is for numbers by signals.
//!
//! A signal handler may do almost nothing, see signal-safety(7). So block the signals, before the first thread is
//! started, and take them one by one. Standard signals (SIGUSR1 and the like) of one number merge while they wait;
//! real-time ones, from `libc::SIGRTMIN()` on, are all kept, come in the order in which they were sent, the lowest number
//! first, and each brings a number. A queue of them has a limit (RLIMIT_SIGPENDING), at which the sender gets an error.
//!
//! What it does not do: tell how a signal was sent. Number and sender are true of `send` and `kill`: of a timer they
//! are something else, a C program's `sival_int` is only half of the number, and a standard signal for which the queue
//! has no room comes with neither. After a fork the same signals are blocked in the child, and none of those that wait
//! is there. A thread that has not blocked them takes them away.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::time::Duration;
//! use nix::libc::{SIGRTMIN, SIGUSR1};
//! use nix::sys::wait::{WaitStatus, waitpid};
//! use nix::unistd::{ForkResult, fork, getppid};
//!
//! let signals = [SIGUSR1, SIGRTMIN()];
//! block(&signals)?; // Before the fork: so there is no moment in which one would end the child or the parent.
//! // SAFETY: this process has one thread, and the child only sends signals and exits.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         let numbers = [1, 2, 3];
//!         let sent = numbers.iter().try_for_each(|&number| {
//!             send(getppid(), SIGRTMIN(), number)?;
//!             send(getppid(), SIGUSR1, number)
//!         });
//!         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
//!         unsafe { nix::libc::_exit(i32::from(sent.is_err())) }
//!     }
//!     ForkResult::Parent { child } => {
//!         assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 0));
//!         let taken = |signal, number| Some(Taken { signal, number, sender: child });
//!         assert_eq!(take(&signals, Duration::ZERO)?, taken(SIGUSR1, 1)); // The other two merged with it.
//!         for number in [1, 2, 3] {
//!             assert_eq!(take(&signals, Duration::ZERO)?, taken(SIGRTMIN(), number));
//!         }
//!         assert_eq!(take(&signals, Duration::from_millis(1))?, None);
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io::{Error, Result};
use std::mem::{MaybeUninit, zeroed};
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{self, c_int, pid_t, sigval};
use nix::unistd::Pid;

/// A signal that was pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which one.
    pub signal: c_int,
    /// What its sender gave it; zero from `kill`, which cannot give anything.
    pub number: usize,
    /// Who sent it, by the kernel's word; it may have ended since, and the number may be another's.
    pub sender: Pid,
}

/// Keeps these signals pending in this thread, and in the threads and child processes that it makes from now on.
///
/// Every thread must have them blocked, or one that has not will get them: call this before the first is started. An
/// exec keeps it too, so unblock them before you start a program that does not expect it. Errors: EINVAL for what is no
/// signal. (By libc: nix has no names for real-time signals.)
pub fn block(signals: &[c_int]) -> Result<()> {
    let set = set_of(signals)?;
    // SAFETY: the set lives during the call, and the old mask is not asked for.
    let code = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) };
    if code == 0 { Ok(()) } else { Err(Error::from_raw_os_error(code)) }
}

/// Takes one of these signals, which must be blocked: the lowest number first, and of one number the earliest. Waits at
/// most so long; none if the time is up. No time at all only looks, and what no clock can show is for ever.
///
/// Errors: EINVAL for what is no signal; see sigtimedwait(2).
pub fn take(signals: &[c_int], time: Duration) -> Result<Option<Taken>> {
    const LONGEST: Duration = Duration::from_secs(1 << 30); // 34 years, which every `time_t` can hold.
    let set = set_of(signals)?;
    let deadline = Instant::now().checked_add(time);
    let mut about = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        let left = deadline.map_or(LONGEST, |at| at.saturating_duration_since(Instant::now()).min(LONGEST));
        let limit = libc::timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
        // SAFETY: the set, the room for what is told and the limit live during the call.
        match Errno::result(unsafe { libc::sigtimedwait(&set, about.as_mut_ptr(), &limit) }) {
            Ok(signal) => {
                // SAFETY: the room was zeroed and then filled, and what processes send has a sender and a value, which
                // the kernel leaves zero if there is none.
                let (number, sender) = unsafe {
                    let about = about.assume_init();
                    (about.si_value().sival_ptr as usize, Pid::from_raw(about.si_pid()))
                };
                return Ok(Some(Taken { signal, number, sender }));
            }
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR) => {} // A handler of another signal ran: wait for what is left of the time.
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends a signal with a number. Errors: EAGAIN if the receiver has as many pending as it may, ESRCH if there is no such
/// process, EPERM if it is another user's; see sigqueue(3).
pub fn send(to: Pid, signal: c_int, number: usize) -> Result<()> {
    let value = sigval { sival_ptr: number as *mut libc::c_void };
    // SAFETY: it takes numbers; nobody follows the pointer, which is one.
    Errno::result(unsafe { sigqueue(to.as_raw(), signal, value) })?;
    Ok(())
}

unsafe extern "C" {
    // In every Linux C library, see sigqueue(3); neither nix nor libc lists it.
    fn sigqueue(pid: pid_t, signal: c_int, value: sigval) -> c_int;
}

fn set_of(signals: &[c_int]) -> Result<libc::sigset_t> {
    // SAFETY: a set of zeros is a valid one, and it is made empty before it is used.
    let mut set = unsafe { zeroed() };
    // SAFETY: the set lives during the call.
    unsafe { libc::sigemptyset(&mut set) };
    for &signal in signals {
        // SAFETY: as above; what is no signal is an error.
        Errno::result(unsafe { libc::sigaddset(&mut set, signal) })?;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<()>) -> Option<i32> {
        result.unwrap_err().raw_os_error()
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        assert_eq!(code(block(&[-1])), Some(Errno::EINVAL as i32));
        assert_eq!(code(send(nix::unistd::getpid(), 1000, 0)), Some(Errno::EINVAL as i32));
    }

    #[test]
    fn nobody_gets_nothing() {
        let nobody = Pid::from_raw(i32::MAX); // Above the largest that Linux gives.
        assert_eq!(code(send(nobody, libc::SIGRTMIN(), 1)), Some(Errno::ESRCH as i32));
    }

    #[test]
    fn where_none_is_pending_the_time_is_up() {
        let signals = [libc::SIGRTMIN() + 1];
        block(&signals).unwrap();
        assert_eq!(take(&signals, Duration::ZERO).unwrap(), None);
        assert_eq!(take(&signals, Duration::from_millis(1)).unwrap(), None);
    }

    #[test]
    fn a_time_beyond_the_clock_is_no_error() {
        let signals = [libc::SIGRTMIN() + 2];
        block(&signals).unwrap();
        // SAFETY: it takes two numbers; the signal goes to this thread, which has it blocked.
        assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), signals[0]) }, 0);
        assert_eq!(take(&signals, Duration::MAX).unwrap().unwrap().signal, signals[0]);
    }
}
