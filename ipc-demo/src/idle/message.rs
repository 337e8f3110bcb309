//! What does a message carry? Its number, when it was due and when it was sent, and a filling that follows from these.

/// One cache line.
pub const BYTES: usize = 64;

const WORD_BYTES: usize = 8;
const WORDS: usize = BYTES / WORD_BYTES;

/// What its receiver needs to tell how late it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub number: u64,
    pub due_ns: u64,
    pub sent_ns: u64,
}

impl Message {
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let places = bytes.chunks_exact_mut(WORD_BYTES);
        places.zip(self.words()).for_each(|(place, word)| place.copy_from_slice(&word.to_ne_bytes()));
        bytes
    }

    /// None if the filling is not this message's own: it was torn, or mixed with another.
    pub fn from_bytes(bytes: &[u8; BYTES]) -> Option<Message> {
        let word = |index: usize| {
            let place = bytes[index * WORD_BYTES..].first_chunk();
            place.map_or(0, |&word| u64::from_ne_bytes(word))
        };
        let message = Message { number: word(0), due_ns: word(1), sent_ns: word(2) };
        (message.to_bytes() == *bytes).then_some(message)
    }

    fn words(self) -> [u64; WORDS] {
        let Message { number, due_ns, sent_ns } = self;
        let seed = number ^ due_ns.rotate_left(21) ^ sent_ns.rotate_left(42);
        let mut words = [number, due_ns, sent_ns, 0, 0, 0, 0, 0];
        for (index, word) in words.iter_mut().enumerate().skip(3) {
            *word = seed.wrapping_mul(2 * index as u64 + 1); // Odd factors: another seed is another filling.
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_itself_or_not_at_all() {
        let message = Message { number: 7, due_ns: 1_000, sent_ns: 1_001 };
        let bytes = message.to_bytes();
        assert_eq!(Message::from_bytes(&bytes), Some(message));
        for torn in 0..BYTES {
            let mut other = bytes;
            other[torn] ^= 1;
            assert_eq!(Message::from_bytes(&other), None, "byte {torn}");
        }
    }
}
