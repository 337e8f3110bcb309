//! Memory that a forked child shares with its maker: how is the text there for both?

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use anyhow::{Context, Result};
use nix::libc::c_void;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A shared mapping; whoever is forked while it exists has it too.
pub struct Region {
    start: NonNull<c_void>,
    bytes: NonZeroUsize,
}

impl Region {
    /// # Panics
    /// Of no bytes.
    pub fn holding(text: &[u8]) -> Result<Region> {
        let bytes = NonZeroUsize::new(text.len()).expect("a text is not empty");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }.context("a shared mapping")?;
        let mut region = Region { start, bytes };
        region.fill(text);
        Ok(region)
    }

    /// Copies the text in, in place of what was there; of the same length.
    ///
    /// No other process may be reading: the workers read only between a request and their answer.
    pub fn fill(&mut self, text: &[u8]) {
        assert_eq!(text.len(), self.bytes.get());
        // SAFETY: both are so long and do not overlap; the workers sleep in a read until they are sent a piece.
        unsafe { self.start.cast::<u8>().as_ptr().copy_from_nonoverlapping(text.as_ptr(), text.len()) }
    }

    /// What stands there.
    pub fn text(&self) -> &[u8] {
        // SAFETY: it was filled at once, is mapped as long as `self` lives, and is only written by `fill`, which has it
        // alone: in this process by its borrow, in others because they are asked nothing meanwhile.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>().as_ptr(), self.bytes.get()) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from it any more, and nobody else unmaps it here.
        let _ = unsafe { munmap(self.start, self.bytes.get()) };
    }
}
