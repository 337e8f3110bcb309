//! A large message: a small one in front, its number once more at the end, and contents that follow from it between.

use anyhow::{Context, Result, ensure};

use crate::message::{self, Message};

pub const BYTES: usize = 64 * 1024;

/// The messages below this number are filled and compared in full; of the later ones both ends and the length are
/// looked at, for filling would take longer than what is to be measured.
pub const FILLED: u64 = 64;

/// What a sender sends again and again.
pub struct Block {
    bytes: Vec<u8>,
}

impl Block {
    pub fn new() -> Block {
        Block { bytes: vec![0; BYTES] }
    }

    /// The block that carries this message.
    pub fn with(&mut self, message: Message) -> &[u8] {
        let (head, body, tail) = parts_mut(&mut self.bytes);
        head.copy_from_slice(&message.to_bytes());
        if message.number() < FILLED {
            for (word, place) in body.chunks_exact_mut(WORD).enumerate() {
                place.copy_from_slice(&contents(message.number(), word).to_ne_bytes());
            }
        }
        tail.copy_from_slice(&message.number().to_ne_bytes());
        &self.bytes
    }
}

/// The message that a block carries.
///
/// # Errors
/// If the block has another length, another number at its end, or other contents than its number says.
pub fn message_in(block: &[u8]) -> Result<Message> {
    ensure!(block.len() == BYTES, "a block of {} bytes", block.len());
    let (head, rest) = block.split_first_chunk::<{ message::BYTES }>().context("a block without a front")?;
    let (body, tail) = rest.split_last_chunk::<WORD>().context("a block without an end")?;
    let message = Message::from_bytes(*head);
    let number = message.number();
    ensure!(u64::from_ne_bytes(*tail) == number, "a torn block: its ends have different numbers");
    if number < FILLED {
        let right = |(word, place): (usize, &[u8])| *place == contents(number, word).to_ne_bytes();
        ensure!(body.chunks_exact(WORD).enumerate().all(right), "block {number} has other contents than were sent");
    }
    Ok(message)
}

const WORD: usize = size_of::<u64>();

fn parts_mut(bytes: &mut [u8]) -> (&mut [u8], &mut [u8], &mut [u8]) {
    let (head, rest) = bytes.split_at_mut(message::BYTES);
    let (body, tail) = rest.split_at_mut(BYTES - message::BYTES - WORD);
    (head, body, tail)
}

/// No two words of the first blocks are alike.
fn contents(number: u64, word: usize) -> u64 {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15; // Odd, so different numbers give different words in all bits.
    (number * BYTES as u64 + word as u64 + 1).wrapping_mul(SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_carries_its_message() {
        let mut block = Block::new();
        for number in [0, 1, FILLED - 1, FILLED, 1_000_000] {
            let message = Message::numbered(number);
            assert_eq!(message_in(block.with(message)).unwrap(), message);
        }
    }

    #[test]
    fn a_short_torn_or_changed_block_is_an_error() {
        let sent = Block::new().with(Message::numbered(7)).to_vec();
        assert!(message_in(&sent[..BYTES - 1]).is_err());
        for byte in [0, message::BYTES, BYTES / 2, BYTES - 1] {
            let mut changed = sent.clone();
            changed[byte] ^= 1;
            assert!(message_in(&changed).is_err(), "byte {byte}");
        }
    }
}
