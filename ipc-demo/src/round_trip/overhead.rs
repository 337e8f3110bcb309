//! Is a way between processes slower than its like between threads?

use shared::Placement::{self, OtherCpu, SameCpu};
use shared::Verdict::{self, Holds, Qualified, Refuted, Undecided};
use shared::measure::Measured;
use shared::number::three_digits;
use shared::stats::Ratio;

use super::{crossbeam, ipc_channel, mpsc, pipe, socket};

/// A way between processes, measured beside one between threads.
pub struct Pairing {
    pub says: String,
    pub ratio: Ratio,
}

/// The same pipe between processes and between threads, then the fastest way of each; on one CPU, then on two.
pub fn pairings(measured: &Measured) -> Vec<Pairing> {
    let mut pairings = Vec::new();
    for placement in [SameCpu, OtherCpu] {
        let fastest = (fastest(measured, PROCESSES, placement), fastest(measured, CHANNELS, placement));
        for (process, thread) in [(Some(pipe::PROCESSES), Some(pipe::THREADS)), fastest] {
            let Some((process, thread)) = process.zip(thread) else { continue };
            if let Some(ratio) = measured.ratio(process, thread, placement) {
                pairings.push(Pairing { says: format!("'{process}' against '{thread}', {}", place(placement)), ratio });
            }
        }
    }
    pairings
}

/// The row with the smallest median; none if all were skipped.
pub fn fastest(measured: &Measured, labels: &[&'static str], placement: Placement) -> Option<&'static str> {
    let median = |label: &str| Some(measured.figures(label, placement)?.median().value);
    let measured = labels.iter().filter_map(|&label| Some((label, median(label)?)));
    Some(measured.min_by(|(_, one), (_, other)| one.total_cmp(other))?.0)
}

pub const PROCESSES: &[&str] = &[pipe::PROCESSES, socket::PROCESSES, ipc_channel::TYPED, ipc_channel::BYTES];
pub const CHANNELS: &[&str] = &[mpsc::UNBOUNDED, crossbeam::UNBOUNDED, mpsc::BOUNDED, crossbeam::BOUNDED];

pub fn place(placement: Placement) -> &'static str {
    match placement {
        Placement::SameCpu => "on one CPU",
        Placement::OtherCpu => "on two CPUs",
        Placement::Free => "wherever the kernel likes",
    }
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
