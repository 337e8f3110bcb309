//! Where is the memory that a fork shares, page by page?

use std::io;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::c_void;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use nix::unistd::{SysconfVar, sysconf};

/// Whole pages of private memory, as words; never huge pages, whatever the machine's default is.
pub struct Block {
    start: NonNull<c_void>,
    bytes: NonZeroUsize,
}

// SAFETY: the mapping is its own alone, and no call on it depends on the thread that makes it.
unsafe impl Send for Block {}

impl Block {
    /// Not touched yet: no page of it is there. All words are zero.
    pub fn untouched(bytes: usize) -> Result<Block> {
        let bytes = NonZeroUsize::new(bytes.next_multiple_of(page_bytes())).context("a block of nothing")?;
        let (access, kind) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, bytes, access, kind) }.map_err(io::Error::from).context("mapping")?;
        let block = Block { start, bytes };
        // SAFETY: the advice changes how this very mapping is backed, not what it contains.
        match unsafe { madvise(start, bytes.get(), MmapAdvise::MADV_NOHUGEPAGE) } {
            Ok(()) | Err(Errno::EINVAL) => Ok(block), // A kernel without huge pages does not know the advice.
            Err(error) => Err(error).context("doing without huge pages"),
        }
    }

    /// Each word written to: to its own number, from one, so that no two pages are alike.
    pub fn filled(bytes: usize) -> Result<Block> {
        let mut block = Block::untouched(bytes)?;
        for (number, word) in (1..).zip(block.iter_mut()) {
            *word = number;
        }
        Ok(block)
    }

    pub fn pages(&self) -> usize {
        self.bytes.get() / page_bytes()
    }

    /// Adds one to the first word of each of the first so many pages, or of all that there are; of how many?
    pub fn write_pages(&mut self, most: usize) -> usize {
        let pages = most.min(self.pages());
        for word in self.iter_mut().step_by(words_in_a_page()).take(pages) {
            *word += 1;
        }
        pages
    }

    /// The sum of the first words of all pages.
    pub fn read_pages(&self) -> u64 {
        self.iter().step_by(words_in_a_page()).sum()
    }

    /// Its content as bytes, in this machine's order.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: it is mapped and initialized (the kernel gives zeros) as long as `self` lives; bytes need no alignment.
        unsafe { slice::from_raw_parts(self.start.cast().as_ptr(), self.bytes.get()) }
    }
}

impl Deref for Block {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        // SAFETY: it is mapped and initialized as long as `self` lives, and a page's start is aligned for words.
        unsafe { slice::from_raw_parts(self.start.cast().as_ptr(), self.bytes.get() / size_of::<u64>()) }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above; and `self` is borrowed for as long as the words are.
        unsafe { slice::from_raw_parts_mut(self.start.cast().as_ptr(), self.bytes.get() / size_of::<u64>()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the block any more, and nobody else unmaps it.
        let _ = unsafe { munmap(self.start, self.bytes.get()) };
    }
}

pub fn page_bytes() -> usize {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |bytes| bytes as usize)
}

fn words_in_a_page() -> usize {
    page_bytes() / size_of::<u64>()
}
