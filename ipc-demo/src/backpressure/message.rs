//! A message with its number, which its receiver checks.

use anyhow::{Result, ensure};

pub const BYTES: usize = 64;

pub type Message = [u8; BYTES];

/// Its number, and then a filling that follows from it.
pub fn message(number: u64) -> Message {
    let mut bytes = [(number % 251) as u8; BYTES];
    bytes[..size_of::<u64>()].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The number of a message that is whole.
pub fn number_of(bytes: &[u8]) -> Result<u64> {
    let front = bytes.first_chunk().map_or(0, |front| u64::from_le_bytes(*front));
    ensure!(bytes == message(front), "message {front} is not what was sent");
    Ok(front)
}
