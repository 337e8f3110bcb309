//! Shared memory for one message after the other, and a count of them; it waits for nobody.

use std::io;
use std::ptr;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use ipc_demo::shared_region::SharedRegion;
use nix::libc;

use super::message::BYTES;

/// As many messages may be on their way: a series is no longer, and the next begins when all of it was received.
pub const SLOTS: usize = 4096;

const WORD_BYTES: usize = 8;
const WORDS: usize = BYTES / WORD_BYTES;

/// The count in front, on cache lines of its own, and the slots behind it.
#[repr(C, align(128))]
struct Layout {
    count: AtomicU32,
    slots: [Slot; SLOTS],
}

#[repr(C, align(128))]
struct Slot([AtomicU64; WORDS]);

/// One sender puts messages in, one receiver takes them out; how it learns of them is not decided here.
pub struct Slots {
    region: SharedRegion,
}

impl Slots {
    pub fn new() -> io::Result<Slots> {
        Ok(Slots { region: SharedRegion::new(size_of::<Layout>())? })
    }

    /// Puts the message with that number in, and counts it.
    pub fn put(&self, number: u32, message: &[u8; BYTES]) {
        let slot = &self.layout().slots[number as usize % SLOTS];
        for (place, word) in slot.0.iter().zip(message.chunks_exact(WORD_BYTES)) {
            let word = word.try_into().map_or(0, u64::from_ne_bytes);
            place.store(word, Relaxed);
        }
        self.layout().count.store(number.wrapping_add(1), Release); // Publishes the slot to who reads the count.
    }

    /// The message with that number, if it was put in.
    pub fn get(&self, number: u32) -> Option<[u8; BYTES]> {
        if self.layout().count.load(Acquire) == number {
            return None;
        }
        let slot = &self.layout().slots[number as usize % SLOTS];
        let mut message = [0; BYTES];
        for (word, place) in message.chunks_exact_mut(WORD_BYTES).zip(&slot.0) {
            word.copy_from_slice(&place.load(Relaxed).to_ne_bytes());
        }
        Some(message)
    }

    /// Sleeps until more than so many were put in, or for no reason.
    pub fn sleep_while(&self, count: u32) {
        let for_ever = ptr::null::<libc::timespec>();
        let word = self.layout().count.as_ptr();
        // nix has no futex. Without FUTEX_PRIVATE_FLAG the kernel finds the waiters of other processes too.
        // SAFETY: the word outlives the call, and the kernel only reads it.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, count, for_ever) };
    }

    /// Wakes who sleeps in `sleep_while`, if anybody does.
    pub fn wake(&self) {
        let unused = ptr::null::<libc::timespec>();
        // nix has no futex.
        // SAFETY: a wake-up reads and writes none of our memory.
        unsafe { libc::syscall(libc::SYS_futex, self.layout().count.as_ptr(), libc::FUTEX_WAKE, 1_u32, unused) };
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the region is as large as this, zeroed, aligned to a page, and lives as long as the reference;
        // atomics may have any value, and be changed by others.
        unsafe { &*self.region.as_ptr().cast::<Layout>() }
    }
}
