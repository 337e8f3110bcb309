//! How does a consumer wait? At the snippet's buffer, and at one that makes a mistake.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use anyhow::Result;
use process_demo::crew::Arguments;
use sync_demo::bounded_buffer::BoundedBuffer;

/// Only a bound, for what never comes; half a minute after its start the runner gives up a quick demonstration.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A buffer, as those meet it who keep to a schedule.
pub trait Buffer: Sync {
    fn len(&self) -> usize;

    /// Adds an item and wakes all who wait for one.
    fn put(&self, item: u64);

    /// Waits for an item; none if it came back without one. Only a mistake cares for what was seen before.
    fn take(&self, saw: usize) -> Option<u64>;
}

impl Buffer for BoundedBuffer<u64> {
    fn len(&self) -> usize {
        self.len()
    }

    fn put(&self, item: u64) {
        self.push_all(vec![item]).expect("nobody closes it");
    }

    fn take(&self, _: usize) -> Option<u64> {
        self.pop_within(PATIENCE).ok()
    }
}

/// With both it would be right.
#[derive(Default)]
pub struct Careless {
    /// It looks again when it wakes: `while`, not `if`.
    pub loops: bool,
    /// It looks under the lock, and does not go by what it saw before.
    pub locks: bool,
    pub items: Mutex<VecDeque<u64>>,
    pub not_empty: Condvar,
}

impl Buffer for Careless {
    fn len(&self) -> usize {
        self.items.lock().unwrap().len()
    }

    fn put(&self, item: u64) {
        self.items.lock().unwrap().push_back(item);
        self.not_empty.notify_all();
    }

    fn take(&self, saw: usize) -> Option<u64> {
        let mut items = self.items.lock().unwrap();
        let mut must_wait = if self.locks { items.is_empty() } else { saw == 0 };
        while must_wait {
            items = self.not_empty.wait_timeout(items, PATIENCE).unwrap().0;
            must_wait = self.loops && items.is_empty();
        }
        items.pop_front()
    }
}

/// The tasks of which a schedule is made: here, to see how many items there are.
pub fn look(buffer: &mut &dyn Buffer, _: Arguments) -> Result<u64> {
    Ok(buffer.len() as u64)
}

pub fn put(buffer: &mut &dyn Buffer, _: Arguments) -> Result<u64> {
    buffer.put(1);
    Ok(1)
}

/// Takes an item, zero if it gets none; is told how many it saw before.
pub fn take(buffer: &mut &dyn Buffer, [saw, ..]: Arguments) -> Result<u64> {
    Ok(buffer.take(saw as usize).unwrap_or(0))
}
