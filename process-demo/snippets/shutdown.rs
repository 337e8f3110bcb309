//! Stopping without losing anything: SIGTERM becomes a descriptor to wait on, and work in flight may finish until a deadline.
//!
//! Needs: nix 0.31 (event, poll, process, signal)
//! Runs on: Linux
//! Instead: tokio::signal and tokio_util::task::TaskTracker in asynchronous programs; signal-hook elsewhere.
//!
//! What it does not do: end work that is in flight: `drain` waits for it, until its deadline. It cannot take SIGKILL,
//! and tells of one signal where several of a kind came. A thread that was there before it still dies of the signal,
//! with the whole process; a program that is started inherits what is blocked, unless it calls `restore` first. Only
//! one thread may `drain`: a second one may sleep until its deadline though all is done. It does not survive a fork:
//! each side counts for itself.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::signal::{Signal, raise};
//! use std::thread;
//! use std::time::{Duration, Instant};
//!
//! let stop = Shutdown::on(&[Signal::SIGTERM, Signal::SIGINT]).unwrap(); // Before any thread starts.
//! assert_eq!(stop.asked().unwrap(), None);
//! raise(Signal::SIGTERM).unwrap();
//! assert_eq!(stop.wait().unwrap(), Signal::SIGTERM);
//!
//! let work = InFlight::new().unwrap();
//! let job = work.enter().unwrap();
//! assert_eq!(work.drain(Instant::now() + Duration::from_millis(1)).unwrap(), 1); // One is still at work,
//! assert!(work.enter().is_none()); // and nothing new begins.
//! thread::scope(|scope| {
//!     scope.spawn(move || drop(job));
//!     assert_eq!(work.drain(Instant::now() + Duration::from_secs(60)).unwrap(), 0);
//! });
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::MutexGuard;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that end a program, as a descriptor that becomes readable: so one `poll` or `epoll` waits for work and for
/// the end of it, and nothing runs inside a signal handler.
///
/// The signals are blocked in the thread that made it and in all that it starts later; when this is dropped, in the
/// same thread, they act again as before. See `signalfd(2)`.
#[derive(Debug)]
pub struct Shutdown {
    signals: SignalFd,
    mask_before: SigSet,
    stays_in_its_thread: PhantomData<MutexGuard<'static, ()>>, // Lent to other threads, but never moved: a mask is a thread's own.
}

impl Shutdown {
    /// Blocks the signals and makes the descriptor for them. Call it before the first other thread starts: one that does
    /// not block a signal would die of it, and the process with it.
    ///
    /// # Errors
    /// EMFILE at the limit of descriptors; EINVAL for a signal that cannot be blocked (SIGKILL, SIGSTOP).
    pub fn on(signals: &[Signal]) -> io::Result<Shutdown> {
        if signals.iter().any(|signal| matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
            return Err(Errno::EINVAL.into()); // The kernel would leave them out without a word.
        }
        let wanted: SigSet = signals.iter().copied().collect();
        let descriptor = SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let mask_before = SigSet::thread_get_mask()?;
        wanted.thread_block()?;
        Ok(Shutdown { signals: descriptor, mask_before, stays_in_its_thread: PhantomData })
    }

    /// The signal that has come, if one has; it is told once, and the descriptor is not readable any more then.
    ///
    /// # Errors
    /// None that `read(2)` documents for such a descriptor.
    pub fn asked(&self) -> io::Result<Option<Signal>> {
        let Some(told) = self.signals.read_signal()? else { return Ok(None) };
        Ok(Some(Signal::try_from(told.ssi_signo as i32)?))
    }

    /// Blocks until one of the signals comes.
    ///
    /// # Errors
    /// As for `poll(2)`: ENOMEM.
    pub fn wait(&self) -> io::Result<Signal> {
        loop {
            if let Some(signal) = self.asked()? {
                return Ok(signal);
            }
            wait_for(self.as_fd(), None)?;
        }
    }

    /// Gives the calling thread the mask of before. For a child between fork and exec (`pre_exec` may call it): a new
    /// program inherits what is blocked, and one that knows nothing of it could not be stopped.
    ///
    /// # Errors
    /// None that `pthread_sigmask(3)` documents for a valid mask.
    pub fn restore(&self) -> io::Result<()> {
        Ok(self.mask_before.thread_set_mask()?)
    }
}

impl AsFd for Shutdown {
    /// Readable while a signal has come that nobody has asked for. Only wait on it; [`Shutdown::asked`] reads it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        let _ = self.restore(); // A signal that nobody asked for ends the process now, as it should have.
    }
}

/// The work that several threads have in flight, counted, so that one of them can wait for the last to finish.
#[derive(Debug)]
pub struct InFlight {
    count: AtomicUsize, // With DRAINING on top, once somebody waits.
    none_left: EventFd,
}

/// One piece of work; it is finished when this is dropped, even by a panic.
#[derive(Debug)]
pub struct Working<'a> {
    of: &'a InFlight,
}

impl InFlight {
    /// Nothing in flight yet.
    ///
    /// # Errors
    /// EMFILE at the limit of descriptors.
    pub fn new() -> io::Result<InFlight> {
        let none_left = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(InFlight { count: AtomicUsize::new(0), none_left })
    }

    /// Begins a piece of work; `None` once the draining has begun. It costs one atomic addition and no system call.
    pub fn enter(&self) -> Option<Working<'_>> {
        let working = Working { of: self };
        // Acquire, though it only counts: whoever is turned away also sees what was written before the draining began.
        let draining = self.count.fetch_add(1, Acquire) & DRAINING != 0;
        if draining { None } else { Some(working) } // Dropped, it takes its one back.
    }

    /// How many pieces of work are in flight, at a glance.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed) & !DRAINING
    }

    /// Lets nothing new begin, and blocks until all work in flight is finished or the deadline has passed; returns how
    /// many pieces are left then, 0 if all is done. What the finished work has written is visible to the caller.
    ///
    /// # Errors
    /// As for `poll(2)`: ENOMEM.
    pub fn drain(&self, deadline: Instant) -> io::Result<usize> {
        self.count.fetch_or(DRAINING, AcqRel);
        loop {
            let left = self.count.load(Acquire) & !DRAINING; // Pairs with the Release of each piece that has finished.
            if left == 0 {
                return Ok(0);
            }
            if !wait_for(self.none_left.as_fd(), Some(deadline))? {
                return Ok(left);
            }
            // Somebody turned away at the door may have been the last to leave, so what counts is the count.
            match self.none_left.read() {
                Ok(_) | Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        // One word says both how many there are and whether somebody waits: so neither can miss the other.
        let before = self.of.count.fetch_sub(1, Release); // Publishes what the work has written to whoever drains.
        if before == DRAINING + 1 {
            let _ = self.of.none_left.write(1); // Full, it is readable already.
        }
    }
}

const DRAINING: usize = 1 << (usize::BITS - 1);

/// Waits until the descriptor is readable, and tells whether it is; without a deadline it waits for ever.
fn wait_for(descriptor: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match ppoll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], left.map(Into::into), None) {
            Ok(0) if left == Some(Duration::ZERO) => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    #[test]
    fn a_signal_is_told_once_and_makes_the_descriptor_readable_until_then() {
        let stop = Shutdown::on(&[Signal::SIGUSR1]).unwrap();
        assert!(!wait_for(stop.as_fd(), Some(Instant::now())).unwrap());
        nix::sys::signal::raise(Signal::SIGUSR1).unwrap(); // To this thread alone: the harness's others do not block it.
        assert!(wait_for(stop.as_fd(), Some(far())).unwrap());
        assert_eq!(stop.asked().unwrap(), Some(Signal::SIGUSR1));
        assert_eq!(stop.asked().unwrap(), None);
    }

    #[test]
    fn the_mask_of_before_comes_back() {
        let before = SigSet::thread_get_mask().unwrap();
        let stop = Shutdown::on(&[Signal::SIGUSR2]).unwrap();
        assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR2));
        drop(stop);
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }

    #[test]
    fn what_cannot_be_blocked_is_refused() {
        assert_eq!(Shutdown::on(&[Signal::SIGKILL]).unwrap_err().raw_os_error(), Some(nix::libc::EINVAL));
    }

    #[test]
    fn draining_waits_for_the_last_of_many() {
        let work = InFlight::new().unwrap();
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            let jobs: Vec<_> = (0..8).map(|_| work.enter().unwrap()).collect();
            for job in jobs {
                let done = &done;
                scope.spawn(move || {
                    done.fetch_add(1, Relaxed);
                    drop(job);
                });
            }
            assert_eq!(work.drain(far()).unwrap(), 0);
            assert_eq!(done.load(Relaxed), 8); // Seen without joining: that is what the drain is for.
        });
        assert!(work.enter().is_none());
        assert_eq!(work.count(), 0);
    }

    #[test]
    fn a_deadline_that_has_passed_tells_how_many_are_left() {
        let work = InFlight::new().unwrap();
        let _jobs = [work.enter().unwrap(), work.enter().unwrap()];
        assert_eq!(work.drain(Instant::now()).unwrap(), 2);
    }
}
