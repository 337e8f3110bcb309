//! Is a way between processes slower than its like between threads?

use shared::Placement;
use shared::Verdict::{self, Holds, Qualified, Refuted, Undecided};
use shared::measure::Measured;
use shared::number::three_digits;

use super::pairs::{Pairing, Placed};
use super::rows::Between::{self, Processes, Threads};
use super::rows::{CHANNELS, MECHANISMS, Mechanism, RING, label};

/// At each placement: every way between processes against the same way between threads; and the ring between processes
/// against the fastest channel between threads.
pub fn pairings(measured: &[Placed]) -> Vec<Pairing> {
    let of = |(placement, measured): &Placed| {
        let like =
            |way: &Mechanism| Pairing::of(measured, *placement, &label(way.name, Processes), &label(way.name, Threads));
        let mut pairings: Vec<Pairing> = MECHANISMS.iter().filter_map(like).collect();
        pairings.extend(beside_a_channel(measured, *placement));
        pairings
    };
    measured.iter().flat_map(of).collect()
}

/// The ring between processes against the fastest channel between threads.
pub fn beside_a_channel(measured: &Measured, placement: Placement) -> Option<Pairing> {
    Pairing::of(measured, placement, &label(RING, Processes), &fastest_channel(measured, placement)?)
}

pub fn fastest_channel(measured: &Measured, placement: Placement) -> Option<String> {
    fastest(measured, placement, CHANNELS.iter().map(|name| label(name, Threads)))
}

pub fn fastest_between(parties: Between, measured: &Measured, placement: Placement) -> Option<String> {
    fastest(measured, placement, MECHANISMS.iter().map(|way| label(way.name, parties)))
}

/// The row with the smallest median; none if all were skipped.
fn fastest(measured: &Measured, placement: Placement, labels: impl Iterator<Item = String>) -> Option<String> {
    let with_median = |label: String| Some((measured.figures(&label, placement)?.median().value, label));
    let fastest = labels.filter_map(with_median).min_by(|(one, _), (other, _)| one.total_cmp(other));
    fastest.map(|(_, label)| label)
}

/// Does it add overhead? By how many of the pairings show the processes clearly slower.
pub fn verdict(pairings: &[Pairing]) -> (Verdict, String) {
    let ratio = |pairing: &&Pairing| pairing.ratio.ratio;
    let by_ratio = |one: &&Pairing, other: &&Pairing| ratio(one).total_cmp(&ratio(other));
    let slower: Vec<&Pairing> = pairings.iter().filter(|pairing| pairing.ratio.is_slower()).collect();
    let faster: Vec<&Pairing> = pairings.iter().filter(|pairing| pairing.ratio.is_faster()).collect();
    let open = pairings.len() - slower.len() - faster.len();
    let verdict = match (slower.len(), faster.len(), open) {
        (1.., 0, 0) => Holds,
        (1.., _, _) => Qualified,
        (0, 1.., _) => Refuted,
        (0, 0, _) => Undecided,
    };
    let most = |extreme: Option<&Pairing>| {
        let told = |most: &Pairing| format!(" (most: {}, {} times)", most.says, three_digits(most.ratio.ratio));
        extreme.map_or(String::new(), told)
    };
    let because = format!(
        "of {} pairings the processes were clearly slower in {}{}, clearly faster in {}{}; too close to call were {open}",
        pairings.len(),
        slower.len(),
        most(slower.iter().copied().max_by(by_ratio)),
        faster.len(),
        most(faster.iter().copied().min_by(by_ratio)),
    );
    (verdict, if pairings.is_empty() { "nothing could be measured".to_owned() } else { because })
}

#[cfg(test)]
mod tests {
    use shared::stats::Ratio;

    use super::*;

    fn pairing(ratio: f64, clear: bool) -> Pairing {
        Pairing { says: "a against b".to_owned(), ratio: Ratio { ratio, low: None, high: None, clear } }
    }

    #[test]
    fn the_verdict_follows_from_the_clear_ratios() {
        let (slower, faster, open) = (|| pairing(2.0, true), || pairing(0.5, true), || pairing(1.01, false));
        assert_eq!(verdict(&[slower(), slower()]).0, Holds);
        assert_eq!(verdict(&[slower(), open()]).0, Qualified);
        assert_eq!(verdict(&[slower(), faster()]).0, Qualified);
        assert_eq!(verdict(&[faster(), open()]).0, Refuted);
        assert_eq!(verdict(&[open()]).0, Undecided);
        assert_eq!(verdict(&[]), (Undecided, "nothing could be measured".to_owned()));
    }

    #[test]
    fn the_verdict_names_the_pairing_that_differs_most() {
        let because = verdict(&[pairing(1.1, true), pairing(2.0, true), pairing(0.5, true), pairing(1.0, false)]).1;
        assert_eq!(
            because,
            "of 4 pairings the processes were clearly slower in 2 (most: a against b, 2.00 times), clearly faster in 1 \
             (most: a against b, 0.500 times); too close to call were 1"
        );
    }
}
