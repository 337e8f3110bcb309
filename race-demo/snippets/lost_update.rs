//! A lost update: two additions, one of which vanishes.
//!
//! Needs: std
//! Runs on: anything with threads
//! Instead: std::sync::atomic::AtomicU64::fetch_add itself; this one shows what happens without it.
//!
//! `total = total + 1` is a read, an addition and a write. When two threads both read before either writes, the second
//! write buries the first. All of it is done with atomics: each load and each store is whole, and still the sum is
//! wrong. (With plain variables it would be a data race, which Rust refuses to compile.)
//!
//! What it does not do: work between processes, or publish anything but the number: its orderings are Relaxed.
//! `together` has no time-out: it waits for ever if the work does.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::sync::atomic::AtomicU64;
//!
//! assert_eq!(lost(), 1); // Two threads each added one.
//!
//! let total = AtomicU64::new(0);
//! together(2, || add_at_once(&total));
//! assert_eq!(total.into_inner(), 2);
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, RwLock, mpsc};
use std::thread;

/// Two threads each add one, reading and writing in separate steps. Always returns 1.
///
/// The barrier stands where an unlucky preemption would: after both reads, before either write.
/// With it the bug needs no luck, so it can be tested.
pub fn lost() -> u64 {
    let total = AtomicU64::new(0);
    let both_have_read = Barrier::new(2);
    together(2, || {
        add_in_two_steps(&total, || {
            both_have_read.wait();
        });
    });
    total.into_inner()
}

/// Two threads each add one so many times in two steps, with nothing to force the bug. Returns how many of the
/// `2 * additions` vanished; zero says only that luck was good.
///
/// What runs `meanwhile`, between each read and its write, widens the window: `thread::yield_now` invites the other
/// thread in, which on one CPU is the only way but a preemption at the wrong moment.
pub fn lost_by_luck(additions: u64, meanwhile: impl Fn() + Sync) -> u64 {
    let total = AtomicU64::new(0);
    together(2, || (0..additions).for_each(|_| add_in_two_steps(&total, &meanwhile)));
    2 * additions - total.into_inner()
}

/// The bug: adds one by a load and a separate store, and does something else in between.
///
/// Stronger orderings do not mend it: the other thread's whole addition fits between the two steps. Nor does it help that
/// a compiler may make one instruction of both (`inc` on x86-64): without a lock prefix the CPU still takes two steps.
pub fn add_in_two_steps(total: &AtomicU64, meanwhile: impl FnOnce()) {
    let seen = total.load(Relaxed);
    meanwhile();
    total.store(seen + 1, Relaxed);
}

/// A fix: one indivisible step does all three. The best for a number; Relaxed, for it publishes nothing but itself.
pub fn add_at_once(total: &AtomicU64) {
    total.fetch_add(1, Relaxed);
}

/// A fix: writes only if nobody has written since the read, and otherwise begins again from what is there now.
///
/// Takes any change that can be computed from the old value, not only sums.
pub fn add_by_compare_exchange(total: &AtomicU64) {
    let mut seen = total.load(Relaxed);
    // The weak form may fail without cause, which costs a loop nothing and is cheaper on Arm.
    while let Err(now) = total.compare_exchange_weak(seen, seen + 1, Relaxed, Relaxed) {
        seen = now;
    }
}

/// A fix: nobody else is between the lock and the unlock. Blocks while somebody is; takes any change to any data.
///
/// # Panics
/// When a thread panicked while it held the lock.
pub fn add_locked(total: &Mutex<u64>) {
    *total.lock().unwrap() += 1;
}

/// Runs the work on so many threads, which begin together, and waits for all of them.
///
/// Without a common start the first is often done before the last has begun, and nothing meets. A gate and not a
/// barrier: if one thread cannot be started, those at a barrier would wait for it for ever.
///
/// # Panics
/// When one of them does; or when one cannot be started, and then none works.
pub fn together(threads: usize, work: impl Fn() + Sync) {
    let gate = RwLock::new(());
    let (arrive, arrived) = mpsc::channel();
    thread::scope(|s| {
        let closed = gate.write().unwrap();
        for _ in 0..threads {
            s.spawn(|| {
                arrive.send(()).expect("this function holds the other end until all threads have ended");
                let open = gate.read().is_ok(); // If one cannot be started, that panic poisons the gate.
                if open {
                    work();
                }
            });
        }
        arrived.iter().take(threads).for_each(drop);
        drop(closed);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREADS: usize = 4;
    const ADDITIONS: u64 = 10_000;
    const ALL: u64 = THREADS as u64 * ADDITIONS;

    fn total_of(add: impl Fn(&AtomicU64) + Sync) -> u64 {
        let total = AtomicU64::new(0);
        together(THREADS, || (0..ADDITIONS).for_each(|_| add(&total)));
        total.into_inner()
    }

    #[test]
    fn an_update_is_lost_exactly_when_both_read_first() {
        assert!((0..100).all(|_| lost() == 1));
        let one_after_the_other = AtomicU64::new(0);
        together(1, || (0..2).for_each(|_| add_in_two_steps(&one_after_the_other, || ())));
        assert_eq!(one_after_the_other.into_inner(), 2);
    }

    #[test]
    fn luck_loses_no_more_than_was_added() {
        // The last write of all is of a number that its thread had read and added to, so one at least survives.
        assert!(lost_by_luck(1000, thread::yield_now) < 2000);
        assert!(lost_by_luck(1000, || ()) < 2000);
    }

    #[test]
    fn one_indivisible_step_loses_nothing() {
        assert_eq!(total_of(add_at_once), ALL);
    }

    #[test]
    fn compare_exchange_loses_nothing() {
        assert_eq!(total_of(add_by_compare_exchange), ALL);
    }

    #[test]
    fn a_lock_loses_nothing() {
        let total = Mutex::new(0);
        together(THREADS, || (0..ADDITIONS).for_each(|_| add_locked(&total)));
        assert_eq!(total.into_inner().unwrap(), ALL);
    }
}
