//! A piece of memory with a descriptor, filled and sealed.

use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Against what a piece is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seals {
    None,
    /// Against resizing, further seals and all writing.
    Write,
    /// Against resizing, further seals and all writing but by mappings that exist already: the giver's.
    FutureWrite,
}

impl Seals {
    /// In the order of their numbers.
    pub const ALL: [Seals; 3] = [Seals::None, Seals::Write, Seals::FutureWrite];

    pub fn name(self) -> &'static str {
        match self {
            Seals::None => "no seal",
            Seals::Write => "F_SEAL_WRITE",
            Seals::FutureWrite => "F_SEAL_FUTURE_WRITE",
        }
    }
}

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

pub fn seal(file: &File, seals: Seals) -> nix::Result<()> {
    let size = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    let all = match seals {
        Seals::None => return Ok(()),
        Seals::Write => size | SealFlag::F_SEAL_WRITE,
        Seals::FutureWrite => size | SealFlag::F_SEAL_FUTURE_WRITE,
    };
    fcntl(file, FcntlArg::F_ADD_SEALS(all)).map(drop)
}
