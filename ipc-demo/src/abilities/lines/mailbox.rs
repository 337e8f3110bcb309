//! Shared memory for one message, and a word to wait by: what one writes who takes neither a ring nor a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;

use super::openings::line;
use super::{BYTES, Carries, Line, Patience, Receiving, Refusal, Sending};
use crate::futex::{wait, wake};
use crate::names::Names;

/// In the memory: how many messages were ever written and read, and the last one's bytes.
#[repr(C)]
struct Mailbox {
    written: AtomicU32,
    read: AtomicU32,
    bytes: [AtomicU8; BYTES],
}

/// A mailbox, by one mapping.
pub struct Mapped(SharedRegion);

impl Mapped {
    pub fn new() -> Result<Mapped> {
        Ok(Mapped(SharedRegion::new(size_of::<Mailbox>()).context("shared memory")?))
    }

    fn mailbox(&self) -> &Mailbox {
        // SAFETY: the region is large enough, zeroed, aligned to a page and lives as long; all zeros are a mailbox.
        unsafe { &*self.0.as_ptr().cast() }
    }

    /// The word that changes with each message.
    pub fn written(&self) -> &AtomicU32 {
        &self.mailbox().written
    }

    /// Copies a message in once the last one was read, and gives its number. Nobody is told before `publish`.
    pub fn put(&self, message: &[u8]) -> Result<u32, Refusal> {
        let mailbox = self.mailbox();
        let places = mailbox.bytes.get(..message.len()).ok_or_else(|| Refusal("no room".to_owned()))?;
        let number = mailbox.written.load(Relaxed);
        loop {
            let read = mailbox.read.load(Acquire); // What was read there has been read.
            if read == number {
                break;
            }
            wait(&mailbox.read, read)?;
        }
        places.iter().zip(message).for_each(|(place, byte)| place.store(*byte, Relaxed));
        Ok(number)
    }

    pub fn publish(&self, number: u32) {
        self.mailbox().written.store(number.wrapping_add(1), Release); // Publishes the bytes to whoever reads it.
        wake(&self.mailbox().written);
    }

    pub fn take(&self, buffer: &mut [u8], patience: Patience) -> Result<usize, Refusal> {
        let mailbox = self.mailbox();
        let read = mailbox.read.load(Relaxed);
        while mailbox.written.load(Acquire) == read {
            if patience == Patience::Looks {
                return Ok(0);
            }
            wait(&mailbox.written, read)?;
        }
        buffer.iter_mut().zip(&mailbox.bytes).for_each(|(byte, place)| *byte = place.load(Relaxed));
        mailbox.read.store(read.wrapping_add(1), Release); // Gives the room back.
        wake(&mailbox.read);
        Ok(BYTES.min(buffer.len()))
    }
}

pub fn open(_: &Names) -> Result<Line> {
    let here = Arc::new(Mapped::new()?);
    let there = Arc::clone(&here);
    let sender = move || {
        let there = Arc::clone(&there);
        let send: Sending = Box::new(move |message| there.put(message).map(|number| there.publish(number)));
        Ok(send)
    };
    let receive = move |buffer: &mut [u8], patience| here.take(buffer, patience);
    let receiver = move || -> Result<Receiving, Refusal> { Ok(Box::new(receive)) };
    Ok(line(Carries::Bytes, sender, receiver))
}
