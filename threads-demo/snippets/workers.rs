//! Workers that all start before any of them may finish, and tell of both as it happens.
//!
//! Needs: crossbeam-channel 0.5
//! Runs on: anything with threads
//! Instead: rayon to split work over the CPUs; this one gives each piece its own thread, all at once.
//!
//! What it does not do: cancel, or use fewer threads than pieces of work. It has no time-out: it waits for ever if a
//! worker does. It does not survive a fork: the child has only the thread that forked.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! let done = run(3, |worker| worker * worker, |event| println!("{event:?}"))?;
//! assert_eq!(done.iter().map(|span| span.result).collect::<Vec<_>>(), [0, 1, 4]);
//! assert!(done.iter().all(|one| done.iter().all(|other| one.started <= other.finished)));
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io;
use std::panic::resume_unwind;
use std::thread::{self, Builder};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// What happened just now, to the worker of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It runs, and waits for the others to do so.
    Started(usize),
    /// Its work is done.
    Finished(usize),
}

/// What one worker did, and from when to when.
#[derive(Clone, Copy, Debug)]
pub struct Span<T> {
    /// When it began to run.
    pub started: Instant,
    /// When its work was done.
    pub finished: Instant,
    /// What the work returned.
    pub result: T,
}

/// Runs `work(0)` to `work(count - 1)`, each in a thread of its own, and returns their spans in this order.
///
/// No work begins before every thread has started. The calling thread calls `hear` with each event, in the order in
/// which they happen, so nothing that it does there needs a lock. Blocks until all have finished. The error is the
/// system's refusal to make another thread; no work was begun then.
///
/// # Panics
/// With the panic of a worker, once the others have finished.
pub fn run<T: Send>(
    count: usize,
    work: impl Fn(usize) -> T + Sync,
    mut hear: impl FnMut(Event),
) -> io::Result<Vec<Span<T>>> {
    thread::scope(|scope| {
        let (tell, told) = unbounded();
        // A gate and not a `Barrier`: if one thread cannot be made, those at a barrier would wait for ever; here they
        // see the gate's other end dropped.
        let (open, gate) = bounded(count);
        let mut threads = Vec::with_capacity(count);
        for worker in 0..count {
            let (work, tell, gate) = (&work, tell.clone(), gate.clone());
            let life = move || live(worker, work, &tell, &gate);
            threads.push(Builder::new().name(format!("worker {worker}")).spawn_scoped(scope, life)?);
        }
        drop(tell); // With it, the channel ends when the last worker is gone.
        let mut started = 0;
        for event in &told {
            hear(event);
            if let Event::Started(_) = event {
                started += 1;
                if started == count {
                    (0..count).for_each(|_| open.send(()).expect("this function holds the gate's other end"));
                }
            }
        }
        let spans = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok(spans.flatten().collect())
    })
}

/// One worker's life; none if the gate was never opened.
fn live<T>(worker: usize, work: impl Fn(usize) -> T, tell: &Sender<Event>, gate: &Receiver<()>) -> Option<Span<T>> {
    let started = Instant::now();
    tell.send(Event::Started(worker)).ok()?; // Nobody listens once the caller has given up.
    gate.recv().ok()?;
    let result = work(worker);
    let finished = Instant::now();
    tell.send(Event::Finished(worker)).ok()?;
    Some(Span { started, finished, result })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn all_start_before_any_finishes() {
        let mut events = Vec::new();
        let spans = run(8, |worker| worker, |event| events.push(event)).unwrap();
        assert_eq!(events.len(), 16);
        let (first, last) = events.split_at(8);
        assert!(first.iter().all(|event| matches!(event, Event::Started(_))), "{events:?}");
        assert!(last.iter().all(|event| matches!(event, Event::Finished(_))), "{events:?}");
        assert!(spans.iter().all(|one| spans.iter().all(|other| one.started <= other.finished)));
    }

    #[test]
    fn each_result_stands_at_its_worker_s_place() {
        let results: Vec<usize> =
            run(5, |worker| worker * 10, |_| ()).unwrap().iter().map(|span| span.result).collect();
        assert_eq!(results, [0, 10, 20, 30, 40]);
    }

    #[test]
    fn none_is_no_work() {
        assert!(run(0, |worker| worker, |_| ()).unwrap().is_empty());
    }

    #[test]
    fn a_panic_comes_out_after_the_others_have_finished() {
        let mut finished = 0;
        let work = |worker| assert_ne!(worker, 1, "worker 1 fails");
        let hear = |event| finished += usize::from(matches!(event, Event::Finished(_)));
        assert!(catch_unwind(AssertUnwindSafe(|| run(3, work, hear))).is_err());
        assert_eq!(finished, 2);
    }

    #[test]
    fn a_caller_that_gives_up_leaves_no_worker_waiting() {
        let give_up = |_| panic!("the caller has heard enough");
        assert!(catch_unwind(AssertUnwindSafe(|| run(3, |worker| worker, give_up))).is_err());
    }
}
