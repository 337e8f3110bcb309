//! Is a mechanism slower between processes than between threads?

use process_demo::duel::Between::{Processes, Threads};
use shared::measure::Measured;
use shared::number::three_digits;
use shared::stats::Ratio;
use shared::{
    Placement::{self, OtherCpu, SameCpu},
    Ruling,
};

use super::{Placed, median_ns};
use crate::mechanisms::{CHANNELS, MECHANISMS, Mechanism, RING, Waits};

/// Something between processes, set against something between threads.
pub struct Case {
    pub placement: Placement,
    pub against: Against,
    pub ratio: Ratio,
}

/// What stands between the threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// The same mechanism, which asks the kernel for each message.
    ItselfByKernel,
    /// The same mechanism, by memory.
    ItselfByMemory,
    /// A channel, against the ring.
    Channel,
}

/// At each placement: every mechanism between processes against the same between threads; and the ring between processes
/// against the fastest channel between threads.
pub fn cases(all: &[Placed]) -> Vec<Case> {
    // Of thirty comparisons at 99 % each, one is clear by chance every few runs.
    let together = all.len() * (MECHANISMS.iter().filter(|one| one.is_for_threads_and_processes()).count() + 1);
    let of = |(placement, measured): &Placed| {
        let placement = *placement;
        let case = |against, process: &str, thread: &str| {
            let (processes, threads) = (Processes.label(process), Threads.label(thread));
            let ratio = measured.ratio_among(together, &processes, &threads, placement)?;
            Some(Case { placement, against, ratio })
        };
        let itself = |one: &Mechanism| {
            let by_kernel = one.waits == Waits::Asleep;
            case(if by_kernel { Against::ItselfByKernel } else { Against::ItselfByMemory }, one.name, one.name)
        };
        let channel = fastest_channel(measured, placement).and_then(|name| case(Against::Channel, RING, name));
        MECHANISMS.iter().filter_map(itself).chain(channel).collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

/// The channel between threads with the smallest median; none if all were skipped.
pub fn fastest_channel(measured: &Measured, placement: Placement) -> Option<&'static str> {
    let with_median = |name| Some((median_ns(measured, &Threads.label(name), placement)?, name));
    let fastest = CHANNELS.into_iter().filter_map(with_median).min_by(|(one, _), (other, _)| one.total_cmp(other));
    fastest.map(|(_, name)| name)
}

/// Does it add overhead? By how many of the cases show the processes clearly slower.
pub fn ruling(cases: &[Case]) -> Ruling {
    let slower: Vec<f64> = cases.iter().map(|case| case.ratio).filter(Ratio::is_slower).map(|one| one.ratio).collect();
    // That a ring beats a channel says nothing of the border: only a mechanism beside itself can refute.
    let alike = cases.iter().filter(|case| case.against != Against::Channel);
    let faster: Vec<f64> = alike.map(|case| case.ratio).filter(Ratio::is_faster).map(|one| one.ratio).collect();
    let (all, most) = (cases.len(), three_digits(slower.iter().copied().fold(1.0, f64::max)));
    let ruling = match (slower.len(), faster.len()) {
        _ if all == 0 => Ruling::undecided("Nothing could be measured"),
        (some, _) if some == all => {
            Ruling::holds(format!("Processes are clearly slower in all {all} comparisons, up to {most} times"))
        }
        (1.., _) => under_a_condition(cases, &most),
        (0, 0) => Ruling::undecided(format!("In {all} comparisons no mechanism is clearly slower or faster")),
        (0, some) => {
            let most = three_digits(1.0 / faster.iter().copied().fold(1.0, f64::min));
            let none = format!("None of {all} comparisons is clearly slower between processes");
            Ruling::refuted(format!("{none}; clearly faster: {some}, up to {most} times"))
        }
    };
    ruling.by(slower.len() as f64, "comparisons clearly slower")
}

/// What all slower cases have in common; else where they are.
fn under_a_condition(cases: &[Case], most: &str) -> Ruling {
    let of = |is: &dyn Fn(&Case) -> bool| {
        let those = || cases.iter().filter(|case| is(case));
        (those().filter(|case| case.ratio.is_slower()).count(), those().count())
    };
    let (slower, all) = of(&|_| true);
    let (by_kernel, of_kernel) = of(&|case| case.against == Against::ItselfByKernel);
    let (on_one, of_one) = of(&|case| case.placement == SameCpu);
    let (on_two, of_two) = of(&|case| case.placement == OtherCpu);
    let (beside_channels, of_channels) = of(&|case| case.against == Against::Channel);
    if by_kernel == slower && by_kernel * 2 > of_kernel {
        let rest = all - of_kernel;
        let because = format!("There {by_kernel} of {of_kernel} comparisons are clearly slower, up to {most} times");
        Ruling::only_if("it goes through the kernel", format!("{because}; of the {rest} others none is"))
    } else if on_one == slower && of_two > 0 {
        let because = format!("There {on_one} of {of_one} comparisons are clearly slower, up to {most} times");
        Ruling::only_if("both sides share one CPU", format!("{because}; on two CPUs none of {of_two} is"))
    } else if beside_channels == slower {
        let because = format!("The ring is clearly slower in {slower} of {of_channels} comparisons with a channel");
        let condition = "compared with a channel between threads";
        Ruling::only_if(condition, format!("{because}, up to {most} times; the same mechanism never is"))
    } else {
        let where_slower = match of_two {
            0 => format!("in {on_one} of {of_one} comparisons on one CPU"),
            _ => format!("in {on_two} of {of_two} comparisons on two CPUs, {on_one} of {of_one} on one CPU"),
        };
        let by_ratio = |one: &&Case, other: &&Case| one.ratio.ratio.total_cmp(&other.ratio.ratio);
        let worst = cases.iter().filter(|case| case.ratio.is_slower()).max_by(by_ratio);
        let what = match worst.map(|case| case.against) {
            Some(Against::Channel) => "ring beside channel",
            _ => "same mechanism",
        };
        Ruling::in_part(where_slower, format!("There processes are slower, up to {most} times ({what})"))
    }
}

#[cfg(test)]
mod tests {
    use shared::Verdict::{Holds, Qualified, Refuted, Undecided};

    use super::*;
    use Against::{Channel, ItselfByKernel, ItselfByMemory};

    fn case(placement: Placement, against: Against, ratio: f64, clear: bool) -> Case {
        Case { placement, against, ratio: Ratio { ratio, low: None, high: None, clear } }
    }

    fn pipe(ratio: f64, clear: bool) -> Case {
        case(SameCpu, ItselfByKernel, ratio, clear)
    }

    #[test]
    fn the_verdict_follows_from_the_clear_ratios() {
        let verdict = |cases: &[Case]| ruling(cases).verdict;
        let (slower, faster, open) = (|| pipe(2.0, true), || pipe(0.5, true), || pipe(1.01, false));
        assert_eq!(verdict(&[slower(), slower()]), Holds);
        assert_eq!(verdict(&[slower(), open()]), Qualified);
        assert_eq!(verdict(&[slower(), faster()]), Qualified);
        assert_eq!(verdict(&[faster(), open()]), Refuted);
        assert_eq!(verdict(&[open()]), Undecided);
        assert_eq!(verdict(&[]), Undecided);
    }

    #[test]
    fn the_condition_is_what_all_slower_cases_have_in_common() {
        let says = |cases: &[Case]| ruling(cases).condition.unwrap().says;
        let ring = |placement| case(placement, ItselfByMemory, 1.0, false);
        let channel = |placement, ratio, clear| case(placement, Channel, ratio, clear);
        assert_eq!(says(&[pipe(1.1, true), ring(SameCpu), ring(OtherCpu)]), "it goes through the kernel");
        let two_of_four = [pipe(1.1, true), pipe(1.1, true), pipe(1.0, false), pipe(1.0, false), ring(OtherCpu)];
        assert_eq!(says(&two_of_four), "both sides share one CPU");
        assert_eq!(says(&two_of_four[..4]), "in 2 of 4 comparisons on one CPU");
        let channels = [channel(SameCpu, 2.0, true), channel(OtherCpu, 2.0, true), ring(OtherCpu)];
        assert_eq!(says(&channels), "compared with a channel between threads");
        let mixed = [channel(OtherCpu, 4.0, true), ring(OtherCpu), pipe(1.1, true), pipe(1.0, false)];
        assert_eq!(says(&mixed), "in 1 of 2 comparisons on two CPUs, 1 of 2 on one CPU");
    }

    #[test]
    fn the_reason_has_the_largest_clear_ratio() {
        let cases = [pipe(1.1, true), pipe(2.0, true), pipe(0.5, true), pipe(3.0, false)];
        let because = "There processes are slower, up to 2.00 times (same mechanism)";
        assert_eq!(ruling(&cases).because, because);
    }
}
