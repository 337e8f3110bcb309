//! What follows for the claims from what one more idle one takes?

use anyhow::Result;
use shared::number::with_unit;
use shared::stats::Median;
use shared::{Claim, Stage, Verdict};

use super::crowd::Kind;
use super::per_unit::{Figure, Units};

/// The smallest page that any machine has.
const PAGE_BYTES: f64 = 4096.0;

type Judged = (Verdict, String);

pub fn give(stage: &mut Stage, units: &Units) -> Result<()> {
    let of = |kind| Some((units.slope(kind, Figure::Rss)?, units.slope(kind, Figure::Uss)?));
    let (verdict, mut because) = needs(of(Kind::Fork), of(Kind::Program));
    if let (Some((rss, _)), Some(share)) = (of(Kind::Fork), units.weight(Kind::Fork)) {
        let [by_rss, taken] = [rss, share].map(|slope| with_unit("bytes", slope.value * 100.0));
        because += &format!("; a hundred forked ones would take {taken}, where the sum of RSS says {by_rss}");
    }
    stage.verdict(Claim::ProcessesNeedMemory, verdict, because)?;
    let [thread, fork, program] = Kind::ALL.map(|kind| units.weight(kind));
    let (verdict, because) = heavier(thread, fork, program);
    stage.verdict(Claim::ProcessesAreHeavier, verdict, because)
}

/// By what is resident of each, and what of that is its own alone.
fn needs(fork: Option<(Median, Median)>, program: Option<(Median, Median)>) -> Judged {
    let (Some(fork), Some(program)) = (fork, program) else {
        return (Verdict::Skipped, "processes could not be made".to_owned());
    };
    let both = [fork, program];
    let has_a_page = |(_, uss): (Median, Median)| low(uss) >= PAGE_BYTES;
    let mostly_own = |(rss, uss): (Median, Median)| has_a_page((rss, uss)) && low(uss) >= high(rss) / 2.0;
    let mostly_shared = |(rss, uss): (Median, Median)| high(uss) < low(rss) / 2.0;
    let verdict = if both.into_iter().all(mostly_own) {
        Verdict::Holds
    } else if both.into_iter().all(|(_, uss)| high(uss) < PAGE_BYTES) {
        Verdict::Refuted
    } else if both.into_iter().any(has_a_page) && both.into_iter().any(mostly_shared) {
        Verdict::Qualified
    } else {
        Verdict::Undecided
    };
    let says = |kind: Kind, (rss, uss): (Median, Median)| {
        let (rss, uss) = (in_words(rss), in_words(uss));
        format!("one more {} has {rss} resident, of which {uss} are its own alone", kind.label())
    };
    (verdict, format!("{}; {}", says(Kind::Fork, fork), says(Kind::Program, program)))
}

/// By share and page tables.
fn heavier(thread: Option<Median>, fork: Option<Median>, program: Option<Median>) -> Judged {
    let (Some(thread), Some(fork), Some(program)) = (thread, fork, program) else {
        return (Verdict::Skipped, "threads or processes could not be made".to_owned());
    };
    let more = [fork, program].into_iter().filter(|process| low(*process) > high(thread)).count();
    let not_more = [fork, program].into_iter().filter(|process| high(*process) <= low(thread)).count();
    let verdict = match (more, not_more) {
        (2, _) => Verdict::Holds,
        (1, 1) => Verdict::Qualified,
        (_, 2) => Verdict::Refuted,
        _ => Verdict::Undecided,
    };
    let [thread, fork, program] = [thread, fork, program].map(in_words);
    let because = format!("an idle thread takes {thread}, a forked process {fork}, a program {program}");
    (verdict, because)
}

/// Without an interval, anything is possible.
fn low(slope: Median) -> f64 {
    slope.low.unwrap_or(f64::NEG_INFINITY)
}

fn high(slope: Median) -> f64 {
    slope.high.unwrap_or(f64::INFINITY)
}

fn in_words(slope: Median) -> String {
    with_unit("bytes", slope.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(value: f64) -> Median {
        Median { value, low: Some(value * 0.9), high: Some(value * 1.1) }
    }

    #[test]
    fn every_verdict_can_come_out() {
        let process = |rss, uss| Some((about(rss), about(uss)));
        let cases = [
            (process(1e6, 8e5), process(1e6, 9e5), Verdict::Holds),
            (process(1e6, 1e5), process(1e6, 9e5), Verdict::Qualified),
            (process(1e6, 1e2), process(1e6, 1e5), Verdict::Qualified),
            (process(1e6, 1e2), process(1e6, 0.0), Verdict::Refuted),
            (process(1e6, 5e5), process(1e6, 9e5), Verdict::Undecided),
            (None, process(1e6, 9e5), Verdict::Skipped),
        ];
        for (fork, program, verdict) in cases {
            assert_eq!(needs(fork, program).0, verdict);
        }
        let thread = Some(about(1e4));
        let cases = [(1e5, 1e5, Verdict::Holds), (1e3, 1e5, Verdict::Qualified), (1e3, 1e3, Verdict::Refuted)];
        for (fork, program, verdict) in cases.into_iter().chain([(1e4, 1e5, Verdict::Undecided)]) {
            assert_eq!(heavier(thread, Some(about(fork)), Some(about(program))).0, verdict);
        }
        assert_eq!(heavier(None, thread, thread).0, Verdict::Skipped);
    }
}
