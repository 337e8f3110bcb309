//! Shared memory as words, and a file as this process maps it.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mprotect, munmap};

pub const WORD_BYTES: usize = size_of::<AtomicU64>();
pub const PAGE_BYTES: usize = 4096; // The smallest page of any machine.

/// All words of a region.
pub fn words_of(region: &SharedRegion) -> &[AtomicU64] {
    // SAFETY: the region is that long, zeroed, aligned to a page and lives as long; any bytes are atomic words.
    unsafe { std::slice::from_raw_parts(region.as_ptr().cast(), region.len() / WORD_BYTES) }
}

/// The first bytes of a file, at an address of the kernel's choice; unmapped when dropped.
pub struct Mapping {
    start: NonNull<c_void>,
    bytes: NonZeroUsize,
}

impl Mapping {
    /// Shared with whoever maps the same file.
    pub fn to_read(file: BorrowedFd<'_>, bytes: usize) -> nix::Result<Mapping> {
        Mapping::new(file, bytes, ProtFlags::PROT_READ, MapFlags::MAP_SHARED)
    }

    /// The same, for writing too.
    pub fn to_write(file: BorrowedFd<'_>, bytes: usize) -> nix::Result<Mapping> {
        Mapping::new(file, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED)
    }

    /// What this process writes to a page stays its own.
    pub fn private(file: BorrowedFd<'_>, bytes: usize) -> nix::Result<Mapping> {
        Mapping::new(file, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE)
    }

    fn new(file: BorrowedFd<'_>, bytes: usize, access: ProtFlags, how: MapFlags) -> nix::Result<Mapping> {
        let bytes = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        // SAFETY: the kernel chooses a free address, so no memory in use is replaced.
        let start = unsafe { mmap(None, bytes, access, how, file, 0) }?;
        Ok(Mapping { start, bytes })
    }

    pub fn make_writable(&self) -> nix::Result<()> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: this very mapping, with all its bytes; more access breaks nobody's assumption.
        unsafe { mprotect(self.start, self.bytes.get(), access) }
    }

    /// Atomic, for another process may write at any moment. Storing needs a writable mapping.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped as long as `self` lives, aligned to a page, of a file that nobody shrinks meanwhile; any bytes
        // are atomic words.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes.get() / WORD_BYTES) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap gave, unmapped once; nobody borrows from it any more.
        let _ = unsafe { munmap(self.start, self.bytes.get()) }; // It fails only for arguments that mmap never gives.
    }
}
