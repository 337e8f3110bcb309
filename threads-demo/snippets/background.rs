//! A task in a background thread: start it, go on, and fetch its result when it is there.
//!
//! Needs: std
//! Runs on: anything with threads
//! Instead: rayon for many short tasks, std::thread::scope for one that borrows; this one has its own thread.
//!
//! What it does not do: cancel. It has no time-out: `join` and the drop wait for ever if the task does not end. It does
//! not survive a fork: the child has no such thread, and `join` panics there. Dropped within its own task, it panics.
//! `meanwhile` never sleeps between two steps.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! let task = start("adding up", || (1..=1000_u64).sum::<u64>())?;
//! let meanwhile = task.meanwhile(|| { /* whatever else there is to do */ });
//! assert_eq!(task.join(), 500_500);
//! println!("did {meanwhile} other things meanwhile");
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io;
use std::panic::resume_unwind;
use std::thread::{Builder, JoinHandle};

/// Starts the task in a thread of that name and returns at once.
///
/// The error is the system's refusal to make another thread (EAGAIN at a limit); the task has not begun then.
/// A name with a NUL byte panics.
pub fn start<T: Send + 'static>(name: &str, task: impl FnOnce() -> T + Send + 'static) -> io::Result<Background<T>> {
    let thread = Builder::new().name(name.to_owned()).spawn(task)?;
    Ok(Background { thread: Some(thread) })
}

/// A task that was started, with the right to its result.
///
/// Dropping it waits for the end of the task, too: a thread left to itself would be cut off wherever it happens to be
/// when `main` returns.
#[must_use = "dropping it waits for the task"]
pub struct Background<T> {
    thread: Option<JoinHandle<T>>, // None only while `join` or `drop` take it.
}

impl<T> Background<T> {
    /// True once the task has ended, well or by a panic; `join` then returns at once. Never blocks.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Calls `step` again and again until the task has finished; returns how many times.
    ///
    /// A step should be short: the end of the task is noticed between two steps.
    pub fn meanwhile(&self, mut step: impl FnMut()) -> u64 {
        let mut steps = 0;
        while !self.is_finished() {
            step();
            steps += 1;
        }
        steps
    }

    /// Waits for the end of the task and returns its result.
    ///
    /// # Panics
    /// With the task's own panic, if it ended by one.
    pub fn join(mut self) -> T {
        let thread = self.thread.take().expect("only join and drop take it, and each ends this value");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // Nobody asked for the result, and a panic while dropping would abort.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::mpsc::channel;

    #[test]
    fn the_caller_goes_on_while_the_task_runs() {
        let (hand_over, wait_for_it) = channel();
        let task = start("waiting", move || wait_for_it.recv()).unwrap();
        assert!(!task.is_finished()); // It waits for what is handed over only now.
        hand_over.send(7).unwrap();
        assert_eq!(task.join(), Ok(7));
    }

    #[test]
    fn steps_are_taken_until_the_task_is_done() {
        let (hand_over, wait_for_it) = channel();
        let task = start("waiting", move || wait_for_it.recv().unwrap()).unwrap();
        let mut last_sent = 0;
        let steps = task.meanwhile(|| {
            last_sent += 1;
            if last_sent == 3 {
                hand_over.send(last_sent).unwrap();
            }
        });
        assert!(steps >= 3);
        assert!(task.is_finished());
        assert_eq!(task.join(), 3);
    }

    #[test]
    fn a_panic_reaches_the_one_who_joins() {
        let task = start("failing", || panic!("no luck")).unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| task.join())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"no luck"));
    }

    #[test]
    fn dropping_waits_for_the_end() {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let task = start("ending", move || {
            (0..1000).for_each(|_| std::thread::yield_now());
            ended.store(true, Relaxed); // The join in drop publishes it.
        });
        drop(task.unwrap());
        assert!(seen.load(Relaxed));
    }
}
