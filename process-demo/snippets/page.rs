//! One page of memory that a fork copies, or that parent and child go on sharing: one flag decides.
//!
//! Needs: nix 0.31 (mman)
//! Tests need: nix 0.31 (mman, process)
//! Runs on: Linux
//! Instead: nix::sys::mman::mmap_anonymous itself for more than one word; this one shows both kinds.
//!
//! What it does not do: hold more than one word, or reach a process that is no relative: a fork alone hands it on. It
//! locks nothing, and it does not notice that the other side has died.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::sync::atomic::Ordering::Relaxed;
//! use nix::{libc, sys::wait::waitpid, unistd::{ForkResult, fork}};
//!
//! let copied = Page::copied_by_fork().unwrap();
//! let shared = Page::shared_by_fork().unwrap();
//! // SAFETY: the child only stores and exits; both are async-signal-safe.
//! match unsafe { fork() }.unwrap() {
//!     ForkResult::Child => {
//!         copied.word().store(2, Relaxed);
//!         shared.word().store(2, Relaxed);
//!         // SAFETY: `_exit` ends the child without running anything of it.
//!         unsafe { libc::_exit(0) }
//!     }
//!     ForkResult::Parent { child } => _ = waitpid(child, None).unwrap(),
//! }
//! assert_eq!(copied.word().load(Relaxed), 0); // The child changed a copy.
//! assert_eq!(shared.word().load(Relaxed), 2);
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::libc::c_void;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A page of memory, zero at first, with one word in use; unmapped when dropped.
#[derive(Debug)]
pub struct Page {
    start: NonNull<c_void>,
}

impl Page {
    /// As all ordinary memory: after a fork each side has a page of its own at the same address (`MAP_PRIVATE`).
    ///
    /// # Errors
    /// ENOMEM, as `mmap(2)` says.
    pub fn copied_by_fork() -> io::Result<Page> {
        Page::map(MapFlags::MAP_PRIVATE)
    }

    /// The exception: after a fork both sides have the same page, at the same address (`MAP_SHARED`).
    ///
    /// # Errors
    /// ENOMEM, as `mmap(2)` says.
    pub fn shared_by_fork() -> io::Result<Page> {
        Page::map(MapFlags::MAP_SHARED)
    }

    /// Its first word.
    pub fn word(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped as long as `self` lives, zeroed at first, aligned, and used by atomics only.
        unsafe { self.start.cast().as_ref() }
    }

    /// Where it lies in this process.
    pub fn address(&self) -> usize {
        self.start.addr().get()
    }

    fn map(flags: MapFlags) -> io::Result<Page> {
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, BYTES, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
        Ok(Page { start })
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the page any more, and nobody else unmaps it.
        let _ = unsafe { munmap(self.start, BYTES.get()) };
    }
}

const BYTES: NonZeroUsize = NonZeroUsize::new(size_of::<AtomicU64>()).unwrap(); // The kernel rounds up to a whole page.

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn a_page_is_zero_at_first_and_keeps_what_is_stored() {
        for page in [Page::copied_by_fork().unwrap(), Page::shared_by_fork().unwrap()] {
            assert_eq!(page.word().swap(u64::MAX, Relaxed), 0);
            assert_eq!(page.word().load(Relaxed), u64::MAX);
        }
    }

    #[test]
    fn two_pages_lie_apart() {
        let (one, other) = (Page::copied_by_fork().unwrap(), Page::copied_by_fork().unwrap());
        assert!(one.address().abs_diff(other.address()) >= 4096); // The smallest page of any machine.
    }
}
