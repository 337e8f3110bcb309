//! Shared memory for one message, and a word to wait by: what one writes who takes neither a ring nor a lock.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;

use super::lines::BYTES;
use crate::futex::{wait, wake};

/// In the memory: how many messages were ever written and read, and the last one's bytes.
#[repr(C)]
struct Contents {
    written: AtomicU32,
    read: AtomicU32,
    bytes: [AtomicU8; BYTES],
}

pub struct Mailbox(SharedRegion);

impl Mailbox {
    pub fn new() -> Result<Mailbox> {
        Ok(Mailbox(SharedRegion::new(size_of::<Contents>()).context("shared memory")?))
    }

    fn contents(&self) -> &Contents {
        // SAFETY: the region is large enough, zeroed, aligned to a page and lives as long; all zeros are valid contents.
        unsafe { &*self.0.as_ptr().cast() }
    }

    /// Copies a message in once the last one was read, and gives its number. Nobody is told before `publish`.
    pub fn put(&self, message: &[u8]) -> Result<u32> {
        let Contents { written, read, bytes } = self.contents();
        let places = bytes.get(..message.len()).context("no room")?;
        let number = written.load(Relaxed);
        while read.load(Acquire) != number {
            wait(read, number.wrapping_sub(1))?; // The one before is not yet read.
        }
        places.iter().zip(message).for_each(|(place, byte)| place.store(*byte, Relaxed));
        Ok(number)
    }

    pub fn publish(&self, number: u32) {
        self.contents().written.store(number.wrapping_add(1), Release); // Publishes the bytes to whoever reads it.
        wake(&self.contents().written);
    }

    pub fn take(&self) -> Result<Vec<u8>> {
        let Contents { written, read, bytes } = self.contents();
        let number = read.load(Relaxed);
        while written.load(Acquire) == number {
            wait(written, number)?;
        }
        let message = bytes.iter().map(|place| place.load(Relaxed)).collect();
        read.store(number.wrapping_add(1), Release); // Gives the room back.
        wake(read);
        Ok(message)
    }

    /// How many messages are there to be taken.
    pub fn unread(&self) -> u32 {
        let Contents { written, read, .. } = self.contents();
        written.load(Acquire).wrapping_sub(read.load(Acquire))
    }
}
