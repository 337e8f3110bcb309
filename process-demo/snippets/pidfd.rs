//! A process by descriptor: unlike its number, a descriptor never comes to mean another process.
//!
//! Needs: nix 0.31 (poll, process, signal)
//! Runs on: Linux 5.4 or newer
//! Instead: std::process::Child where nobody else waits for children, tokio::process to await them.
//!
//! A number is free again as soon as its process has been waited for, and the kernel gives it to the next that comes. A
//! signal sent to a number that somebody else has waited for may therefore hit a stranger; sent to a descriptor, it
//! fails. Besides, a descriptor can be watched by poll and epoll, beside sockets and timers.
//!
//! What it does not do: end the process when it is dropped, or wait for it: a child that nobody waits for stays a
//! zombie. `wait` has no time-out (`wait_for` has): it waits for ever if the process lives. A caught signal does not
//! end its waits. A forked child may signal and watch by its copy, and not wait. The end by a real-time signal is an
//! error, since nix has no name for it.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::{signal::Signal, wait::WaitStatus};
//! use std::{process::Command, time::Duration};
//!
//! let child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
//! let cat = PidFd::of_child(&child).unwrap();
//! assert_eq!(cat.wait_for(Duration::ZERO).unwrap(), None); // It waits for input: alive.
//! cat.signal(Signal::SIGTERM).unwrap();
//! assert!(matches!(cat.wait().unwrap(), WaitStatus::Signaled(_, Signal::SIGTERM, _)));
//! let gone = cat.signal(Signal::SIGKILL).unwrap_err(); // Whoever has the number by now is safe.
//! assert_eq!(gone.raw_os_error(), Some(nix::libc::ESRCH));
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::process::Child;
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// A descriptor of a process; closed when dropped, which neither ends the process nor waits for it.
///
/// By `AsFd`, poll finds it readable once the process has ended, for everybody who holds one (`pidfd_open(2)`).
#[derive(Debug)]
pub struct PidFd {
    descriptor: OwnedFd,
}

impl PidFd {
    /// Opens the process that has this number now: the caller's business that it is still the one meant.
    ///
    /// It is, without doubt, for a child that nobody has waited for yet, dead or alive. For any other, open first and
    /// then check that it is the right one, by /proc/PID/stat, say: what the check finds, the descriptor keeps.
    ///
    /// # Errors
    /// ESRCH if there is no such process; EINVAL or ENOENT for the number of a thread that is not its process's first
    /// (Linux 6.9 and newer has descriptors of threads too, by a flag for which this does not ask);
    /// ENOSYS before Linux 5.3; EPERM under some sandboxes; EMFILE without a free descriptor.
    pub fn open(pid: Pid) -> io::Result<PidFd> {
        // SAFETY: the call takes two integers and touches no memory. (nix has no pidfd_open.)
        let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        let number = i32::try_from(Errno::result(opened)?).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor, closed on exec, and nobody else knows it.
        Ok(PidFd { descriptor: unsafe { OwnedFd::from_raw_fd(number) } })
    }

    /// Opens a child of std's `Command`.
    ///
    /// # Errors
    /// As `open`. The child must not have been waited for before.
    pub fn of_child(child: &Child) -> io::Result<PidFd> {
        PidFd::open(Pid::from_raw(child.id().try_into().map_err(io::Error::other)?))
    }

    /// Sends a signal to this process and no other (`pidfd_send_signal(2)`); `None` sends nothing and only checks.
    ///
    /// One that is dead and has not been waited for takes any signal, without effect.
    ///
    /// # Errors
    /// ESRCH if it has been waited for; EPERM if it belongs to another user.
    pub fn signal(&self, signal: impl Into<Option<Signal>>) -> io::Result<()> {
        let signal = signal.into().map_or(0, |signal| signal as i32);
        let (descriptor, no_details) = (self.descriptor.as_raw_fd(), ptr::null::<libc::siginfo_t>());
        // SAFETY: without details, the kernel reads no memory of ours. (nix has no pidfd_send_signal.)
        Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal, no_details, 0) })?;
        Ok(())
    }

    /// Waits for the end, and takes its status: `Exited` with a code, or `Signaled`. Only its parent can.
    ///
    /// # Errors
    /// ECHILD if it is no child of this process, or has been waited for already; EINVAL if a real-time signal ended it,
    /// for which nix has no name: then it has been waited for all the same.
    pub fn wait(&self) -> io::Result<WaitStatus> {
        loop {
            match waitid(Id::PIDFd(self.as_fd()), WaitPidFlag::WEXITED) {
                Err(Errno::EINTR) => {} // By a handler of another signal.
                other => return Ok(other?),
            }
        }
    }

    /// The same, but not for ever; `None` if it still lives after the timeout, which is rounded up to milliseconds.
    ///
    /// # Errors
    /// As `wait`.
    pub fn wait_for(&self, timeout: Duration) -> io::Result<Option<WaitStatus>> {
        self.ends_within(timeout)?.then(|| self.wait()).transpose()
    }

    /// Waits until it has ended, or the timeout is over; says whether it has. Not only its parent may ask this.
    ///
    /// # Errors
    /// ENOMEM, as `poll(2)` says.
    pub fn ends_within(&self, timeout: Duration) -> io::Result<bool> {
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let left_ms = left.as_nanos().div_ceil(1_000_000); // Never zero too early: that would spin.
            let at_once_ms = PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::MAX); // Some 24 days, then again.
            match poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], at_once_ms) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    #[allow(clippy::zombie_processes)] // The descriptor waits for it.
    fn an_end_is_seen_before_it_is_waited_for_and_its_status_is_taken_once() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pidfd = PidFd::of_child(&child).unwrap();
        assert!(!pidfd.ends_within(Duration::ZERO).unwrap());
        pidfd.signal(None).unwrap();
        drop(child.stdin.take()); // The end of its input ends it.
        assert!(pidfd.ends_within(Duration::MAX).unwrap());
        pidfd.signal(Signal::SIGKILL).unwrap(); // Dead already: no effect, no error.
        assert!(matches!(pidfd.wait_for(Duration::ZERO).unwrap(), Some(WaitStatus::Exited(_, 0))));
        assert_eq!(pidfd.wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
        assert_eq!(pidfd.signal(None).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn who_is_no_child_can_be_watched_but_not_waited_for() {
        let parent = PidFd::open(nix::unistd::getppid()).unwrap();
        assert!(!parent.ends_within(Duration::from_millis(1)).unwrap());
        assert_eq!(parent.wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn a_number_that_nobody_has_is_told() {
        let nobody = Pid::from_raw(i32::MAX); // Linux numbers processes up to four million.
        assert_eq!(PidFd::open(nobody).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
