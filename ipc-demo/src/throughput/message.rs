//! What does a message carry, so that its receiver can tell whether it came whole and in order?

use anyhow::{Result, ensure};

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
}
