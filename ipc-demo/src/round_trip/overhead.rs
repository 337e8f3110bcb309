//! Is a way between processes slower than its like between threads?

use shared::Placement;
use shared::Verdict::{self, Holds, Qualified, Refuted, Undecided};
use shared::measure::Measured;
use shared::number::three_digits;

use super::pairs::{Pairing, Placed};
use super::rows::Between::{self, Processes, Threads};
use super::rows::{CHANNELS, MECHANISMS, PIPE, RING, label};

/// At each placement: the same pipe between processes and between threads; then the ring, and the fastest way, between
/// processes against the fastest channel between threads.
pub fn pairings(measured: &[Placed]) -> Vec<Pairing> {
    let mut pairings: Vec<Pairing> = Vec::new();
    for (placement, measured) in measured {
        let channel = fastest_channel(measured, *placement);
        let rivals = [
            (Some(label(PIPE, Processes)), Some(label(PIPE, Threads))),
            (Some(label(RING, Processes)), channel.clone()),
            (fastest_between(Processes, measured, *placement), channel),
        ];
        for (process, thread) in rivals.into_iter().filter_map(|(process, thread)| process.zip(thread)) {
            let pairing = Pairing::of(measured, *placement, &process, &thread);
            // The ring may be the fastest: once is enough.
            pairings.extend(pairing.filter(|new| pairings.iter().all(|known| known.says != new.says)));
        }
    }
    pairings
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
    let (clear, open): (Vec<&Pairing>, Vec<&Pairing>) = pairings.iter().partition(|pairing| pairing.ratio.clear);
    let (slower, faster): (Vec<&Pairing>, Vec<&Pairing>) =
        clear.into_iter().partition(|pairing| pairing.ratio.ratio > 1.0);
    let verdict = match (slower.len(), faster.len(), open.len()) {
        (1.., 0, 0) => Holds,
        (1.., _, _) => Qualified,
        (0, 1.., _) => Refuted,
        (0, 0, _) => Undecided,
    };
    let list = |what: String, which: &[&Pairing]| {
        let each = |pairing: &&Pairing| format!("{} ({} times)", pairing.says, three_digits(pairing.ratio.ratio));
        let names: Vec<String> = which.iter().map(each).collect();
        (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
    };
    let parts = [
        list(format!("clearly slower in {} of {} pairings", slower.len(), pairings.len()), &slower),
        list("clearly faster".to_owned(), &faster),
        list("too close to call".to_owned(), &open),
    ];
    let because: Vec<String> = parts.into_iter().flatten().collect();
    (verdict, if because.is_empty() { "nothing could be measured".to_owned() } else { because.join("; ") })
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
        assert_eq!(verdict(&[]).0, Undecided);
    }
}
