//! Memory of each kind, and one word in it that two parties change.

use std::ffi::c_void;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use process_demo::page::Page;

/// Some memory with a word at its start.
pub enum Memory {
    /// A `let` on the heap, as any program has it.
    Variable(Box<AtomicU64>),
    Page(Page),
    Region(SharedRegion),
    File(MappedFile),
    /// A view of one of the above.
    View(Mapping),
}

impl Memory {
    pub fn word(&self) -> &AtomicU64 {
        match self {
            Memory::Variable(word) => word,
            Memory::Page(page) => page.word(),
            Memory::Region(region) => &words_of(region)[0],
            Memory::File(file) => &file.mapping.words()[0],
            Memory::View(mapping) => &mapping.words()[0],
        }
    }

    /// The same memory at another address: the first one is still taken.
    pub fn mapped_again(&self, how: MapFlags) -> Result<Memory> {
        let mapping = match self {
            Memory::Region(region) => Mapping::of(region.fd(), region.len(), how)?,
            Memory::File(file) => Mapping::of(open(&file.path)?, file.mapping.bytes.get(), how)?,
            Memory::Variable(_) | Memory::Page(_) | Memory::View(_) => anyhow::bail!("it has no descriptor to map"),
        };
        Ok(Memory::View(mapping))
    }
}

/// A file with a path, and where this process has it mapped; removed when dropped.
pub struct MappedFile {
    path: PathBuf,
    mapping: Mapping,
}

impl MappedFile {
    /// A new file of one word.
    pub fn new(path: &Path) -> Result<MappedFile> {
        let file = File::options().read(true).write(true).create_new(true).open(path).context("a file")?;
        let path = path.to_owned();
        let made = file.set_len(WORD_BYTES as u64).context("a file of eight bytes");
        match made.and_then(|()| Mapping::of(&file, WORD_BYTES, MapFlags::MAP_SHARED)) {
            Ok(mapping) => Ok(MappedFile { path, mapping }),
            Err(error) => {
                fs::remove_file(path)?;
                Err(error)
            }
        }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // What is still there, the runner counts as left behind.
    }
}

pub const WORD_BYTES: usize = size_of::<AtomicU64>();

fn open(path: &Path) -> Result<File> {
    File::options().read(true).write(true).open(path).context("opening the file")
}

/// All words of a region.
pub fn words_of(region: &SharedRegion) -> &[AtomicU64] {
    // SAFETY: the region is that long, zeroed, aligned to a page and lives as long; any bytes are atomic words.
    unsafe { std::slice::from_raw_parts(region.as_ptr().cast(), region.len() / WORD_BYTES) }
}

/// A file's memory as this process sees it; unmapped when dropped.
pub struct Mapping {
    start: NonNull<c_void>,
    bytes: NonZeroUsize,
}

impl Mapping {
    pub fn of(file: impl AsFd, bytes: usize, how: MapFlags) -> Result<Mapping> {
        let bytes = NonZeroUsize::new(bytes).context("a mapping of no bytes")?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses a free address, so no memory in use is replaced.
        match unsafe { mmap(None, bytes, access, how, file, 0) } {
            Err(Errno::ENODEV) => Err(Errno::EOPNOTSUPP).context("this file system maps no files"),
            start => Ok(Mapping { start: start.context("mapping a file")?, bytes }),
        }
    }

    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped as long as `self` lives, aligned to a page, of a file that nobody shrinks.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes.get() / WORD_BYTES) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap gave, unmapped once; nobody borrows from it any more.
        let _ = unsafe { munmap(self.start, self.bytes.get()) }; // It fails only for arguments that mmap never gives.
    }
}
