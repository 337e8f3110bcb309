//! Where do messages come from? From memory larger than the caches, the next message from the next place.

use std::ffi::c_void;
use std::fs;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use anyhow::{Context, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::message::Stamp;

/// Memory that the sender goes through, round and round, so that a message was not in use a moment ago.
///
/// It is mapped shared, though nobody shares it: a fork leaves such memory as it is, and the sender's next write to it
/// copies no page.
pub struct Area {
    memory: NonNull<c_void>,
    bytes: NonZeroUsize,
    next: usize,
}

impl Area {
    /// All of it is written once, so that it is there.
    pub fn new(bytes: usize) -> Result<Area> {
        let bytes = NonZeroUsize::new(bytes).context("an area of no bytes")?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses a free address, so no memory in use is replaced.
        let memory = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) };
        let mut area = Area { memory: memory.context("memory to send from")?, bytes, next: 0 };
        area.bytes().chunks_exact_mut(FILLING.len()).for_each(|place| place.copy_from_slice(FILLING));
        Ok(area)
    }

    /// Starts again at the first place: messages of another size lie at other places.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// The next message of that size, stamped.
    ///
    /// # Panics
    /// If the area is smaller.
    pub fn next(&mut self, message_bytes: usize, stamp: Stamp) -> &[u8] {
        let at = if self.next + message_bytes <= self.bytes.get() { self.next } else { 0 };
        self.next = at + message_bytes;
        let message = &mut self.bytes()[at..at + message_bytes];
        stamp.put_on(message);
        message
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is that long, zeroed, and lives as long as `self`, which alone uses it: children inherit it
        // and never look at it.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().cast(), self.bytes.get()) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap gave, unmapped once; `next` lends no message for longer than `self` lives.
        let _ = unsafe { munmap(self.memory, self.bytes.get()) }; // It fails only for arguments that mmap never gives.
    }
}

/// How much to go through: twice the largest cache where memory allows, and never less than some of the largest messages.
pub fn size_bytes(cache_bytes: Option<usize>, most: usize) -> usize {
    const LEAST: usize = 64 << 20;
    cache_bytes.unwrap_or(0).saturating_mul(2).next_multiple_of(LEAST / 4).clamp(LEAST, most.max(LEAST))
}

const FILLING: &[u8; 16] = b"Not all the same";

/// The largest cache of the first CPU, in bytes; none if the kernel does not say.
pub fn largest_cache_bytes() -> Option<usize> {
    let caches = fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?;
    let size = |entry: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(entry.ok()?.path().join("size")).ok()?;
        bytes_of(text.trim())
    };
    caches.filter_map(size).max()
}

/// As the kernel writes it: "48K".
fn bytes_of(text: &str) -> Option<usize> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_message_is_elsewhere_and_they_go_round() {
        let mut area = Area::new(4096).unwrap();
        let stamp = Stamp::numbered(0);
        let first = area.next(64, stamp).as_ptr().addr();
        assert_eq!(area.next(64, stamp).as_ptr().addr(), first + 64);
        area.rewind();
        assert_eq!([0; 5].map(|_| area.next(1024, stamp).as_ptr().addr() - first), [0, 1024, 2048, 3072, 0]);
        assert_eq!(area.next(4096, stamp).as_ptr().addr(), first);
    }

    #[test]
    fn twice_the_cache_in_bounds() {
        const MIB: usize = 1 << 20;
        assert_eq!(size_bytes(Some(105 * MIB), 256 * MIB), 224 * MIB);
        assert_eq!(size_bytes(Some(2 * MIB), 256 * MIB), 64 * MIB);
        assert_eq!(size_bytes(Some(400 * MIB), 256 * MIB), 256 * MIB);
        assert_eq!(size_bytes(None, 0), 64 * MIB);
    }

    #[test]
    fn a_cache_is_as_large_as_the_kernel_says() {
        assert_eq!(bytes_of("48K"), Some(48 << 10));
        assert_eq!(bytes_of("107520K"), Some(105 << 20));
        assert_eq!(bytes_of("1T"), None);
        assert_eq!(bytes_of(""), None);
    }
}
