//! What is sent? Messages of which each says at both ends which one it is, and how long.

use anyhow::{Context, Result, ensure};
use ipc_demo::shared_region::SharedRegion;

const WORD_BYTES: usize = size_of::<u64>();
const STAMP_BYTES: usize = 2 * WORD_BYTES;

/// Which message is it? Both sides count them.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub number: u64,
    /// The message is filled anew, and its receiver compares all of it.
    pub is_filled: bool,
}

impl Stamp {
    /// Makes these bytes this message.
    pub fn put_on(self, message: &mut [u8]) {
        if self.is_filled {
            let words = message.chunks_exact_mut(WORD_BYTES).zip(contents(self.number));
            words.for_each(|(place, word)| place.copy_from_slice(&word));
        }
        let length = message.len();
        for at in [0, length - STAMP_BYTES] {
            message[at..at + STAMP_BYTES].copy_from_slice(&self.bytes(length));
        }
    }

    /// Looks at both ends of a message, and at all of it if it was filled: is every byte right?
    ///
    /// # Errors
    /// If it is another message than this, or only a part of it.
    pub fn is_right(self, message: &[u8]) -> Result<bool> {
        let due = self.bytes(message.len());
        let ends = [message.first_chunk(), message.last_chunk()];
        ensure!(ends == [Some(&due); 2], "{} bytes came that are not message {}", message.len(), self.number);
        let inner = STAMP_BYTES / WORD_BYTES..(message.len() - STAMP_BYTES) / WORD_BYTES;
        let mut words = message.chunks_exact(WORD_BYTES).zip(contents(self.number)).skip(inner.start).take(inner.len());
        Ok(!self.is_filled || words.all(|(came, word)| came == word))
    }

    /// What stands at both ends: the number, and the length.
    fn bytes(self, length: usize) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..WORD_BYTES].copy_from_slice(&self.number.to_ne_bytes());
        bytes[WORD_BYTES..].copy_from_slice(&(length as u64).to_ne_bytes());
        bytes
    }
}

/// The words of that message, which no other message has at the same place.
fn contents(number: u64) -> impl Iterator<Item = [u8; WORD_BYTES]> {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15; // Odd, so different numbers give different words in all bits.
    let first = number.wrapping_mul(SPREAD).rotate_left(32);
    (1..).map(move |index: u64| first.wrapping_add(index).wrapping_mul(SPREAD).to_ne_bytes())
}

/// Memory that the sender goes through, round and round, so that a message was not in use a moment ago.
///
/// It is mapped shared, though nobody shares it: a fork leaves such memory as it is, and the sender's next write to it
/// copies no page.
pub struct Area {
    memory: SharedRegion,
    next: usize,
}

impl Area {
    /// All of it is written once, so that it is there.
    pub fn new(bytes: usize) -> Result<Area> {
        let mut memory = SharedRegion::new(bytes).context("memory to send from")?;
        bytes_of(&mut memory).fill(1);
        Ok(Area { memory, next: 0 })
    }

    /// The next message of that size, stamped.
    ///
    /// # Panics
    /// If the area is smaller.
    pub fn next(&mut self, message_bytes: usize, stamp: Stamp) -> &[u8] {
        let at = if self.next + message_bytes <= self.memory.len() { self.next } else { 0 };
        self.next = at + message_bytes;
        let message = &mut bytes_of(&mut self.memory)[at..at + message_bytes];
        stamp.put_on(message);
        message
    }
}

/// A region that nobody else uses at this moment, as plain bytes.
pub fn bytes_of(region: &mut SharedRegion) -> &mut [u8] {
    // SAFETY: the region is that long, and lives as long. Its bytes are never used by two at a time: a child that has the
    // area never looks at it, and memory that is passed on is not touched by its sender before its receiver gives it back.
    unsafe { std::slice::from_raw_parts_mut(region.as_ptr(), region.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Stamp = Stamp { number: 0, is_filled: true };

    fn message(stamp: Stamp) -> Vec<u8> {
        let mut bytes = vec![7; 64];
        stamp.put_on(&mut bytes);
        bytes
    }

    #[test]
    fn only_the_message_that_is_due_is_right() {
        let second = Stamp { number: 1, ..FIRST };
        assert!(FIRST.is_right(&message(FIRST)).unwrap());
        assert!(second.is_right(&message(second)).unwrap());
        assert!(FIRST.is_right(&message(second)).is_err());
    }

    #[test]
    fn each_changed_byte_of_a_filled_message_is_seen() {
        for at in 0..64 {
            let mut bytes = message(FIRST);
            bytes[at] ^= 1;
            assert!(!FIRST.is_right(&bytes).unwrap_or(false), "byte {at}");
        }
    }

    #[test]
    fn a_cut_message_and_two_halves_are_seen() {
        let (whole, other) = (message(FIRST), message(Stamp { number: 1, ..FIRST }));
        assert!(FIRST.is_right(&whole[..56]).is_err());
        assert!(FIRST.is_right(&[&whole[..32], &other[32..]].concat()).is_err());
        assert!(FIRST.is_right(&[]).is_err());
    }

    #[test]
    fn of_a_timed_message_both_ends_are_looked_at() {
        let timed = Stamp { is_filled: false, ..FIRST };
        for at in 0..64 {
            let mut bytes = message(timed);
            bytes[at] ^= 1;
            assert_eq!(timed.is_right(&bytes).is_err(), !(16..48).contains(&at), "byte {at}");
        }
    }

    #[test]
    fn the_next_message_is_elsewhere_and_they_go_round() {
        let mut area = Area::new(4096).unwrap();
        let start = area.memory.as_ptr().addr();
        assert_eq!([0; 6].map(|_| area.next(1024, FIRST).as_ptr().addr() - start), [0, 1024, 2048, 3072, 0, 1024]);
        assert_eq!(area.next(4096, FIRST).as_ptr().addr(), start);
    }
}
