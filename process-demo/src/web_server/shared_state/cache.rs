//! What is looked up, whoever keeps it: values of one KiB by key, each in the one slot that its key has.

use super::super::handler::mixed;

/// Zeroed memory is an empty slot: no key is zero.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Slot {
    key: u64,
    words: [u64; WORDS],
}

const WORDS: usize = 127; // With the key, one KiB.

/// What one lookup has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub was_there: bool,
    /// The value is the key's, and whole.
    pub is_right: bool,
}

impl Slot {
    pub const EMPTY: Slot = Slot { key: 0, words: [0; WORDS] };

    fn fill(&mut self, key: u64) {
        self.key = key;
        for (number, word) in (0..).zip(&mut self.words) {
            *word = mixed(key.wrapping_add(number));
        }
        self.words[WORDS - 1] = self.sum();
    }

    fn sum(&self) -> u64 {
        self.words[..WORDS - 1].iter().fold(0, |sum: u64, word| sum.wrapping_add(*word))
    }

    /// Reads the whole value: one that somebody else changed meanwhile would not add up.
    pub fn is_right(&self, key: u64) -> bool {
        self.key == key && self.words[0] == mixed(key) && self.words[WORDS - 1] == self.sum()
    }
}

impl Slot {
    pub fn write_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.key.to_ne_bytes());
        self.words.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
    }

    pub fn from_bytes(bytes: &[u8]) -> Slot {
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
        let mut slot = Slot::EMPTY;
        slot.key = words.next().unwrap_or(0);
        slot.words.iter_mut().zip(words).for_each(|(place, word)| *place = word);
        slot
    }
}

/// The value of this key, if it is there.
pub fn find(slots: &[Slot], key: u64) -> Option<&Slot> {
    Some(&slots[place(slots, key)]).filter(|slot| slot.key == key)
}

/// Makes the value anew, as from a database, in place of whatever has its slot.
pub fn put(slots: &mut [Slot], key: u64) -> &Slot {
    let slot = &mut slots[place(slots, key)];
    slot.fill(key);
    slot
}

fn place(slots: &[Slot], key: u64) -> usize {
    (mixed(key) % slots.len() as u64) as usize
}

/// The keys that one worker is asked for: the same ones at every run, twice as many as there are slots, and some far more
/// often than others (half of the requests want an eighth of the keys).
pub fn keys(worker: usize, slots: usize, how_many: u64) -> impl Iterator<Item = u64> {
    let different = 2.0 * slots as f64;
    (0..how_many).map(move |number| {
        let lot = mixed(number + ((worker as u64 + 1) << 40)) as f64 / u64::MAX as f64;
        1 + (different * lot.powi(3)) as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_whole_or_not_at_all() {
        let mut slots = vec![Slot::EMPTY; 8];
        assert!(find(&slots, 5).is_none());
        assert!(put(&mut slots, 5).is_right(5));
        assert!(find(&slots, 5).is_some_and(|slot| slot.is_right(5)));
        let at = place(&slots, 5);
        slots[at].words[60] ^= 1;
        assert!(!slots[at].is_right(5));
    }
}
