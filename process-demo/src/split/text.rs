//! What is to be counted, where is it cut, and how are the words of a piece counted?

use std::fs;

use anyhow::{Context, Result, ensure};
use shared::{Stage, spare_bytes};

/// The user's text, or a made one.
pub fn of(stage: &Stage) -> Result<Vec<u8>> {
    const MIB: usize = 1 << 20;
    let most_bytes = spare_bytes() as usize / 4;
    let Some(file) = stage.input() else {
        return Ok(made(stage.by_effort(MIB / 2, 32 * MIB, 256 * MIB).min(most_bytes)));
    };
    let named = || file.display().to_string();
    let bytes = fs::metadata(file).with_context(named)?.len();
    ensure!(bytes <= most_bytes as u64, "{} is too large for the free memory", named());
    let text = fs::read(file).with_context(named)?;
    ensure!(!text.is_empty(), "the text is empty: there is nothing to divide");
    Ok(text)
}

/// Words of 1 to 12 letters, in an order that no processor foresees; the same text each time.
fn made(bytes: usize) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15u64; // Any seed but zero.
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        random ^= random << 13; // Marsaglia's xorshift64.
        random ^= random >> 7;
        random ^= random << 17;
        text.extend(b'a'..=b'a' + (random % 12) as u8);
        text.push(b' ');
    }
    text.truncate(bytes);
    text
}

/// One of so many pieces of about one length, cut where there is white space; it may be empty.
pub fn piece(text: &[u8], number: usize, of: usize) -> &[u8] {
    let cut = |number: usize| {
        let about = text.len() * number / of;
        let white = text[about..].iter().position(u8::is_ascii_whitespace);
        if number == 0 { 0 } else { white.map_or(text.len(), |more| about + more) }
    };
    &text[cut(number)..cut(number + 1)]
}

/// The task itself.
pub fn words(piece: &[u8]) -> u64 {
    words_of_part(piece, &mut false)
}

/// The same for a piece that comes in parts: how many words begin in this one? The caller keeps whether the last part
/// ended within a word.
pub fn words_of_part(part: &[u8], within: &mut bool) -> u64 {
    let (mut begun, mut in_word) = (0, *within);
    for byte in part {
        let is_letter = !byte.is_ascii_whitespace();
        begun += u64::from(is_letter && !in_word);
        in_word = is_letter;
    }
    *within = in_word;
    begun
}

/// The same count in another manner: the text taken apart into its words.
pub fn words_one_by_one(text: &[u8]) -> u64 {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_whole_and_cut_no_word() {
        for text in [&b"one two  three\nfour"[..], b"", b"   ", b"unbroken", &made(10_000)] {
            for how_many in 1..9 {
                let pieces: Vec<&[u8]> = (0..how_many).map(|number| piece(text, number, how_many)).collect();
                assert_eq!(pieces.concat(), text);
                let together: u64 = pieces.into_iter().map(words).sum();
                assert_eq!(together, words_one_by_one(text));
            }
        }
    }

    #[test]
    fn a_piece_that_comes_in_parts_counts_the_same() {
        let text = made(1000);
        for cut in 0..text.len() {
            let mut within = false;
            let parts = [&text[..cut], &text[cut..]].map(|part| words_of_part(part, &mut within));
            assert_eq!(parts.iter().sum::<u64>(), words_one_by_one(&text));
        }
    }
}
