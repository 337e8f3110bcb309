//! A block of memory that is really there: mapped, and every page of it written to.
//!
//! Needs: nix 0.31 (mman)
//! Runs on: Linux
//! Instead: a Vec that is written to, where page sizes do not matter; memmap2 (MmapMut::lock) against swap.
//!
//! Memory that was only asked for costs almost nothing, in a fork too. This block has its own page everywhere, no two
//! alike: ordinary pages, whatever the machine's default is, or huge ones if they are asked for.
//!
//! What it does not do: give out its bytes, which are there to be measured, or keep them from being swapped out. A
//! forked child shares its pages, so they are not there twice. Above a control group's memory limit a signal (SIGKILL)
//! ends the process where you would expect an error.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! let block = Resident::new(std::num::NonZeroUsize::new(1 << 20).unwrap()).unwrap();
//! assert_eq!(block.bytes(), 1 << 20);
//! assert!(block.is_intact());
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::libc::c_void;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// Private anonymous memory with all its pages in place; given back when dropped.
#[derive(Debug)]
pub struct Resident {
    start: NonNull<c_void>,
    bytes: NonZeroUsize,
}

impl Resident {
    /// Maps so many bytes and writes to each page.
    ///
    /// # Errors
    /// ENOMEM when the system or a limit does not allow so much. Where the system grants more than it has, filling it
    /// may instead get a process killed: look at `MemAvailable` in /proc/meminfo first.
    pub fn new(bytes: NonZeroUsize) -> io::Result<Resident> {
        Resident::advised(bytes, MmapAdvise::MADV_NOHUGEPAGE)
    }

    /// The same, but in huge pages as far as the system gives them: two processes that share it then share fewer, larger
    /// pages, and fewer page tables are copied by a fork.
    ///
    /// # Errors
    /// As for `new`. That the system gives none is no error: `AnonHugePages` in /proc/self/smaps_rollup tells.
    pub fn in_huge_pages(bytes: NonZeroUsize) -> io::Result<Resident> {
        Resident::advised(bytes, MmapAdvise::MADV_HUGEPAGE)
    }

    fn advised(bytes: NonZeroUsize, advice: MmapAdvise) -> io::Result<Resident> {
        let (access, kind) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, bytes, access, kind) }?;
        let block = Resident { start, bytes };
        // SAFETY: the advice changes how this very mapping is backed, not what it contains.
        match unsafe { madvise(start, bytes.get(), advice) } {
            Ok(()) | Err(Errno::EINVAL) => {} // A kernel without huge pages does not know the advice.
            Err(error) => return Err(error.into()),
        }
        for (number, word) in block.words() {
            // SAFETY: `words` stays inside the mapping, which nobody else knows yet.
            unsafe { word.write_volatile(number) }
        }
        Ok(block)
    }

    /// How many were asked for.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Reads every page again: does it still hold what was written?
    pub fn is_intact(&self) -> bool {
        // SAFETY: `words` stays inside the mapping, and nobody writes to it after `new`.
        self.words().all(|(number, word)| unsafe { word.read_volatile() } == number)
    }

    /// The first word of each page, with a number of its own, from 1.
    fn words(&self) -> impl Iterator<Item = (u64, *mut u64)> {
        let start = self.start.cast::<u8>().as_ptr();
        // The kernel rounds the length up to whole pages, so a whole word follows each of these starts.
        (1..).zip((0..self.bytes.get()).step_by(PAGE_BYTES).map(move |offset| start.wrapping_add(offset).cast()))
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        // SAFETY: no reference into the mapping was ever handed out.
        let _ = unsafe { munmap(self.start, self.bytes.get()) };
    }
}

const PAGE_BYTES: usize = 4096; // The smallest page of any machine: where they are larger, each is written to several times.

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_there_and_holds_what_was_written() {
        for bytes in [1, PAGE_BYTES, PAGE_BYTES + 1, 40 * PAGE_BYTES] {
            let block = Resident::new(NonZeroUsize::new(bytes).unwrap()).unwrap();
            assert_eq!(block.words().count(), bytes.div_ceil(PAGE_BYTES));
            assert!(block.is_intact());
            assert!(Resident::in_huge_pages(NonZeroUsize::new(bytes).unwrap()).unwrap().is_intact());
        }
    }

    #[test]
    fn a_changed_page_is_noticed() {
        let block = Resident::new(NonZeroUsize::new(3 * PAGE_BYTES).unwrap()).unwrap();
        let (_, last) = block.words().last().unwrap();
        // SAFETY: it is a word of the mapping, and this is the only thread that knows it.
        unsafe { last.write_volatile(0) }
        assert!(!block.is_intact());
    }
}
