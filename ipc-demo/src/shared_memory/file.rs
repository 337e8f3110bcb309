//! A file that two processes have mapped: what does a third one read that never mapped it?

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result, ensure};
use ipc_demo::shared_region::SharedRegion;
use nix::sys::mman::MapFlags;
use process_demo::child::{Exit, fork};

use super::memory::{MappedFile, Memory, WORD_BYTES, words_of};

/// What was stored through the second process's mapping, and what the third one's read(2) gave.
pub struct Read {
    pub stored: u64,
    pub read: u64,
}

pub fn store_and_read(path: &Path) -> Result<Read> {
    const STORED: u64 = 0x0123_4567_89AB_CDEF;
    let ours = Memory::File(MappedFile::new(path)?);
    let report = SharedRegion::new(WORD_BYTES)?;
    let store = || -> u8 {
        let Ok(theirs) = ours.mapped_again(MapFlags::MAP_SHARED) else { return 1 };
        theirs.word().store(STORED, Relaxed);
        0
    };
    let read = || -> u8 {
        let Ok(Ok(bytes)) = fs::read(path).map(<[u8; WORD_BYTES]>::try_from) else { return 1 };
        words_of(&report)[0].store(u64::from_ne_bytes(bytes), Relaxed);
        0
    };
    for work in [&store as &dyn Fn() -> u8, &read] {
        // SAFETY: what stays shared are plain words.
        let exit = unsafe { fork(work) }.context("starting a process")?.wait()?; // One after the other.
        ensure!(exit == Exit::Code(0), "a process could not use the file: {exit}");
    }
    Ok(Read { stored: ours.word().load(Relaxed), read: words_of(&report)[0].load(Relaxed) })
}
