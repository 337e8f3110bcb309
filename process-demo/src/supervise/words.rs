//! What do a supervisor and its workers see together? Words in memory that a fork shares.

use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Zero at first.
pub struct Words {
    start: NonNull<AtomicU64>,
    count: NonZeroUsize,
}

impl Words {
    pub fn new(count: usize) -> Result<Words> {
        let count = NonZeroUsize::new(count).context("a table of nothing")?;
        let bytes = count.checked_mul(WORD_BYTES).context("a table larger than memory")?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) };
        Ok(Words { start: start.context("mapping a table of tasks")?.cast(), count })
    }
}

const WORD_BYTES: NonZeroUsize = NonZeroUsize::new(size_of::<AtomicU64>()).unwrap();

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped as long as `self` lives, zeroed at first, and used by atomics only.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.count.get()) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the mapping any more, and nobody else unmaps it in this process.
        let _ = unsafe { munmap(self.start.cast(), self.count.get() * WORD_BYTES.get()) };
    }
}
