//! What must hold of the futex mutex, in every order.

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
use loom::thread;

use super::futex_mutex::FutexMutex; // The shipped file, or the mutant beside which this file is compiled.
use crate::Check;

pub const CHECKS: &[Check] = &[
    Check { name: "one at a time, 2 threads, all orders", run: || one_at_a_time(2, None) },
    Check { name: "one at a time, 3 threads, 3 preemptions", run: || one_at_a_time(3, Some(3)) },
    Check { name: "the value is published, 2 threads, all orders", run: || the_value_is_published(2, None) },
    Check { name: "the value is published, 3 threads, 3 preemptions", run: || the_value_is_published(3, Some(3)) },
    Check { name: "what try_lock admits sees the value, all orders", run: what_try_lock_admits_sees_the_value },
    Check { name: "every waiter is woken, 3 threads, 3 preemptions", run: || every_waiter_is_woken(3, 1, Some(3)) },
    Check {
        name: "every waiter is woken, 2 threads twice, 3 preemptions",
        run: || every_waiter_is_woken(2, 2, Some(3)),
    },
];

fn one_at_a_time(threads: usize, preemptions: Option<usize>) {
    explore(preemptions, move || {
        let mutex = Arc::new((FutexMutex::new(()), AtomicU32::new(0)));
        all(threads, &mutex, |(mutex, inside)| {
            let _guard = mutex.lock();
            assert_eq!(inside.fetch_add(1, Relaxed), 0, "two are inside at once"); // Relaxed: it orders nothing itself.
            inside.fetch_sub(1, Relaxed);
        });
    });
}

/// loom's cell fails unless each use of it happens before the next.
fn the_value_is_published(threads: usize, preemptions: Option<usize>) {
    explore(preemptions, move || {
        let total = Arc::new(FutexMutex::new(UnsafeCell::new(0)));
        all(threads, &total, add_one);
        assert_eq!(total.lock().with(read), threads);
    });
}

fn what_try_lock_admits_sees_the_value() {
    explore(None, || {
        let total = Arc::new(FutexMutex::new(UnsafeCell::new(0)));
        let adds = thread::spawn({
            let total = Arc::clone(&total);
            move || add_one(&total)
        });
        let admitted = total.try_lock().map(|total| total.with(read));
        assert!(matches!(admitted, None | Some(0 | 1)));
        adds.join().unwrap();
        assert_eq!(total.try_lock().map(|total| total.with(read)), Some(1), "free, and not admitted");
    });
}

/// loom fails when all that are left sleep.
fn every_waiter_is_woken(threads: usize, rounds: usize, preemptions: Option<usize>) {
    explore(preemptions, move || {
        let mutex = Arc::new(FutexMutex::new(()));
        all(threads, &mutex, move |mutex| (0..rounds).for_each(|_| drop(mutex.lock())));
    });
}

fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

/// Runs `work` in so many threads, this one among them, and waits for all.
fn all<T: Send + Sync + 'static>(threads: usize, shared: &Arc<T>, work: impl Fn(&T) + Copy + Send + 'static) {
    let spawn = |_| {
        let shared = Arc::clone(shared);
        thread::spawn(move || work(&shared))
    };
    let others: Vec<_> = (1..threads).map(spawn).collect();
    work(shared);
    others.into_iter().for_each(|other| other.join().unwrap());
}

fn add_one(total: &FutexMutex<UnsafeCell<usize>>) {
    // SAFETY: loom's cell has just checked that nobody else uses the value.
    total.lock().with_mut(|total| unsafe { *total += 1 });
}

fn read(total: *const usize) -> usize {
    // SAFETY: as in `add_one`; the pointer comes from loom's cell.
    unsafe { *total }
}
