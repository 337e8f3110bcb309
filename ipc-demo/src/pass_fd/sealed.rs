//! Memory that is sealed against writing, and eight attempts to change it all the same.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result};
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::mapped::{Mapping, PAGE_BYTES, WORD_BYTES};

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

/// An anonymous file of so many bytes, each word of it with a value of its own; nothing is sealed yet.
pub fn filled(bytes: usize) -> Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = BufWriter::new(File::from(memfd_create(c"handed-over", flags).context("memfd_create")?));
    for index in 0..bytes / WORD_BYTES {
        file.write_all(&word(index).to_ne_bytes()).context("filling memory")?;
    }
    file.into_inner().map_err(|error| error.into_error()).context("filling memory")
}

/// The value of the word with that index; no two are alike, since the factor is odd.
pub fn word(index: usize) -> u64 {
    (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) // 2^64 divided by the golden ratio: every byte of it varies.
}

/// Seals it as the piece of that number.
pub fn seal(file: &File, piece: usize) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_ADD_SEALS(PIECES[piece].1)).map(drop)
}

/// What the child stores through a mapping where it can.
pub const MARK: u64 = 0x0BAD_F00D;
/// What it writes by a call before that: whoever reads the mark did not get it from there.
const WRITTEN: u64 = !MARK;

type Attempt = fn(&File) -> Result<()>;

/// In an order in which each can succeed without seals, and leaves the memory in its size and with the mark in front.
pub const ATTEMPTS: [(&str, Attempt); 8] = [
    ("write to the descriptor", write),
    ("reopen it through /proc and write", |file| {
        // A second opening has the rights of its own flags, not of the descriptor that was handed over.
        write(&OpenOptions::new().read(true).write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))?)
    }),
    ("make it longer", |file| resize(file, PAGE_BYTES as i64)),
    ("make it shorter", |file| resize(file, -(PAGE_BYTES as i64))),
    ("punch a hole", |file| {
        let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let last_page = file.metadata()?.len() as i64 - PAGE_BYTES as i64;
        Ok(fallocate(file, how, last_page, PAGE_BYTES as i64)?)
    }),
    ("map it for writing and write", |file| {
        Mapping::to_write(file.as_fd(), PAGE_BYTES)?.words()[0].store(MARK, Relaxed);
        Ok(())
    }),
    ("make a read-only mapping writable", |file| {
        let mapping = Mapping::to_read(file.as_fd(), PAGE_BYTES)?;
        mapping.make_writable()?;
        mapping.words()[0].store(MARK, Relaxed);
        Ok(())
    }),
    ("add a seal", |file| Ok(fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).map(drop)?)),
];

fn write(file: &File) -> Result<()> {
    Ok(file.write_all_at(&WRITTEN.to_ne_bytes(), 0)?)
}

fn resize(file: &File, by: i64) -> Result<()> {
    let before = file.metadata()?.len();
    file.set_len(before.saturating_add_signed(by))?;
    Ok(file.set_len(before)?) // Whoever comes next finds the size that it knows.
}
