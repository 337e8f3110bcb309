//! What is to be counted, and how is a piece of it counted?

use std::fs;

use anyhow::{Context, Result, ensure};
use shared::Stage;
use shared::number::chosen_with_unit;

use shared::spare_bytes;

/// The whole text: the user's, or a made one.
pub struct Text(Vec<u8>);

impl Text {
    pub fn of(stage: &mut Stage) -> Result<Text> {
        const MIB: usize = 1 << 20;
        let bytes = match stage.input() {
            None => made(stage.by_effort(MIB / 2, 32 * MIB, 256 * MIB).min(spare_bytes() as usize / 4)),
            Some(file) => {
                let size = fs::metadata(file).with_context(|| format!("{}", file.display()))?.len();
                ensure!(size <= spare_bytes() / 4, "{} is too large for the free memory", file.display());
                fs::read(file).with_context(|| format!("{}", file.display()))?
            }
        };
        ensure!(!bytes.is_empty(), "the text is empty: there is nothing to divide");
        stage.note(format!("The text has {}.", chosen_with_unit("bytes", bytes.len() as f64)));
        Ok(Text(bytes))
    }

    /// Its first so many bytes.
    pub fn first(&self, bytes: usize) -> &[u8] {
        &self.0[..bytes]
    }

    pub fn whole(&self) -> &[u8] {
        &self.0
    }

    /// A small text, a middling one if there is time, and the whole.
    pub fn sizes(&self, stage: &Stage) -> Vec<usize> {
        let whole = self.0.len();
        let parts: &[usize] = stage.by_effort(&[16 << 10], &[16 << 10, 1 << 20], &[16 << 10, 1 << 20]);
        parts.iter().copied().filter(|&bytes| bytes < whole).chain([whole]).collect()
    }
}

/// Words of 1 to 12 letters, a line's end now and then; the same text each time.
fn made(bytes: usize) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15u64; // Any seed but zero.
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        random ^= random << 13; // Marsaglia's xorshift64.
        random ^= random >> 7;
        random ^= random << 17;
        let letters = 1 + random % 12;
        text.extend((0..letters).map(|letter| b'a' + ((random >> (8 + 4 * letter)) % 16) as u8));
        text.push(if random & 0xf00 == 0 { b'\n' } else { b' ' });
    }
    text.truncate(bytes);
    text
}

/// What was found so far; counts of pieces add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub words: u64,
    /// Of the words' hashes, so that a word that was read wrongly shows.
    pub sum: u64,
}

impl std::ops::Add for Count {
    type Output = Count;

    fn add(self, other: Count) -> Count {
        Count { words: self.words + other.words, sum: self.sum.wrapping_add(other.sum) }
    }
}

/// The task itself: counts a piece that comes in parts.
#[derive(Default)]
pub struct Counter {
    count: Count,
    /// Of the word that has begun and may go on in the next part.
    word: Option<u64>,
}

impl Counter {
    pub fn feed(&mut self, part: &[u8]) {
        let Counter { mut count, mut word } = *self;
        for &byte in part {
            if byte.is_ascii_whitespace() {
                count = with_word(count, word.take());
            } else {
                word = Some(fnv(word.unwrap_or(FNV_OFFSET), byte));
            }
        }
        *self = Counter { count, word };
    }

    pub fn finish(self) -> Count {
        with_word(self.count, self.word)
    }
}

pub fn count(piece: &[u8]) -> Count {
    let mut counter = Counter::default();
    counter.feed(piece);
    counter.finish()
}

fn with_word(count: Count, word: Option<u64>) -> Count {
    word.map_or(count, |hash| count + Count { words: 1, sum: hash })
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325; // The hash is FNV-1a of 64 bits (Fowler, Noll, Vo).
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
}

/// The same result by another road: whole words, one after the other.
pub fn reference(text: &[u8]) -> Count {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let hash = |word: &[u8]| word.iter().fold(FNV_OFFSET, |hash, &byte| fnv(hash, byte));
    words.map(|word| Count { words: 1, sum: hash(word) }).fold(Count::default(), |sum, word| sum + word)
}

/// Cuts a text into so many pieces of about one length, where there is white space; some may be empty.
pub fn pieces(text: &[u8], how_many: usize) -> Vec<&[u8]> {
    let mut from = 0;
    let mut cut = |number: usize| {
        let about = (text.len() * number / how_many).max(from);
        let to = text[about..].iter().position(u8::is_ascii_whitespace).map_or(text.len(), |more| about + more);
        let to = if number == how_many { text.len() } else { to };
        let piece = &text[from..to];
        from = to;
        piece
    };
    (1..=how_many).map(&mut cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_whole_and_cut_no_word() {
        for text in [&b"one two  three\nfour"[..], b"", b"   ", b"unbroken", &made(10_000)] {
            for how_many in 1..9 {
                let pieces = pieces(text, how_many);
                assert_eq!(pieces.len(), how_many);
                assert_eq!(pieces.concat(), text);
                let together = pieces.iter().map(|piece| count(piece)).fold(Count::default(), |sum, one| sum + one);
                assert_eq!(together, reference(text));
            }
        }
    }

    #[test]
    fn a_piece_that_comes_in_parts_counts_the_same() {
        let text = made(1000);
        for cut in 0..text.len() {
            let mut counter = Counter::default();
            counter.feed(&text[..cut]);
            counter.feed(&text[cut..]);
            assert_eq!(counter.finish(), reference(&text));
        }
    }
}
