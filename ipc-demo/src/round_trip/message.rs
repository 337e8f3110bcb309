//! What travels: 64 bytes, different each time, so that both sides can tell whether they came whole and in order.

use serde::{Deserialize, Serialize};

/// The size of a message: one cache line on most machines.
pub const BYTES: usize = 64;

/// The same in words.
pub const WORDS: usize = BYTES / size_of::<u64>();

/// A number, and a filling that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub number: u64,
    pub filling: [u64; WORDS - 1],
}

impl Message {
    /// What the peer answers to a message that is not the one it expects; no numbered message looks like it.
    pub const WRONG: Message = Message { number: u64::MAX - 1, filling: [0; WORDS - 1] };

    /// Asks the peer to say how many messages it got, and where it ran, and to end.
    pub const FAREWELL: Message = Message { number: u64::MAX, filling: [0; WORDS - 1] };

    /// The message of that number, filled.
    pub fn numbered(number: u64) -> Message {
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15; // Odd, so different numbers give different words in all bits.
        let word = |index: usize| number.wrapping_add(index as u64 + 1).wrapping_mul(SPREAD);
        Message { number, filling: std::array::from_fn(word) }
    }

    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let words = [self.number].into_iter().chain(self.filling);
        for (place, word) in bytes.chunks_exact_mut(size_of::<u64>()).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    pub fn from_bytes(bytes: [u8; BYTES]) -> Message {
        let word = |index: usize| {
            let from = index * size_of::<u64>();
            u64::from_ne_bytes(std::array::from_fn(|byte| bytes[from + byte]))
        };
        Message { number: word(0), filling: std::array::from_fn(|index| word(index + 1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_its_bytes() {
        let message = Message::numbered(12_345);
        assert_eq!(Message::from_bytes(message.to_bytes()), message);
    }

    #[test]
    fn no_two_messages_agree_in_any_word() {
        let (one, next) = (Message::numbered(1), Message::numbered(3));
        assert!(one.filling.iter().zip(next.filling).all(|(ours, theirs)| *ours != theirs));
        assert_ne!(Message::numbered(u64::MAX - 1), Message::WRONG);
        assert_ne!(Message::numbered(u64::MAX), Message::FAREWELL);
    }
}
