//! What is one task? The checksum of a piece of this program's own file.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;

use anyhow::{Context, Result, ensure};

/// The file's first bytes, read before any fork: every worker has a copy of them, which nobody writes.
pub struct Pieces {
    bytes: Vec<u8>,
}

impl Pieces {
    pub fn read() -> Result<Pieces> {
        let mut bytes = Vec::new();
        let program = File::open("/proc/self/exe").context("opening this program's own file")?;
        program.take(MOST_BYTES).read_to_end(&mut bytes).context("reading this program's own file")?;
        ensure!(bytes.len() >= PIECE_BYTES, "a program of {} bytes", bytes.len());
        Ok(Pieces { bytes })
    }

    /// Never zero, which stands for 'not done yet'.
    pub fn checksum(&self, task: usize) -> u64 {
        let pieces = self.bytes.len() / PIECE_BYTES;
        let from = task % pieces * PIECE_BYTES;
        let mut hasher = DefaultHasher::new();
        hasher.write_usize(task); // So that no two tasks have one result.
        hasher.write(&self.bytes[from..from + PIECE_BYTES]);
        hasher.finish() | 1
    }
}

const MOST_BYTES: u64 = 1 << 20; // A fork copies the page tables of what its maker holds: little, here.
const PIECE_BYTES: usize = 4096; // Some microseconds of work.
