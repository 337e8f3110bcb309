//! What follows for the claims from the times, the counts and the slopes?

use anyhow::Result;
use shared::number::{three_digits, with_unit};
use shared::stats::Ratio;
use shared::{Claim, Ruling, Stage};

use super::counted::{Counts, Given};
use super::growth::{Growth, Sizes};
use super::ways::{self, Times};

pub fn give(stage: &mut Stage, times: &Times, counts: &Counts, sizes: &Sizes) -> Result<()> {
    let ratios = [ways::FORK, ways::COMMAND].map(|label| Some((label, times.against_thread(label)?)));
    let ratios: Vec<(&str, Ratio)> = ratios.into_iter().flatten().collect();
    let cost = |label: &str| times.median_ns(label).map_or("an unknown time".to_owned(), |ns| with_unit("ns", ns));
    stage.rule(Claim::ProcessCreationDearer, dearer(&ratios, &cost))?;
    stage.rule(Claim::ProcessesAreHeavier, heavier(times.against_thread(ways::FORK), counts, &cost))?;
    stage.rule(Claim::AllocationIsTheCost, allocation(counts, sizes))
}

/// How long a start takes, in words.
type Cost<'a> = &'a dyn Fn(&str) -> String;

fn dearer(ratios: &[(&str, Ratio)], cost: Cost) -> Ruling {
    let slower = ratios.iter().find(|(_, ratio)| ratio.is_slower());
    let faster = ratios.iter().any(|(_, ratio)| ratio.is_faster());
    let each = ratios.iter().map(|(label, ratio)| format!("{} by {label}{}, ", cost(label), doubt(ratio)));
    let because = format!("A start takes {}and {} by {}", each.collect::<String>(), cost(ways::THREAD), ways::THREAD);
    match (slower, faster) {
        _ if ratios.is_empty() => Ruling::skipped("No process could be timed beside a thread"),
        (Some(_), false) => Ruling::holds(because),
        (Some((label, _)), true) => Ruling::only_if(made_by(label), because),
        (None, true) => Ruling::refuted(because),
        (None, false) => Ruling::undecided(because),
    }
}

fn heavier(ratio: Option<Ratio>, counts: &Counts, cost: Cost) -> Ruling {
    let (Some(ratio), Some(thread), Some(fork)) = (ratio, counts.thread, counts.fork) else {
        return Ruling::skipped("A forked child or a thread could not be measured or counted");
    };
    let more = gives_more(fork, thread);
    let [of_fork, of_thread] = if more { [fork, thread].map(faults) } else { [fork, thread].map(faults_and_tables) };
    let (fork, thread) = (cost(ways::FORK), cost(ways::THREAD));
    let because = format!("A fork takes {fork}{} and {of_fork}, a thread {thread} and {of_thread}", doubt(&ratio));
    match (ratio.is_slower(), ratio.is_faster(), more) {
        (false, false, _) => Ruling::undecided(because),
        (true, _, true) => Ruling::holds(because),
        (true, _, false) => Ruling::in_part("true of the time, not of both page faults and page tables", because),
        (false, _, true) => Ruling::in_part("true of page faults and page tables, not of the time", because),
        (false, _, false) => Ruling::refuted(because),
    }
}

fn allocation(counts: &Counts, sizes: &Sizes) -> Ruling {
    let (Some(thread), Some(fork)) = (counts.thread, counts.fork) else {
        return Ruling::skipped("What a forked child and a thread are given could not be counted");
    };
    if !gives_more(fork, thread) {
        let [fork, thread] = [fork, thread].map(faults_and_tables);
        return Ruling::refuted(format!("A forked child takes {fork}, a thread {thread}"));
    }
    let known = |growth: Option<Growth>| growth.filter(|growth| growth.ms_per_gib.low.is_some());
    match (known(sizes.fork), known(sizes.command)) {
        (Some(fork), Some(command)) => by_growth(&fork, &command),
        _ => Ruling::undecided("It could not be measured how both starts grow with the memory of the parent"),
    }
}

fn by_growth(fork: &Growth, command: &Growth) -> Ruling {
    let (label, more, less) =
        if fork.is_clearly_less_than(command) { (ways::COMMAND, command, fork) } else { (ways::FORK, fork, command) };
    let because = |adds: fn(&Growth) -> String| {
        let (to_fork, to_command) = (adds(fork), adds(command));
        format!("Each GiB of the parent adds {to_fork} to a fork, {to_command} to {}", ways::COMMAND)
    };
    if more.is_material() && less.is_material() {
        Ruling::holds(because(Growth::in_short))
    } else if more.is_material() && less.is_clearly_less_than(more) {
        Ruling::only_if(made_by(label), because(Growth::in_short))
    } else if more.is_immaterial() && less.is_immaterial() {
        Ruling::refuted(because(Growth::in_words))
    } else {
        Ruling::undecided(because(Growth::in_words))
    }
}

fn made_by(label: &str) -> String {
    format!("the process is made by {label}")
}

/// More page faults and more page tables.
fn gives_more(fork: Given, thread: Given) -> bool {
    fork.page_faults > thread.page_faults && fork.page_table_bytes > thread.page_table_bytes
}

fn faults(given: Given) -> String {
    format!("{} page faults", three_digits(given.page_faults))
}

fn faults_and_tables(given: Given) -> String {
    format!("{}, {} of page tables", faults(given), with_unit("bytes", given.page_table_bytes as f64))
}

fn doubt(ratio: &Ratio) -> &'static str {
    if ratio.clear { "" } else { " (too close to call)" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::Verdict;
    use shared::stats::Median;

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
            assert_eq!(dearer(&[(ways::FORK, fork), (ways::COMMAND, command)], COST).verdict, verdict);
        }
        assert_eq!(dearer(&[], COST).verdict, Verdict::Skipped);
    }

    #[test]
    fn every_verdict_on_weight_can_come_out() {
        let (little, much) =
            (Given { page_faults: 1.0, page_table_bytes: 0 }, Given { page_faults: 27.0, page_table_bytes: 65536 });
        for (time, thread, fork, verdict) in [
            (ratio(6.0, true), little, much, Verdict::Holds),
            (ratio(6.0, true), much, little, Verdict::Qualified),
            (ratio(0.5, true), little, much, Verdict::Qualified),
            (ratio(0.5, true), much, little, Verdict::Refuted),
            (ratio(1.0, false), little, much, Verdict::Undecided),
        ] {
            assert_eq!(heavier(Some(time), &Counts { thread: Some(thread), fork: Some(fork) }, COST).verdict, verdict);
        }
        assert_eq!(heavier(None, &Counts { thread: Some(little), fork: Some(much) }, COST).verdict, Verdict::Skipped);
    }

    #[test]
    fn every_verdict_on_growth_can_come_out() {
        let growth = |low, high| {
            let value = f64::midpoint(low, high);
            Growth { base_ms: 1.0, ms_per_gib: Median { value, low: Some(low), high: Some(high) } }
        };
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
            assert_eq!(by_growth(&fork, &command).verdict, verdict);
        }
    }
}
