//! A counter that one thread owns: the others send it their additions.
//!
//! Needs: crossbeam-channel 0.5
//! Runs on: anything with threads
//! Instead: std::sync::atomic::AtomicU64 for a mere number; this one is for any state that one thread owns.
//!
//! What only one thread can reach cannot be changed by two at once. The number is a local variable of its owner;
//! there is no lock to forget and no ordering to choose, and each addition costs a message.
//!
//! What it does not do: work between processes. It does not survive a fork: the child has no owner, and `total` waits
//! there for ever. It has no time-out, and it is not for signal handlers, since it may wait.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! let (counter, owner) = start();
//! std::thread::scope(|s| {
//!     for _ in 0..2 {
//!         s.spawn(|| counter.add(1));
//!     }
//! });
//! assert_eq!(counter.total(), 2);
//! drop(counter); // While one is left, the owner waits for more.
//! assert_eq!(owner.join().unwrap(), 2);
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

/// A handle on a number that another thread owns. Clone it for each thread that adds.
#[derive(Clone, Debug)]
pub struct Counter {
    messages: Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Add(u64),
    Tell(Sender<u64>),
}

/// Starts the owner of a new number, which is zero.
///
/// It ends when the last clone of the counter is dropped; its handle then gives the total.
///
/// # Panics
/// When no thread can be started.
pub fn start() -> (Counter, JoinHandle<u64>) {
    let (messages, inbox) = bounded(CAPACITY);
    let owner = thread::spawn(move || own(&inbox));
    (Counter { messages }, owner)
}

const CAPACITY: usize = 1024; // A burst does not wait; what is sent faster than it is added up does, and eats no memory.

impl Counter {
    /// Sends an addition; blocks while the owner is `CAPACITY` messages behind.
    ///
    /// # Panics
    /// When the owner has panicked, as it does in debug builds if the sum no longer fits.
    pub fn add(&self, amount: u64) {
        self.messages.send(Message::Add(amount)).expect(OWNER_LIVES);
    }

    /// The sum of all additions that were sent before this question, by this thread or by any other: messages are read
    /// in the order in which they were sent. Blocks until the owner has come to it.
    ///
    /// # Panics
    /// When the owner has panicked.
    pub fn total(&self) -> u64 {
        let (answer, told) = bounded(1);
        self.messages.send(Message::Tell(answer)).expect(OWNER_LIVES);
        told.recv().expect(OWNER_LIVES)
    }
}

const OWNER_LIVES: &str = "the owner ends only when all senders have, unless it panicked";

fn own(inbox: &Receiver<Message>) -> u64 {
    let mut total = 0;
    for message in inbox {
        match message {
            Message::Add(amount) => total += amount,
            Message::Tell(answer) => _ = answer.send(total), // Who asked may have given up by now.
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_loses_nothing() {
        let (counter, owner) = start();
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..10_000).for_each(|_| counter.add(1)));
            }
        });
        assert_eq!(counter.total(), 40_000);
        drop(counter);
        assert_eq!(owner.join().unwrap(), 40_000);
    }

    #[test]
    fn each_thread_finds_its_own_additions_in_the_total() {
        let (counter, _owner) = start();
        thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    for sent in 1..=100 {
                        counter.add(1);
                        assert!(counter.total() >= sent);
                    }
                });
            }
        });
    }
}
