//! What travels: 64 bytes, different each time, so that both sides can tell whether they came whole and in order.

/// The size of a message: one cache line on most machines.
pub const BYTES: usize = 64;

const WORD_BYTES: usize = size_of::<u64>();

/// A number, a note to who gets it, and a filling that follows from both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub number: u64,
    pub note: u64,
    filling: [u64; 6],
}

/// Notes to the side that answers.
pub const TAKE: u64 = 0;
pub const ANSWER: u64 = 1; // With how many came as they should since the last answer.
pub const INTRODUCE_YOURSELF: u64 = 2; // With the kernel's number of this thread.
pub const FAREWELL: u64 = 3; // With the CPU that this ran on; then end.

impl Message {
    pub fn filled(number: u64, note: u64) -> Message {
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15; // Odd, so different numbers give different words in all bits.
        let word = |index: usize| number.wrapping_add(index as u64 + 1).wrapping_mul(SPREAD) ^ note;
        Message { number, note, filling: std::array::from_fn(word) }
    }

    pub fn is_whole(&self) -> bool {
        *self == Message::filled(self.number, self.note)
    }

    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let words = [self.number, self.note].into_iter().chain(self.filling);
        for (place, word) in bytes.chunks_exact_mut(WORD_BYTES).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    pub fn from_bytes(bytes: [u8; BYTES]) -> Message {
        let word = |index: usize| {
            let from = index * WORD_BYTES;
            u64::from_ne_bytes(std::array::from_fn(|byte| bytes[from + byte]))
        };
        Message { number: word(0), note: word(1), filling: std::array::from_fn(|index| word(index + 2)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_its_bytes() {
        let message = Message::filled(12_345, ANSWER);
        assert_eq!(Message::from_bytes(message.to_bytes()), message);
        assert!(message.is_whole());
    }

    #[test]
    fn a_message_of_two_halves_is_not_whole() {
        let (mut one, other) = (Message::filled(1, TAKE).to_bytes(), Message::filled(2, TAKE).to_bytes());
        one[BYTES / 2..].copy_from_slice(&other[BYTES / 2..]);
        assert!(!Message::from_bytes(one).is_whole());
    }
}
