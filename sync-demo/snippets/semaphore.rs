//! A counting semaphore between threads: it admits as many at once as it has permits.
//!
//! Needs: std
//! Runs on: anything with threads
//! Instead: tokio::sync::Semaphore in an asynchronous program, std::sync::Mutex for one at a time.
//!
//! What it does not do: work between processes. It has no time-out: it waits for ever if no permit comes back, and one
//! that is forgotten never does. It does not survive a fork: each side counts for itself. It is not for signal
//! handlers, and not fair.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//!
//! let permits = Semaphore::new(2);
//! let first = permits.acquire();
//! let _second = permits.acquire();
//! assert!(permits.try_acquire().is_none());
//! drop(first);
//! assert!(permits.try_acquire().is_some());
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::sync::{Condvar, Mutex};

/// Permits that threads take and give back (E. W. Dijkstra, "Cooperating sequential processes", 1965).
///
/// It counts; it protects nothing. With one permit it works as a lock, with more its holders are inside together.
#[derive(Debug)]
pub struct Semaphore {
    free: Mutex<usize>,
    released: Condvar,
}

/// One permit; dropping it gives it back and wakes a thread that waits for one.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once admits the next at once"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
}

impl Semaphore {
    /// A semaphore that admits `permits` at once; of none, `acquire` waits forever.
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore { free: Mutex::new(permits), released: Condvar::new() }
    }

    /// Takes a permit; sleeps while none is free. In which order those who wait are served is left open.
    pub fn acquire(&self) -> Permit<'_> {
        let free = self.free.lock().unwrap();
        // A waiter may wake without cause, or find that another took the permit: it looks again each time.
        let mut free = self.released.wait_while(free, |free| *free == 0).unwrap();
        *free -= 1;
        Permit { semaphore: self }
    }

    /// Takes a permit if one is free now.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        let mut free = self.free.lock().unwrap();
        *free = free.checked_sub(1)?;
        Some(Permit { semaphore: self })
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.semaphore.free.lock().unwrap() += 1; // Unlocked by the end of this line: who is woken finds it free.
        self.semaphore.released.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::thread;

    #[test]
    fn as_many_as_there_are_permits_are_inside_at_once() {
        let semaphore = Semaphore::new(3);
        let all_inside = Barrier::new(3); // Passed only if the three permits are held at one moment.
        thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let _permit = semaphore.acquire();
                    all_inside.wait();
                });
            }
        });
    }

    #[test]
    fn one_more_is_not_admitted_until_one_leaves() {
        let semaphore = Semaphore::new(2);
        let (first, _second) = (semaphore.acquire(), semaphore.acquire());
        assert!(semaphore.try_acquire().is_none());
        drop(first);
        assert!(semaphore.try_acquire().is_some());
    }

    #[test]
    fn never_more_than_the_permits_are_inside() {
        let semaphore = Semaphore::new(2);
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|s| {
            for _ in 0..6 {
                s.spawn(|| {
                    for _ in 0..200 {
                        let _permit = semaphore.acquire();
                        most.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
                        thread::yield_now();
                        inside.fetch_sub(1, Relaxed);
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.into_inner()));
    }
}
