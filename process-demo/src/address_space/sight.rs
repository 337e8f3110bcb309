//! What does one process see in both pages at one moment?

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A word in each of two pages, one that fork copies and one that it shares.
#[derive(Clone, Copy)]
pub struct Words<'p> {
    pub copied: &'p AtomicU64,
    pub shared: &'p AtomicU64,
}

/// What one process sees at one moment.
#[derive(Clone, Copy)]
pub struct Sight {
    pub copied_at: u64,
    pub copied: u64,
    pub shared_at: u64,
    pub shared: u64,
}

impl Words<'_> {
    pub fn write(self, value: u64) {
        self.copied.store(value, Relaxed); // A socket tells the other side: it orders the stores.
        self.shared.store(value, Relaxed);
    }

    pub fn look(self) -> Sight {
        Sight {
            copied_at: self.copied.as_ptr().addr() as u64,
            copied: self.copied.load(Relaxed),
            shared_at: self.shared.as_ptr().addr() as u64,
            shared: self.shared.load(Relaxed),
        }
    }
}
