//! Is the ring between processes slower than what threads have: the same ring, and their fastest channel?

use shared::Placement::{self, OtherCpu, SameCpu};
use shared::Verdict::{self, Holds, Qualified, Refuted, Undecided};
use shared::measure::{Contest, Measured, Timing};
use shared::number::three_digits;
use shared::stats::Ratio;

use super::exchange::{Tally, Traffic, processes, threads};
use super::ways;

/// The ring between processes, measured beside something between threads.
pub struct Pairing {
    traffic: Traffic,
    placement: Placement,
    thread: &'static str,
    pub ratio: Ratio,
}

impl Pairing {
    pub fn says(&self) -> String {
        format!("{}: '{}' against '{}'", self.occasion(), ways::RING_PROCESSES, self.thread)
    }

    fn occasion(&self) -> String {
        format!("{} {}", self.traffic.name(), place(self.placement))
    }
}

pub const PLACEMENTS: [Placement; 2] = [OtherCpu, SameCpu];

pub fn contest(traffic: Traffic, tally: &Tally) -> Contest<'_> {
    let title = format!("64 bytes {}", traffic.name());
    let mut contest = Contest::new(title, "who the two sides are, and where they run", Timing::Batches);
    for placement in PLACEMENTS {
        contest.add(threads(ways::RING_THREADS, placement, traffic, tally, ways::rings));
        contest.add(processes(ways::RING_PROCESSES, placement, traffic, tally, ways::rings));
        contest.add(threads(ways::CROSSBEAM, placement, traffic, tally, ways::crossbeam));
        contest.add(threads(ways::STD, placement, traffic, tally, ways::std_channels));
    }
    contest
}

/// The ring between processes against the same ring between threads, on two CPUs and on one.
pub fn borders(measured: &Measured, traffic: Traffic) -> Vec<Pairing> {
    PLACEMENTS.into_iter().filter_map(|placement| pairing(measured, traffic, ways::RING_THREADS, placement)).collect()
}

/// The ring between processes against the channel between threads that was fastest there.
pub fn channels(measured: &Measured, traffic: Traffic) -> Vec<Pairing> {
    let fastest = |placement| {
        let median = |label: &str| Some(measured.figures(label, placement)?.median().value);
        let timed = [ways::CROSSBEAM, ways::STD].into_iter().filter_map(|label| Some((label, median(label)?)));
        Some(timed.min_by(|(_, one), (_, other)| one.total_cmp(other))?.0)
    };
    let of = |placement| pairing(measured, traffic, fastest(placement)?, placement);
    PLACEMENTS.into_iter().filter_map(of).collect()
}

fn pairing(measured: &Measured, traffic: Traffic, thread: &'static str, placement: Placement) -> Option<Pairing> {
    let ratio = measured.ratio(ways::RING_PROCESSES, thread, placement)?;
    Some(Pairing { traffic, placement, thread, ratio })
}

pub fn place(placement: Placement) -> &'static str {
    match placement {
        Placement::SameCpu => "on one CPU",
        Placement::OtherCpu => "on two CPUs",
        Placement::Free => "wherever the kernel likes",
    }
}

/// Does it add overhead? By how many of the pairings show the processes clearly slower.
pub fn verdict(pairings: &[&Pairing]) -> (Verdict, String) {
    let slower: Vec<&&Pairing> = pairings.iter().filter(|pairing| pairing.ratio.is_slower()).collect();
    let faster: Vec<&&Pairing> = pairings.iter().filter(|pairing| pairing.ratio.is_faster()).collect();
    let open = pairings.len() - slower.len() - faster.len();
    let verdict = match (slower.len(), faster.len(), open) {
        (1.., 0, 0) => Holds,
        (1.., _, _) => Qualified,
        (0, 1.., _) => Refuted,
        (0, 0, _) => Undecided,
    };
    let list = |what: &str, which: &[&&Pairing]| {
        let each = |pairing: &&&Pairing| {
            format!("{} against '{}' {} times", pairing.occasion(), pairing.thread, three_digits(pairing.ratio.ratio))
        };
        let each: Vec<String> = which.iter().map(each).collect();
        (!each.is_empty()).then(|| format!("{what} in {} ({})", each.len(), each.join(", ")))
    };
    let open = (open > 0).then(|| format!("too close to call in {open}"));
    let parts = [list("clearly slower", &slower), list("clearly faster", &faster), open];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (verdict, format!("of {} pairings the ring between processes was {}", pairings.len(), parts.join("; ")))
}

/// Is the border free? The ring between processes in times of the ring between threads, all told in one sentence.
pub fn border_told(borders: &[Pairing]) -> String {
    let slower = borders.iter().filter(|pairing| pairing.ratio.is_slower()).count();
    let free = match borders.len() {
        0 => return "That could not be timed here".to_owned(),
        _ if slower == 0 => "Yes, as far as could be measured",
        all if slower == all => "No",
        _ => "Not everywhere",
    };
    let each = |pairing: &Pairing| format!("{} {}", three_digits(pairing.ratio.ratio), pairing.occasion());
    let each: Vec<String> = borders.iter().map(each).collect();
    let highs: Option<Vec<f64>> = borders.iter().map(|pairing| pairing.ratio.high).collect();
    let most = highs.and_then(|highs| highs.into_iter().max_by(f64::total_cmp));
    let most = most.map_or(String::new(), |most| format!(" (no interval reaches beyond {})", three_digits(most)));
    format!(
        "{free}: between processes the ring took this many times as long as between threads: {}{most}",
        each.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairing(ratio: f64, clear: bool) -> Pairing {
        let ratio = Ratio { ratio, low: None, high: None, clear };
        Pairing { traffic: Traffic::OneWay, placement: SameCpu, thread: ways::STD, ratio }
    }

    #[test]
    fn the_verdict_follows_from_the_clear_ratios() {
        let (slower, faster, open) = (&pairing(2.0, true), &pairing(0.5, true), &pairing(1.01, false));
        assert_eq!(verdict(&[slower, slower]).0, Holds);
        assert_eq!(verdict(&[slower, open]).0, Qualified);
        assert_eq!(verdict(&[slower, faster]).0, Qualified);
        assert_eq!(verdict(&[faster, open]).0, Refuted);
        assert_eq!(verdict(&[open]).0, Undecided);
        assert_eq!(verdict(&[]).0, Undecided);
    }

    #[test]
    fn the_border_is_free_if_no_pairing_is_clearly_slower() {
        let (slower, open) = (|| pairing(2.0, true), || pairing(1.3, false));
        assert!(border_told(&[open(), open()]).starts_with("Yes"));
        assert!(border_told(&[open(), slower()]).starts_with("Not everywhere"));
        assert!(border_told(&[slower(), slower()]).starts_with("No:"));
        assert!(border_told(&[]).starts_with("That could not"));
    }
}
