//! By how many means can one try to change memory whose descriptor one has?

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};

use super::memory::{Mapping, PAGE_BYTES};

/// A means to change a piece of memory of that many bytes.
type Attempt = fn(&File, u64) -> nix::Result<()>;

/// What the child stores through a mapping where it can.
pub const MARK: u64 = 0x0BAD_F00D;
/// What it writes by a call before that: whoever reads the mark did not get it from there.
const WRITTEN: u64 = !MARK;

/// In an order in which each can succeed without seals, and leaves the memory in its size and with the mark in front.
pub const ATTEMPTS: [(&str, Attempt); 8] = [
    ("write to the descriptor", |file, _| write(file)),
    ("reopen it through /proc and write", |file, _| write(&reopen(file)?)),
    ("make it longer", |file, bytes| resize(file, bytes + PAGE_BYTES as u64)),
    ("make it shorter", |file, bytes| resize(file, bytes - PAGE_BYTES as u64)),
    ("punch a hole", punch),
    ("map it for writing and write", |file, _| store(&Mapping::to_write(file, PAGE_BYTES)?)),
    ("make a read-only mapping writable", |file, _| turn(&Mapping::to_read(file, PAGE_BYTES)?)),
    ("add a seal", |file, _| fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).map(drop)),
];

fn write(file: &File) -> nix::Result<()> {
    file.write_all_at(&WRITTEN.to_ne_bytes(), 0).map_err(errno)
}

/// A second opening has the rights of its own flags, not of the descriptor that was handed over.
fn reopen(file: &File) -> nix::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().read(true).write(true).open(path).map_err(errno)
}

fn resize(file: &File, bytes: u64) -> nix::Result<()> {
    let before = file.metadata().map_err(errno)?.len();
    file.set_len(bytes).map_err(errno)?;
    file.set_len(before).map_err(errno) // Whoever comes next finds the size that it knows.
}

fn punch(file: &File, bytes: u64) -> nix::Result<()> {
    let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let last_page = bytes as i64 - PAGE_BYTES as i64;
    fallocate(file, how, last_page, PAGE_BYTES as i64)
}

fn store(mapping: &Mapping) -> nix::Result<()> {
    mapping.words()[0].store(MARK, Relaxed);
    Ok(())
}

fn turn(mapping: &Mapping) -> nix::Result<()> {
    mapping.make_writable()?;
    store(mapping)
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
