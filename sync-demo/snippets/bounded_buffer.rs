//! A bounded buffer between threads: producers wait while it is full, consumers while it is empty.
//!
//! Needs: std
//! Runs on: anything with threads
//! Instead: std::sync::mpsc::sync_channel for one consumer, crossbeam-channel where it is a bottleneck.
//!
//! What it does not do: work between processes, or survive a fork. It is not fair: who waits longest is not served
//! first. It is not for signal handlers. A close lets consumers take what is left; who must not take it has to be told
//! otherwise.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::thread;
//!
//! let buffer = BoundedBuffer::new(2);
//! let sum = thread::scope(|s| {
//!     let consumers = [(); 2].map(|()| s.spawn(|| std::iter::from_fn(|| buffer.pop()).sum::<u64>()));
//!     (1..=100).for_each(|item| buffer.push(item).unwrap());
//!     buffer.close();
//!     consumers.map(|consumer| consumer.join().unwrap()).iter().sum::<u64>()
//! });
//! assert_eq!(sum, 5050);
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// A queue of at most so many items, first in, first out: a monitor (C. A. R. Hoare, "Monitors", 1974).
///
/// Whoever waits looks again each time it wakes, and looks under the lock: another may have come first, or it woke
/// without cause. Every method panics if a thread panicked while it held the lock, which none of this can do.
#[derive(Debug)]
pub struct BoundedBuffer<T> {
    capacity: usize,
    content: Mutex<Content<T>>,
    not_full: Condvar,
    not_empty: Condvar,
}

#[derive(Debug)]
struct Content<T> {
    items: VecDeque<T>,
    closed: bool,
}

/// Why an item was not taken in; it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError<T> {
    /// It was full for all that time.
    Full(T),
    /// It takes in no more.
    Closed(T),
}

/// Why there is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// It was empty for all that time.
    Empty,
    /// It is empty, and will stay so.
    Closed,
}

impl<T> BoundedBuffer<T> {
    /// An empty buffer for `capacity` items.
    ///
    /// # Panics
    /// When that is none: nothing could ever be handed over.
    pub const fn new(capacity: usize) -> BoundedBuffer<T> {
        assert!(capacity > 0, "a bounded buffer needs room for one item");
        BoundedBuffer {
            capacity,
            content: Mutex::new(Content { items: VecDeque::new(), closed: false }),
            not_full: Condvar::new(),
            not_empty: Condvar::new(),
        }
    }

    /// Adds an item; sleeps while there is no room. Gives it back if the buffer is closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        let content = self.wait_for_room();
        if content.closed {
            return Err(item);
        }
        self.add(content, item);
        Ok(())
    }

    /// The same, but for at most that time; none at all to try only.
    pub fn push_within(&self, item: T, time: Duration) -> Result<(), PushError<T>> {
        let no_room = |content: &mut Content<T>| !content.closed && content.items.len() >= self.capacity;
        let (content, waited) = self.not_full.wait_timeout_while(self.lock(), time, no_room).unwrap();
        if content.closed {
            return Err(PushError::Closed(item));
        }
        if waited.timed_out() {
            return Err(PushError::Full(item));
        }
        self.add(content, item);
        Ok(())
    }

    /// Adds all items in their order, as many at a time as there is room for, and wakes all consumers each time.
    ///
    /// Gives back those that were not added if the buffer is closed. Another producer's items may come in between.
    pub fn push_all(&self, items: Vec<T>) -> Result<(), Vec<T>> {
        let mut left = VecDeque::from(items);
        while !left.is_empty() {
            let mut content = self.wait_for_room();
            if content.closed {
                return Err(left.into());
            }
            let fit = left.len().min(self.capacity - content.items.len());
            content.items.extend(left.drain(..fit));
            drop(content);
            self.not_empty.notify_all();
        }
        Ok(())
    }

    /// Takes the oldest item; sleeps while there is none. None if the buffer is closed and empty.
    pub fn pop(&self) -> Option<T> {
        let no_item = |content: &mut Content<T>| !content.closed && content.items.is_empty();
        let content = self.not_empty.wait_while(self.lock(), no_item).unwrap();
        self.take(content)
    }

    /// The same, but for at most that time; none at all to try only.
    pub fn pop_within(&self, time: Duration) -> Result<T, PopError> {
        let no_item = |content: &mut Content<T>| !content.closed && content.items.is_empty();
        let (content, waited) = self.not_empty.wait_timeout_while(self.lock(), time, no_item).unwrap();
        let none = if waited.timed_out() { PopError::Empty } else { PopError::Closed };
        self.take(content).ok_or(none)
    }

    /// Takes in no more; what is there can still be taken. Ends every wait that would never end otherwise.
    pub fn close(&self) {
        self.lock().closed = true;
        self.not_full.notify_all();
        self.not_empty.notify_all();
    }

    /// How many items it holds; that may have changed before the caller looks at the number.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether it holds none; the same is true of that.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn wait_for_room(&self) -> MutexGuard<'_, Content<T>> {
        let no_room = |content: &mut Content<T>| !content.closed && content.items.len() >= self.capacity;
        self.not_full.wait_while(self.lock(), no_room).unwrap()
    }

    fn add(&self, mut content: MutexGuard<'_, Content<T>>, item: T) {
        content.items.push_back(item);
        drop(content); // Who is woken finds it unlocked.
        self.not_empty.notify_one();
    }

    fn take(&self, mut content: MutexGuard<'_, Content<T>>) -> Option<T> {
        let item = content.items.pop_front()?;
        drop(content);
        self.not_full.notify_one();
        Some(item)
    }

    fn lock(&self) -> MutexGuard<'_, Content<T>> {
        self.content.lock().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const NOW: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn items_come_out_in_their_order_and_no_more_than_fit_go_in() {
        let buffer = BoundedBuffer::new(2);
        assert_eq!(buffer.pop_within(NOW), Err(PopError::Empty));
        assert_eq!([1, 2, 3].map(|item| buffer.push_within(item, NOW)), [Ok(()), Ok(()), Err(PushError::Full(3))]);
        assert_eq!((buffer.len(), buffer.pop(), buffer.pop(), buffer.is_empty()), (2, Some(1), Some(2), true));
    }

    #[test]
    fn a_closed_buffer_takes_nothing_in_and_gives_what_is_left() {
        let buffer = BoundedBuffer::new(2);
        buffer.push(1).unwrap();
        buffer.close();
        assert_eq!((buffer.push(2), buffer.push_within(3, LONG)), (Err(2), Err(PushError::Closed(3))));
        assert_eq!(buffer.push_all(vec![4, 5]), Err(vec![4, 5]));
        assert_eq!((buffer.pop(), buffer.pop(), buffer.pop_within(LONG)), (Some(1), None, Err(PopError::Closed)));
    }

    #[test]
    fn a_close_ends_every_wait() {
        let (full, empty) = (BoundedBuffer::new(1), BoundedBuffer::<u8>::new(1));
        full.push(0).unwrap();
        thread::scope(|s| {
            let producers = [(); 2].map(|()| s.spawn(|| full.push(1)));
            let consumers = [(); 2].map(|()| s.spawn(|| empty.pop()));
            full.close();
            empty.close();
            assert_eq!(producers.map(|one| one.join().unwrap()), [Err(1); 2]);
            assert_eq!(consumers.map(|one| one.join().unwrap()), [None; 2]);
        });
    }

    #[test]
    fn every_item_of_several_producers_arrives_once() {
        let buffer = BoundedBuffer::new(3);
        let mut arrived = thread::scope(|s| {
            let consumers = [(); 3].map(|()| s.spawn(|| std::iter::from_fn(|| buffer.pop()).collect::<Vec<u32>>()));
            let one_by_one = s.spawn(|| (0..500).for_each(|item| buffer.push_within(item, LONG).unwrap()));
            let at_once = s.spawn(|| buffer.push_all((500..1000).collect()).unwrap());
            one_by_one.join().and(at_once.join()).unwrap();
            buffer.close();
            consumers.map(|consumer| consumer.join().unwrap()).concat()
        });
        arrived.sort_unstable();
        assert!(arrived.into_iter().eq(0..1000));
    }
}
