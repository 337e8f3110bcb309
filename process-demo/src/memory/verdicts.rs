//! What follows for the claims from what one more idle one takes?

use anyhow::Result;
use shared::number::with_unit;
use shared::stats::Median;
use shared::{Claim, Ruling, Stage};

use super::crowd::Kind;
use super::per_unit::{Figure, Units};

/// The smallest page that any machine has.
const PAGE_BYTES: f64 = 4096.0;

pub fn give(stage: &mut Stage, units: &Units) -> Result<()> {
    let of = |kind| Some((units.slope(kind, Figure::Rss)?, units.slope(kind, Figure::Uss)?));
    stage.rule(Claim::ProcessesNeedMemory, needs(of(Kind::Fork), of(Kind::Program)))?;
    if let (Some((rss, _)), Some(share)) = (of(Kind::Fork), units.weight(Kind::Fork)) {
        let [by_rss, taken] = [rss, share].map(|slope| with_unit("bytes", slope.value * 100.0));
        stage.note(format!("A hundred forked processes would take {taken}, where the sum of RSS says {by_rss}."));
    }
    let [thread, fork, program] = Kind::ALL.map(|kind| units.weight(kind));
    stage.rule(Claim::ProcessesAreHeavier, heavier(thread, fork, program))
}

/// By what is resident of each, and what of that is its own alone.
fn needs(fork: Option<(Median, Median)>, program: Option<(Median, Median)>) -> Ruling {
    let (Some(fork), Some(program)) = (fork, program) else {
        return Ruling::skipped("Processes could not be made");
    };
    let both = [fork, program];
    let has_a_page = |(_, uss): (Median, Median)| low(uss) >= PAGE_BYTES;
    let mostly_own = |(rss, uss): (Median, Median)| has_a_page((rss, uss)) && low(uss) >= high(rss) / 2.0;
    let mostly_shared = |(rss, uss): (Median, Median)| high(uss) < low(rss) / 2.0;
    let [of_fork, of_program] =
        both.map(|(rss, uss)| format!("{} to itself of {} resident", in_words(uss), in_words(rss)));
    let because = format!("A forked process has {of_fork}, a program {of_program}");
    let share = match both.map(mostly_shared) {
        [true, true] => Some("a forked process and a program share most of their memory"),
        [true, false] => Some("a forked process shares most of its memory"),
        [false, true] => Some("a program shares most of its memory"),
        [false, false] => None,
    };
    if both.into_iter().all(mostly_own) {
        return Ruling::holds(because);
    }
    if both.into_iter().all(|(_, uss)| high(uss) < PAGE_BYTES) {
        return Ruling::refuted(because);
    }
    match share {
        Some(share) if both.into_iter().any(has_a_page) => Ruling::in_part(share, because),
        _ => Ruling::undecided(because),
    }
}

/// By share and page tables.
fn heavier(thread: Option<Median>, fork: Option<Median>, program: Option<Median>) -> Ruling {
    let (Some(thread), Some(fork), Some(program)) = (thread, fork, program) else {
        return Ruling::skipped("Threads or processes could not be made");
    };
    let is_heavier = [fork, program].map(|process| low(process) > high(thread));
    let is_not = [fork, program].map(|process| high(process) <= low(thread));
    let [of_thread, of_fork, of_program] = [thread, fork, program].map(in_words);
    let because = format!("An idle thread takes {of_thread}, a forked process {of_fork}, a program {of_program}");
    match (is_heavier, is_not) {
        ([true, true], _) => Ruling::holds(because),
        ([true, _], [_, true]) => Ruling::in_part("true of a forked process, not of a program", because),
        ([_, true], [true, _]) => Ruling::in_part("true of a program, not of a forked process", because),
        (_, [true, true]) => Ruling::refuted(because),
        _ => Ruling::undecided(because),
    }
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
    use shared::Verdict;

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
            assert_eq!(needs(fork, program).verdict, verdict);
        }
        let thread = Some(about(1e4));
        let cases = [(1e5, 1e5, Verdict::Holds), (1e3, 1e5, Verdict::Qualified), (1e3, 1e3, Verdict::Refuted)];
        for (fork, program, verdict) in cases.into_iter().chain([(1e4, 1e5, Verdict::Undecided)]) {
            assert_eq!(heavier(thread, Some(about(fork)), Some(about(program))).verdict, verdict);
        }
        assert_eq!(heavier(None, thread, thread).verdict, Verdict::Skipped);
    }
}
