//! What is handed over: numbers that fill it whole, and a stamp at both of its ends for each turn.

/// So many 64-bit numbers, all different from their neighbours.
pub fn filled(bytes: usize) -> Vec<u64> {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15; // Spreads small numbers over all 64 bits.
    (0..(bytes / size_of::<u64>()) as u64).map(|index| index.wrapping_mul(ODD)).collect()
}

/// Whether everything but the two stamps is as it was filled.
pub fn is_whole(numbers: &[u64], bytes: usize) -> bool {
    let filled = filled(bytes);
    let inner = 1..filled.len() - 1;
    numbers.len() == filled.len() && numbers[inner.clone()] == filled[inner]
}

/// Writes the turn's number at both ends.
pub fn stamp(numbers: &mut [u64], turn: u64) {
    if let [first, .., last] = numbers {
        (*first, *last) = (turn, !turn);
    }
}

/// The turn's number, if both ends agree.
pub fn stamp_of(numbers: &[u64]) -> Option<u64> {
    let (first, last) = (numbers.first()?, numbers.last()?);
    (*first == !*last).then_some(*first)
}

/// The answer to a turn whose payload was checked whole, and to one of which only the stamp was looked at.
pub const WHOLE: u64 = 1 << 63;

/// What the receiver answers: the turn, with a mark if this is the first and all of it was right.
pub fn answer_to(numbers: &[u64], bytes: usize) -> u64 {
    match stamp_of(numbers) {
        Some(0) if is_whole(numbers, bytes) => WHOLE,
        Some(0) | None => u64::MAX,
        Some(turn) => turn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_number_is_seen_in_the_first_turn_and_a_torn_stamp_in_each() {
        let mut numbers = filled(64);
        stamp(&mut numbers, 0);
        assert_eq!(answer_to(&numbers, 64), WHOLE);
        numbers[3] += 1;
        assert_eq!(answer_to(&numbers, 64), u64::MAX);
        stamp(&mut numbers, 5);
        assert_eq!(answer_to(&numbers, 64), 5);
        numbers[7] += 1;
        assert_eq!(answer_to(&numbers, 64), u64::MAX);
    }
}
