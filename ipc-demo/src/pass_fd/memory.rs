//! A piece of memory with a descriptor: filled, sealed, and as this process sees it.

use std::ffi::c_void;
use std::fs::File;
use std::io::Write;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mprotect, munmap};

const SIZE: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// The pieces, by what they are sealed against: nothing; resizing, further seals and all writing; the same, but for
/// writing by mappings that exist already, the giver's.
pub const PIECES: [(&str, SealFlag); 3] = [
    ("no seal", SealFlag::empty()),
    ("F_SEAL_WRITE", SIZE.union(SealFlag::F_SEAL_WRITE)),
    ("F_SEAL_FUTURE_WRITE", SIZE.union(SealFlag::F_SEAL_FUTURE_WRITE)),
];
pub const UNSEALED: usize = 0;
pub const WRITE: usize = 1;
pub const FUTURE_WRITE: usize = 2;

pub const PAGE_BYTES: usize = 4096; // The smallest page of any machine.

/// An anonymous file of so many bytes, each word of it with a value of its own; nothing is sealed yet.
pub fn filled(bytes: usize) -> Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"handed-over", flags).context("memfd_create")?);
    let words_of_a_page = PAGE_BYTES / size_of::<u64>();
    let mut page = Vec::with_capacity(PAGE_BYTES);
    for first in (0..bytes / size_of::<u64>()).step_by(words_of_a_page) {
        page.clear();
        (first..first + words_of_a_page).for_each(|index| page.extend_from_slice(&word(index).to_ne_bytes()));
        file.write_all(&page).context("filling memory")?;
    }
    Ok(file)
}

/// The value of the word with that index; no two are alike, since the factor is odd.
pub fn word(index: usize) -> u64 {
    (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) // 2^64 divided by the golden ratio: every byte of it varies.
}

/// Seals it as the piece of that number.
pub fn seal(file: &File, piece: usize) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_ADD_SEALS(PIECES[piece].1)).map(drop)
}

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
