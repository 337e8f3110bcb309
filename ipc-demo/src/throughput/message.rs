//! What is sent? Messages from memory larger than the caches, each with a stamp, so that its receiver can tell whether it
//! came whole and in order.

use std::fs;

use anyhow::{Context, Result, ensure};
use ipc_demo::shared_region::SharedRegion;

const WORD_BYTES: usize = size_of::<u64>();
const STAMP_BYTES: usize = 2 * WORD_BYTES;

/// What stands at both ends of a message, before the message's length: its number, and two marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u64);

impl Stamp {
    const LAST: u64 = 1 << 63;
    const WHOLE: u64 = 1 << 62;

    pub fn numbered(number: u64) -> Stamp {
        Stamp(number)
    }

    /// The receiver answers after this one.
    pub fn last(self) -> Stamp {
        Stamp(self.0 | Stamp::LAST)
    }

    /// The message is filled anew, and its receiver compares all of it.
    pub fn whole(self) -> Stamp {
        Stamp(self.0 | Stamp::WHOLE)
    }

    pub fn is_last(self) -> bool {
        self.0 & Stamp::LAST != 0
    }

    pub fn is_whole(self) -> bool {
        self.0 & Stamp::WHOLE != 0
    }

    fn number(self) -> u64 {
        self.0 & !(Stamp::LAST | Stamp::WHOLE)
    }

    /// Makes these bytes the message of this number: stamped at both ends, and filled if all of it is to be compared.
    pub fn put_on(self, message: &mut [u8]) {
        if self.is_whole() {
            let words = message.chunks_exact_mut(WORD_BYTES).zip(contents(self.number()));
            words.for_each(|(place, word)| place.copy_from_slice(&word.to_ne_bytes()));
        }
        let length = message.len();
        for at in [0, length - STAMP_BYTES] {
            message[at..at + WORD_BYTES].copy_from_slice(&self.0.to_ne_bytes());
            message[at + WORD_BYTES..at + STAMP_BYTES].copy_from_slice(&(length as u64).to_ne_bytes());
        }
    }

    /// None if the two ends disagree, or say another length than this.
    fn of(message: &[u8]) -> Option<Stamp> {
        let (front, back) = (message.first_chunk::<STAMP_BYTES>()?, message.last_chunk::<STAMP_BYTES>()?);
        let (number, length) = (word_at(front, 0), word_at(front, WORD_BYTES));
        (front == back && length == message.len() as u64).then_some(Stamp(number))
    }
}

/// The receiver's side: which message is due, and how many have proved right.
#[derive(Default)]
pub struct Check {
    due: u64,
    right: u64,
    is_last: bool,
}

impl Check {
    /// Looks at a message: at both its ends, or at all of it if its stamp says so.
    ///
    /// # Errors
    /// Its two ends do not belong together: then nobody can tell which message was to be the last.
    pub fn look(&mut self, message: &[u8]) -> Result<()> {
        let stamp = Stamp::of(message);
        ensure!(stamp.is_some(), "the two ends of a message of {} bytes do not belong together", message.len());
        let Some(stamp) = stamp else { return Ok(()) };
        let is_right = stamp.number() == self.due && (!stamp.is_whole() || is_filled(message, self.due));
        self.right += u64::from(is_right);
        self.due += 1;
        self.is_last = stamp.is_last();
        Ok(())
    }

    /// How many were right since the last answer, if this is the time to say so.
    pub fn answer(&mut self) -> Option<u64> {
        let due = std::mem::take(&mut self.is_last);
        due.then(|| std::mem::take(&mut self.right))
    }
}

/// The words of that message, which no other message has at the same place.
fn contents(number: u64) -> impl Iterator<Item = u64> {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15; // Odd, so different numbers give different words in all bits.
    let first = number.wrapping_mul(SPREAD).rotate_left(32);
    (1..).map(move |index: u64| first.wrapping_add(index).wrapping_mul(SPREAD))
}

fn is_filled(message: &[u8], number: u64) -> bool {
    let inner = STAMP_BYTES / WORD_BYTES..(message.len() - STAMP_BYTES) / WORD_BYTES;
    let mut pairs = message.chunks_exact(WORD_BYTES).zip(contents(number)).skip(inner.start).take(inner.len());
    pairs.all(|(bytes, word)| word_at(bytes, 0) == word)
}

fn word_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

/// Memory that the sender goes through, round and round, so that a message was not in use a moment ago.
///
/// It is mapped shared, though nobody shares it: a fork leaves such memory as it is, and the sender's next write to it
/// copies no page.
pub struct Area {
    _memory: SharedRegion,
    start: *mut u8,
    bytes: usize,
    next: usize,
}

impl Area {
    /// All of it is written once, so that it is there.
    pub fn new(bytes: usize) -> Result<Area> {
        let memory = SharedRegion::new(bytes).context("memory to send from")?;
        let mut area = Area { start: memory.as_ptr(), _memory: memory, bytes, next: 0 };
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
        let at = if self.next + message_bytes <= self.bytes { self.next } else { 0 };
        self.next = at + message_bytes;
        let message = &mut self.bytes()[at..at + message_bytes];
        stamp.put_on(message);
        message
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the region is that long, zeroed, and lives as long as `self`, which alone uses it: children inherit it
        // and never look at it.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
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

    fn message(number: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        Stamp::numbered(number).whole().last().put_on(&mut bytes);
        bytes
    }

    #[test]
    fn a_message_that_is_due_and_whole_is_right() {
        let mut check = Check::default();
        check.look(&message(0)).unwrap();
        assert_eq!(check.answer(), Some(1));
        assert_eq!(check.answer(), None);
        check.look(&message(2)).unwrap(); // Number 1 was lost.
        assert_eq!(check.answer(), Some(0));
    }

    #[test]
    fn each_changed_byte_is_seen() {
        for at in 0..64 {
            let (mut check, mut bytes) = (Check::default(), message(0));
            bytes[at] ^= 1;
            let looked = check.look(&bytes);
            assert!(looked.is_err() || check.answer() == Some(0), "byte {at}");
        }
    }

    #[test]
    fn a_cut_message_and_two_halves_are_seen() {
        let whole = message(0);
        assert!(Check::default().look(&whole[..56]).is_err());
        assert!(Check::default().look(&[&whole[..32], &message(1)[32..]].concat()).is_err());
        assert!(Check::default().look(&[]).is_err());
    }

    #[test]
    fn in_a_timed_message_both_ends_are_looked_at() {
        let mut bytes = vec![7; 64];
        Stamp::numbered(0).last().put_on(&mut bytes);
        for at in (0..STAMP_BYTES).chain(64 - STAMP_BYTES..64) {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert!(Check::default().look(&torn).is_err(), "byte {at}");
        }
    }

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
