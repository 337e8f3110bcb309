//! A number that processes count up and wait for: a wake-up by one small descriptor (eventfd).
//!
//! Needs: nix 0.31 (event, poll)
//! Runs on: Linux
//! Tests need: nix 0.31 (process)
//! Instead: std::sync::Condvar between threads; this one wakes other processes too, and poll can wait for it.
//!
//! As a counter it merges: who waits takes all that was added since, in one number. As a semaphore each wait takes one.
//! A forked child has it too; another process gets it over a Unix socket; and poll and epoll can wait for it beside
//! sockets and pipes. It has no name, so it leaves nothing behind.
//!
//! What it does not do: notice that the other side has died, or carry more than a number. `add` and `wait` have no
//! time-out (`wait_within` has): they wait for ever if nobody else comes. A caught signal does not end its waits.
//! Whoever dies takes along the permits that it held.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::time::Duration;
//! use nix::sys::wait::{WaitStatus, waitpid};
//! use nix::unistd::{ForkResult, fork};
//!
//! let (work, done) = (Event::counter()?, Event::counter()?);
//! // SAFETY: this process has one thread, and the child only waits, adds and exits.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         let told = work.wait().and_then(|count| done.add(2 * count));
//!         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
//!         unsafe { nix::libc::_exit(i32::from(told.is_err())) }
//!     }
//!     ForkResult::Parent { child } => {
//!         work.add(21)?;
//!         assert_eq!(done.wait()?, 42);
//!         assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 0));
//!     }
//! }
//! assert_eq!(done.wait_within(Duration::ZERO)?, None); // It was taken.
//!
//! let permits = Event::semaphore(2)?;
//! assert_eq!((permits.wait()?, permits.wait()?), (1, 1));
//! assert_eq!(permits.wait_within(Duration::from_millis(1))?, None);
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// A count in the kernel, for all who have its descriptor.
#[derive(Debug)]
pub struct Event {
    count: EventFd,
}

impl Event {
    /// Starts at zero; each wait takes the whole count. Errors: what eventfd(2) says, EMFILE and ENFILE among them.
    pub fn counter() -> Result<Event> {
        Event::new(0, EfdFlags::empty())
    }

    /// Starts with so many permits; each wait takes one. Errors: as `counter`.
    pub fn semaphore(permits: u32) -> Result<Event> {
        Event::new(permits, EfdFlags::EFD_SEMAPHORE)
    }

    /// Adds to the count and wakes who waits. Blocks while the sum would be above `u64::MAX - 1`.
    ///
    /// Errors: `InvalidInput` for `u64::MAX`, which never fits.
    pub fn add(&self, count: u64) -> Result<()> {
        if count == u64::MAX {
            return Err(Error::new(ErrorKind::InvalidInput, "a count that never fits"));
        }
        loop {
            match self.count.write(count) {
                Ok(_) => return Ok(()), // The kernel takes all eight bytes or none.
                Err(Errno::EAGAIN) => _ = wait_until_ready(self.as_fd(), PollFlags::POLLOUT, None)?,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the count is above zero and takes it: all of a counter, one of a semaphore.
    pub fn wait(&self) -> Result<u64> {
        loop {
            if let Some(taken) = self.take(None)? {
                return Ok(taken);
            }
        }
    }

    /// The same, but no longer than this; none if the time is up. No time at all only looks.
    pub fn wait_within(&self, time: Duration) -> Result<Option<u64>> {
        self.take(Instant::now().checked_add(time)) // What no clock can show is for ever.
    }

    fn take(&self, deadline: Option<Instant>) -> Result<Option<u64>> {
        loop {
            match self.count.read() {
                Ok(taken) => return Ok(Some(taken)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if !wait_until_ready(self.as_fd(), PollFlags::POLLIN, deadline)? {
                        return Ok(None);
                    } // Ready is a hint: another waiter may have been faster.
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn new(count: u32, flags: EfdFlags) -> Result<Event> {
        // It never blocks by itself: a wait with a time-out must be able to come back empty-handed.
        let flags = flags | EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Event { count: EventFd::from_value_and_flags(count, flags)? })
    }
}

impl AsFd for Event {
    /// To pass it on, or to poll: readable while the count is above zero.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.count.as_fd()
    }
}

/// Waits until the descriptor is ready, or has failed; false when the time is up. No deadline waits for ever.
fn wait_until_ready(fd: BorrowedFd<'_>, events: PollFlags, deadline: Option<Instant>) -> Result<bool> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let rounded_up = left.map(|left| left.saturating_add(Duration::from_micros(999)));
        let timeout = rounded_up.map_or(PollTimeout::NONE, |time| time.try_into().unwrap_or(PollTimeout::MAX));
        match poll(&mut [PollFd::new(fd, events)], timeout) {
            Ok(0) if left.is_some_and(|left| !left.is_zero()) => {} // Poll's longest wait is 24 days: look again.
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_counter_gives_all_at_once_and_a_semaphore_one_by_one() {
        let (counter, semaphore) = (Event::counter().unwrap(), Event::semaphore(1).unwrap());
        for event in [&counter, &semaphore] {
            event.add(2).unwrap();
            event.add(3).unwrap();
        }
        assert_eq!(counter.wait().unwrap(), 5);
        assert_eq!(counter.wait_within(Duration::ZERO).unwrap(), None);
        let taken = std::iter::from_fn(|| semaphore.wait_within(Duration::ZERO).unwrap());
        assert_eq!(taken.collect::<Vec<_>>(), [1; 6]);
    }

    #[test]
    fn who_waits_is_woken() {
        let event = Event::counter().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| event.wait().unwrap());
            event.add(7).unwrap();
            assert_eq!(waiting.join().unwrap(), 7);
        });
    }

    #[test]
    fn who_adds_to_a_full_counter_waits_for_room_and_nothing_is_lost() {
        const TIMES: u128 = 100;
        const LARGE: u64 = u64::MAX - 1; // Two of them never fit.
        let event = Event::counter().unwrap();
        thread::scope(|scope| {
            let adding = scope.spawn(|| (0..TIMES).for_each(|_| event.add(LARGE).unwrap()));
            let mut sum = u128::from(event.wait().unwrap());
            while !adding.is_finished() {
                sum += u128::from(event.wait_within(Duration::from_millis(1)).unwrap().unwrap_or(0));
            }
            sum += u128::from(event.wait_within(Duration::ZERO).unwrap().unwrap_or(0));
            assert_eq!(sum, TIMES * u128::from(LARGE));
        });
    }

    #[test]
    fn of_many_waiters_each_permit_goes_to_one() {
        let event = Event::semaphore(0).unwrap();
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| event.wait().unwrap())).collect();
            event.add(4).unwrap();
            assert!(waiting.into_iter().all(|waiter| waiter.join().unwrap() == 1));
        });
        assert_eq!(event.wait_within(Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn what_never_fits_is_refused() {
        assert_eq!(Event::counter().unwrap().add(u64::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_time_beyond_the_clock_is_for_ever() {
        let event = Event::semaphore(1).unwrap();
        assert_eq!(event.wait_within(Duration::MAX).unwrap(), Some(1));
    }
}
