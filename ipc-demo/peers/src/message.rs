//! What travels: 64 bytes, different each time, so that both sides can tell whether they came whole and in order.

use iceoryx2::prelude::ZeroCopySend;

/// The size of a message: one cache line on most machines.
pub const BYTES: usize = 64;

/// A number, and a filling that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ZeroCopySend)]
#[repr(C)]
pub struct Message {
    number: u64,
    filling: [u64; 7],
}

impl Message {
    /// The message of that number, filled.
    pub fn numbered(number: u64) -> Message {
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15; // Odd, so different numbers give different words in all bits.
        let word = |index: usize| number.wrapping_add(index as u64 + 1).wrapping_mul(SPREAD);
        Message { number, filling: std::array::from_fn(word) }
    }

    pub fn number(self) -> u64 {
        self.number
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
        let (one, other) = (Message::numbered(1), Message::numbered(3));
        assert!(one.filling.iter().zip(other.filling).all(|(ours, theirs)| *ours != theirs));
    }
}
