//! A writer crashes in the middle of a record: what does the reader find, in plain memory and in a ring?

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipc_demo::ring::{Error, Ring};
use ipc_demo::shared_region::SharedRegion;
use nix::sys::mman::{ProtFlags, mprotect};
use nix::unistd::{SysconfVar, sysconf};
use process_demo::child::{Exit, fork};

use super::memory::{WORD_BYTES, words_of};
use super::pointers::CRASHED;

/// The words of a record once its writer had crashed.
pub struct Plain {
    pub new: usize,
    pub old: usize,
}

/// What was in a ring once its sender had crashed, and what its receiver was given.
pub struct InRing {
    /// Of the message in whose middle the sender crashed: words that stand in the memory, and all of them.
    pub written: usize,
    pub words: usize,
    pub whole: u64,
    pub then: Result<usize, Error>,
}

const OLD: u64 = 0x1111_1111_1111_1111;
const NEW: u64 = 0x2222_2222_2222_2222;

/// A record of two pages is written over an old one, with its second page made unwritable for the writer.
pub fn record() -> Result<Plain> {
    let page = page_bytes()?;
    let region = SharedRegion::new(2 * page)?;
    let words = words_of(&region);
    words.iter().for_each(|word| word.store(OLD, Relaxed));
    let write = || {
        if make_unwritable(region.fd(), 1).is_err() {
            return 1;
        }
        words.iter().for_each(|word| word.store(NEW, Relaxed));
        0
    };
    crash_in(write)?;
    let count = |value: u64| words.iter().filter(|word| word.load(Relaxed) == value).count();
    Ok(Plain { new: count(NEW), old: count(OLD) })
}

/// The same death in a ring, whose last pages the second message comes to lie in.
pub fn in_ring() -> Result<InRing> {
    let bytes = 2 * page_bytes()?;
    let ring = Ring::new(2, bytes)?;
    let mut receiver = ring.receiver()?;
    let message = |value: u64| value.to_ne_bytes().repeat(bytes / WORD_BYTES);
    let send = || {
        let Ok(mut sender) = ring.sender() else { return 1 };
        let whole = sender.try_send(&message(OLD)).is_ok() && make_unwritable(ring.fd(), 2).is_ok();
        if !whole {
            return 1;
        }
        u8::from(sender.try_send(&message(NEW)).is_err())
    };
    crash_in(send)?;
    let memory = SharedRegion::from_fd(ring.fd().try_clone_to_owned()?)?;
    let written = words_of(&memory).iter().filter(|word| word.load(Relaxed) == NEW).count();
    let (mut whole, mut buffer) = (0, vec![0; bytes]);
    let then = loop {
        match receiver.receive_timeout(&mut buffer, Duration::ZERO) {
            Ok(length) if buffer[..length] == message(OLD) => whole += 1,
            end => break end,
        }
    };
    Ok(InRing { written, words: bytes / WORD_BYTES, whole, then })
}

fn page_bytes() -> Result<usize> {
    let bytes = sysconf(SysconfVar::PAGE_SIZE)?.context("the size of a page")?;
    Ok(usize::try_from(bytes)?)
}

/// Runs the work in a child that must be ended by its first store to a page that it cannot write.
fn crash_in(work: impl FnOnce() -> u8) -> Result<()> {
    // SAFETY: what stays shared are plain words, and a ring of which the child claims a role of its own.
    let exit: Exit = unsafe { fork(work) }.context("starting a process")?.wait()?;
    ensure!(exit == CRASHED, "the writer was to crash in the middle: {exit}");
    Ok(())
}

/// Takes from this process the permission to write the last pages of the file's mapping.
fn make_unwritable(file: BorrowedFd<'_>, pages: usize) -> Result<()> {
    let inode = File::from(file.as_fd().try_clone_to_owned()?).metadata()?.ino().to_string();
    let maps = fs::read_to_string("/proc/self/maps")?;
    let line = maps.lines().find(|line| line.split_whitespace().nth(4) == Some(&inode)).context("it is not mapped")?;
    let end = line.split(['-', ' ']).nth(1).context("a mapping without an end")?;
    let bytes = pages * page_bytes()?;
    let from = NonZeroUsize::new(usize::from_str_radix(end, 16)? - bytes).context("a mapping at zero")?;
    let from = NonNull::new(ptr::with_exposed_provenance_mut(from.get())).context("a mapping at zero")?;
    // SAFETY: the last pages of this mapping; whoever writes there afterwards is ended, as is to be seen.
    Ok(unsafe { mprotect(from, bytes, ProtFlags::PROT_READ) }?)
}
