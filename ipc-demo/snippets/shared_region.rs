//! A region of memory that several processes map and that nobody can shrink under them.
//!
//! Needs: nix 0.31 (fs, mman)
//! Runs on: Linux
//! Tests need: nix 0.31 (process)
//! Instead: memmap2 for files on a disk, iceoryx2 for messages without copies; this one is bare memory.
//!
//! The region is an anonymous file (memfd): it has no name that could be left behind, a forked child inherits the
//! mapping, and anybody else maps it through its descriptor. Reading mapped memory beyond the end of its file kills
//! the reader with SIGBUS, so the size is sealed before anyone maps it.
//!
//! What it does not do: lock anything, or notice that the other side has died: what that had written by halves stays
//! so. A region from a stranger may be larger than this machine's memory, which shows at the touch that is too much.
//! Above a control group's memory limit (SIGKILL) or RLIMIT_FSIZE (SIGXFSZ) a signal ends the process where you would
//! expect an error.
//!
//! Two mappings of one region show one memory; each side uses atomics, for the other may write at any moment:
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
//!
//! let ours = SharedRegion::new(4096)?;
//! let theirs = SharedRegion::from_fd(ours.fd().try_clone_to_owned()?)?;
//! assert_ne!(ours.as_ptr(), theirs.as_ptr());
//! // SAFETY: both regions are 4096 bytes, zeroed and aligned to a page, and outlive the references.
//! let (write, read) = unsafe { (&*ours.as_ptr().cast::<AtomicU64>(), &*theirs.as_ptr().cast::<AtomicU64>()) };
//! write.store(42, Relaxed);
//! assert_eq!(read.load(Relaxed), 42);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A child made by fork has it at the same address:
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::wait::{WaitStatus, waitpid};
//! use nix::unistd::{ForkResult, fork};
//! use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
//!
//! let region = SharedRegion::new(8)?;
//! // SAFETY: the region is 8 bytes, zeroed and aligned to a page, and outlives the reference.
//! let word = unsafe { &*region.as_ptr().cast::<AtomicU64>() };
//! // SAFETY: this process has one thread, and the child only stores a number and exits.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         word.store(42, Relaxed);
//!         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
//!         unsafe { nix::libc::_exit(0) }
//!     }
//!     ForkResult::Parent { child } => assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 0)),
//! }
//! assert_eq!(word.load(Relaxed), 42); // The child's end, seen by waitpid, orders its store before this load.
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::ffi::c_void;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Memory that every process with the descriptor, and every forked child, sees alike.
///
/// Unmapped when dropped; the memory itself lives until its last mapping and its last descriptor are gone.
#[derive(Debug)]
pub struct SharedRegion {
    memory: NonNull<c_void>,
    bytes: NonZeroUsize,
    file: File,
}

impl SharedRegion {
    /// A new region of that size: zeroed, aligned to a page, its memory reserved, its size sealed for ever.
    ///
    /// The descriptor closes on exec. Errors: `InvalidInput` for no bytes or more than a file can have; what
    /// memfd_create(2), fallocate(2) and mmap(2) say, ENOSPC and ENOMEM among them.
    pub fn new(bytes: usize) -> Result<SharedRegion> {
        let bytes = NonZeroUsize::new(bytes).ok_or_else(|| invalid("a shared region of no bytes"))?;
        let end = i64::try_from(bytes.get()).map_err(|_| invalid("a shared region larger than any file"))?;
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"shared-region", flags)?);
        // Reserved now: a machine out of memory says so here, and not by a signal at the first touch.
        while let Err(error) = fallocate(&file, FallocateFlags::empty(), 0, end) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
        map(file, bytes)
    }

    /// Maps a region that another process made and handed over.
    ///
    /// Errors: `InvalidInput` if the descriptor is no memfd, has no bytes, or its size is not sealed: whoever made it
    /// could shrink it and kill this process at its next access; otherwise what mmap(2) says.
    pub fn from_fd(fd: OwnedFd) -> Result<SharedRegion> {
        let seals = SealFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GET_SEALS)?); // EINVAL if it is no memfd.
        if !seals.contains(SEALS) {
            return Err(invalid("the size of the shared region is not sealed"));
        }
        let file = File::from(fd);
        let bytes = usize::try_from(file.metadata()?.len()).ok().and_then(NonZeroUsize::new);
        map(file, bytes.ok_or_else(|| invalid("a shared region of no bytes, or more than this process can map"))?)
    }

    /// Its first byte. Whatever is read or written there may be read or written by another process at the same
    /// moment: use atomics, or a lock that lies in the region too.
    pub fn as_ptr(&self) -> *mut u8 {
        self.memory.as_ptr().cast()
    }

    /// Its size in bytes.
    #[allow(clippy::len_without_is_empty)] // A region of no bytes is refused.
    pub fn len(&self) -> usize {
        self.bytes.get()
    }

    /// The descriptor to hand to another process, for `from_fd` there.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

// SAFETY: the mapping belongs to the whole process, and any thread may unmap it.
unsafe impl Send for SharedRegion {}
// SAFETY: its methods only hand out its address, size and descriptor; they neither read nor write the memory.
unsafe impl Sync for SharedRegion {}

impl Drop for SharedRegion {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap gave, unmapped once; whoever uses the pointer keeps the region until then.
        let _ = unsafe { munmap(self.memory, self.bytes.get()) }; // It fails only for arguments that mmap never gives.
    }
}

const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

fn map(file: File, bytes: NonZeroUsize) -> Result<SharedRegion> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel chooses a free address, so no memory in use is replaced.
    let memory = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, &file, 0) }?;
    Ok(SharedRegion { memory, bytes, file })
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(region: &SharedRegion) -> &[u8] {
        // SAFETY: the region has `len` bytes and lives as long as the slice; no test writes while it reads.
        unsafe { std::slice::from_raw_parts(region.as_ptr(), region.len()) }
    }

    #[test]
    fn a_new_region_is_zeroed_and_page_aligned() {
        let region = SharedRegion::new(10_000).unwrap();
        assert_eq!(bytes_of(&region), [0; 10_000]);
        assert_eq!(region.as_ptr() as usize % 4096, 0);
    }

    #[test]
    fn nobody_can_change_its_size() {
        let region = SharedRegion::new(4096).unwrap();
        let file = File::from(region.fd().try_clone_to_owned().unwrap());
        assert_eq!(file.set_len(0).unwrap_err().raw_os_error(), Some(Errno::EPERM as i32));
        assert_eq!(file.set_len(8192).unwrap_err().raw_os_error(), Some(Errno::EPERM as i32));
        assert_eq!(region.len(), 4096);
    }

    #[test]
    fn a_region_whose_size_is_not_sealed_is_refused() {
        let sealable = memfd_create(c"unsealed", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
        File::from(sealable.try_clone().unwrap()).set_len(4096).unwrap();
        let shrinking_alone = FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK);
        fcntl(&sealable, shrinking_alone).unwrap();
        assert_eq!(SharedRegion::from_fd(sealable).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn what_is_no_memfd_is_refused() {
        let file = File::open("/dev/null").unwrap();
        assert_eq!(SharedRegion::from_fd(file.into()).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn no_bytes_and_too_many_are_refused() {
        assert_eq!(SharedRegion::new(0).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(SharedRegion::new(usize::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_second_mapping_outlives_the_first() {
        let first = SharedRegion::new(64).unwrap();
        let second = SharedRegion::from_fd(first.fd().try_clone_to_owned().unwrap()).unwrap();
        // SAFETY: nobody else reads or writes the region in this moment.
        unsafe { first.as_ptr().write(7) };
        drop(first);
        assert_eq!(bytes_of(&second)[0], 7);
    }
}
