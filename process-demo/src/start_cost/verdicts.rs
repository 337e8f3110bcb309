//! What follows for the claims from the times, from what is given, and from how it grows?

use std::fmt;

use shared::Ruling;
use shared::number::{three_digits, with_unit};
use shared::stats::Ratio;

use super::{COMMAND, FORK, THREAD};

/// How long a start takes, in words.
type Cost<'a> = &'a dyn Fn(&str) -> String;

pub fn dearer(ratios: &[(&str, Ratio)], cost: Cost) -> Ruling {
    let slower = ratios.iter().find(|(_, ratio)| ratio.is_slower());
    let faster = ratios.iter().any(|(_, ratio)| ratio.is_faster());
    let each = ratios.iter().map(|(label, _)| format!("{} by {label}, ", cost(label)));
    let because = format!("A start takes {}and {} by {THREAD}", each.collect::<String>(), cost(THREAD));
    match (slower, faster) {
        (Some(_), false) => Ruling::holds(because),
        (Some((label, _)), true) => Ruling::only_if(format!("the process is made by {label}"), because),
        (None, true) => Ruling::refuted(because),
        (None, false) => Ruling::undecided(because + ": too close to call"),
    }
}

pub fn heavier(ratio: &Ratio, given: Option<[Given; 2]>, cost: Cost) -> Ruling {
    let Some([to_thread, to_fork]) = given else { return Ruling::skipped(NOT_COUNTED) };
    let because = format!("A fork takes {}, {to_fork}; a thread {}, {to_thread}", cost(FORK), cost(THREAD));
    match (ratio.is_slower(), ratio.is_faster(), to_fork.is_more_than(&to_thread)) {
        (false, false, _) => Ruling::undecided(because),
        (true, _, true) => Ruling::holds(because),
        (true, _, false) => Ruling::in_part("true of the time, not of both page faults and page tables", because),
        (false, _, true) => Ruling::in_part("true of page faults and page tables, not of the time", because),
        (false, _, false) => Ruling::refuted(because),
    }
}

/// By what is given, and by what each GiB of the parent adds to a fork and to std's Command.
pub fn allocation(given: Option<[Given; 2]>, growth: &[Option<Growth>; 2]) -> Ruling {
    let Some([to_thread, to_fork]) = given else { return Ruling::skipped(NOT_COUNTED) };
    if !to_fork.is_more_than(&to_thread) {
        return Ruling::refuted(format!("A fork takes {to_fork}; a thread {to_thread}"));
    }
    let [Some(fork), Some(command)] = growth else {
        return Ruling::undecided("It could not be measured how both starts grow with the memory of the parent");
    };
    let [to_fork, to_command] = [fork, command].map(Growth::in_words);
    let because = format!("Each GiB of the parent adds {to_fork} to a fork, {to_command} to {COMMAND}");
    let is_material = |growth: &Growth| growth.low > growth.material_ms;
    let is_immaterial = |growth: &Growth| growth.high < growth.material_ms;
    let (label, more, less) = if fork.high < command.low { (COMMAND, command, fork) } else { (FORK, fork, command) };
    match [is_material(more), is_material(less)] {
        [true, true] => Ruling::holds(because),
        [true, false] if less.high < more.low => Ruling::only_if(format!("the process is made by {label}"), because),
        _ if is_immaterial(fork) && is_immaterial(command) => Ruling::refuted(because),
        _ => Ruling::undecided(because),
    }
}

const NOT_COUNTED: &str = "What a thread and a forked child are given could not be counted";

/// What a GiB more costs, with its 95 % interval.
#[derive(Clone, Copy)]
pub struct Growth {
    pub ms_per_gib: f64,
    pub low: f64,
    pub high: f64,
    /// A tenth of the cost with no memory held: what a GiB that counts adds at least.
    pub material_ms: f64,
}

impl Growth {
    pub fn in_words(&self) -> String {
        match (self.low > 0.0, self.high > 0.0) {
            (true, _) => with_unit("ms", self.ms_per_gib),
            (_, true) => format!("at most {}", with_unit("ms", self.high)),
            _ => "nothing measurable".to_owned(),
        }
    }
}

/// What one start takes besides time.
#[derive(Clone, Copy)]
pub struct Given {
    pub page_faults: f64,
    pub page_table_bytes: u64,
}

impl Given {
    fn is_more_than(&self, other: &Given) -> bool {
        self.page_faults > other.page_faults && self.page_table_bytes > other.page_table_bytes
    }
}

impl fmt::Display for Given {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = with_unit("bytes", self.page_table_bytes as f64);
        write!(to, "{} page faults, {tables} of page tables", three_digits(self.page_faults))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::Verdict;

    const LITTLE: Given = Given { page_faults: 1.0, page_table_bytes: 0 };
    const MUCH: Given = Given { page_faults: 27.0, page_table_bytes: 65536 };
    const COST: Cost = &|label| label.to_owned();

    fn ratio(ratio: f64, clear: bool) -> Ratio {
        Ratio { ratio, low: None, high: None, clear }
    }

    #[test]
    fn every_verdict_on_time_can_come_out() {
        let (slower, same, faster) = (ratio(6.0, true), ratio(1.0, false), ratio(0.5, true));
        for (fork, command, verdict) in [
            (slower, slower, Verdict::Holds),
            (slower, same, Verdict::Holds),
            (slower, faster, Verdict::Qualified),
            (same, faster, Verdict::Refuted),
            (same, same, Verdict::Undecided),
        ] {
            assert_eq!(dearer(&[(FORK, fork), (COMMAND, command)], COST).verdict, verdict);
        }
    }

    #[test]
    fn every_verdict_on_weight_can_come_out() {
        for (time, thread, fork, verdict) in [
            (ratio(6.0, true), LITTLE, MUCH, Verdict::Holds),
            (ratio(6.0, true), MUCH, LITTLE, Verdict::Qualified),
            (ratio(0.5, true), LITTLE, MUCH, Verdict::Qualified),
            (ratio(0.5, true), MUCH, LITTLE, Verdict::Refuted),
            (ratio(1.0, false), LITTLE, MUCH, Verdict::Undecided),
        ] {
            assert_eq!(heavier(&time, Some([thread, fork]), COST).verdict, verdict);
        }
        assert_eq!(heavier(&ratio(6.0, true), None, COST).verdict, Verdict::Skipped);
        assert_eq!(allocation(None, &[None, None]).verdict, Verdict::Skipped);
        assert_eq!(allocation(Some([LITTLE, MUCH]), &[None, None]).verdict, Verdict::Undecided);
        assert_eq!(allocation(Some([MUCH, LITTLE]), &[None, None]).verdict, Verdict::Refuted);
    }

    #[test]
    fn every_verdict_on_growth_can_come_out() {
        let growth = |low, high| Some(Growth { ms_per_gib: f64::midpoint(low, high), low, high, material_ms: 0.1 });
        let (grows, grows_little, flat, open) =
            (growth(18.0, 22.0), growth(0.5, 0.6), growth(-0.1, 0.05), growth(-5.0, 30.0));
        for (fork, command, verdict) in [
            (grows, grows_little, Verdict::Holds),
            (grows, flat, Verdict::Qualified),
            (flat, grows, Verdict::Qualified),
            (flat, flat, Verdict::Refuted),
            (grows, open, Verdict::Undecided),
            (open, flat, Verdict::Undecided),
        ] {
            assert_eq!(allocation(Some([LITTLE, MUCH]), &[fork, command]).verdict, verdict);
        }
    }

    #[test]
    fn a_growth_is_told_with_what_is_known_of_it() {
        let growth = |ms_per_gib, low, high| Growth { ms_per_gib, low, high, material_ms: 0.1 };
        let (clear, open, none) = (growth(20.0, 18.0, 22.0), growth(3.0, -2.0, 8.0), growth(-0.1, -0.2, -0.01));
        assert_eq!(clear.in_words(), "20.0 ms");
        assert_eq!(open.in_words(), "at most 8.00 ms");
        assert_eq!(none.in_words(), "nothing measurable");
    }
}
