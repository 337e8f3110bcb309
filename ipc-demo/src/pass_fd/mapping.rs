//! A file's memory as this process sees it.

use std::ffi::c_void;
use std::fs::File;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mprotect, munmap};

/// Shared with whoever maps the same file; unmapped when dropped.
pub struct Mapping {
    start: NonNull<c_void>,
    bytes: NonZeroUsize,
}

impl Mapping {
    pub fn to_read(file: &File, bytes: usize) -> nix::Result<Mapping> {
        Mapping::new(file, bytes, ProtFlags::PROT_READ)
    }

    pub fn to_write(file: &File, bytes: usize) -> nix::Result<Mapping> {
        Mapping::new(file, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }

    pub fn make_writable(&self) -> nix::Result<()> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: this very mapping, with all its bytes; more access breaks nobody's assumption.
        unsafe { mprotect(self.start, self.bytes.get(), access) }
    }

    /// Atomic, for the other process may write at any moment. Storing needs a writable mapping.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped as long as `self` lives, aligned to a page, of a file that nobody shrinks meanwhile.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes.get() / size_of::<AtomicU64>()) }
    }

    pub fn first(&self) -> u64 {
        self.words()[0].load(Relaxed) // Messages through the socket order it after the other side's store.
    }

    fn new(file: &File, bytes: usize, access: ProtFlags) -> nix::Result<Mapping> {
        let bytes = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        // SAFETY: the kernel chooses a free address, so no memory in use is replaced.
        let start = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Mapping { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap gave, unmapped once; nobody borrows from it any more.
        let _ = unsafe { munmap(self.start, self.bytes.get()) }; // It fails only for arguments that mmap never gives.
    }
}
