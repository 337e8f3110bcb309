//! What follows for the claims from the times, the counts and the slopes?

use anyhow::Result;
use shared::number::{three_digits, with_unit};
use shared::stats::Ratio;
use shared::{Claim, Stage, Verdict};

use super::counted::{Counts, Given};
use super::growth::{Growth, Sizes};
use super::ways::{self, Times};

pub fn give(stage: &mut Stage, times: &Times, counts: &Counts, sizes: &Sizes) -> Result<()> {
    let ratios: Vec<(&str, Ratio)> = [ways::FORK, ways::COMMAND]
        .into_iter()
        .filter_map(|label| Some((label, times.against_thread(label)?)))
        .collect();
    let (verdict, because) = dearer(&ratios);
    stage.verdict(Claim::ProcessCreationDearer, verdict, because)?;
    let fork = times.against_thread(ways::FORK);
    let (verdict, because) = heavier(fork, counts);
    stage.verdict(Claim::ProcessesAreHeavier, verdict, because)?;
    let (verdict, because) = allocation(counts, sizes);
    stage.verdict(Claim::AllocationIsTheCost, verdict, because)
}

type Judged = (Verdict, String);

fn dearer(ratios: &[(&str, Ratio)]) -> Judged {
    let slower = ratios.iter().any(|(_, ratio)| ratio.is_slower());
    let faster = ratios.iter().any(|(_, ratio)| ratio.is_faster());
    let verdict = match (slower, faster) {
        _ if ratios.is_empty() => Verdict::Skipped,
        (true, false) => Verdict::Holds,
        (true, true) => Verdict::Qualified,
        (false, true) => Verdict::Refuted,
        (false, false) => Verdict::Undecided,
    };
    let each: Vec<String> = ratios.iter().map(|(label, ratio)| format!("{label} takes {}", in_words(ratio))).collect();
    (verdict, if each.is_empty() { "no process could be made".to_owned() } else { each.join(", ") })
}

fn heavier(fork: Option<Ratio>, counts: &Counts) -> Judged {
    let (Some(ratio), Some(thread), Some(fork)) = (fork, counts.thread, counts.fork) else {
        return (Verdict::Skipped, "a forked child or a thread could not be measured or counted".to_owned());
    };
    let verdict = match (ratio.is_slower(), ratio.is_faster(), gives_more(fork, thread)) {
        (false, false, _) => Verdict::Undecided,
        (true, _, true) => Verdict::Holds,
        (false, _, false) => Verdict::Refuted,
        _ => Verdict::Qualified,
    };
    (verdict, format!("a fork takes {}; {}", in_words(&ratio), side_by_side(fork, thread)))
}

fn allocation(counts: &Counts, sizes: &Sizes) -> Judged {
    let (Some(thread), Some(fork)) = (counts.thread, counts.fork) else {
        return (Verdict::Skipped, "what a forked child and a thread are given could not be counted".to_owned());
    };
    let given = side_by_side(fork, thread);
    if !gives_more(fork, thread) {
        return (Verdict::Refuted, given);
    }
    let known: Vec<(&str, Growth)> = [(ways::FORK, sizes.fork), (ways::COMMAND, sizes.command)]
        .into_iter()
        .filter_map(|(label, growth)| Some((label, growth.filter(|growth| growth.ms_per_gib.low.is_some())?)))
        .collect();
    let verdict = match known.as_slice() {
        [(_, fork), (_, command)] => by_growth(fork, command),
        _ => Verdict::Undecided,
    };
    let each = known.iter().map(|(label, growth)| {
        let (base, more) = (with_unit("ms", growth.base_ms), growth.in_words());
        format!("{label} by a maker that holds nothing more takes {base}, and each GiB that it holds adds {more}")
    });
    (verdict, [given].into_iter().chain(each).collect::<Vec<_>>().join("; "))
}

fn by_growth(fork: &Growth, command: &Growth) -> Verdict {
    let (more, less) = if fork.is_clearly_less_than(command) { (command, fork) } else { (fork, command) };
    if more.is_material() && less.is_material() {
        Verdict::Holds
    } else if more.is_material() && less.is_clearly_less_than(more) {
        Verdict::Qualified
    } else if more.is_immaterial() && less.is_immaterial() {
        Verdict::Refuted
    } else {
        Verdict::Undecided
    }
}

/// More page faults and more page tables.
fn gives_more(fork: Given, thread: Given) -> bool {
    fork.page_faults > thread.page_faults && fork.page_table_bytes > thread.page_table_bytes
}

fn side_by_side(fork: Given, thread: Given) -> String {
    format!(
        "a forked child takes {} page faults and {} of page tables, a thread {} and {}",
        three_digits(fork.page_faults),
        with_unit("bytes", fork.page_table_bytes as f64),
        three_digits(thread.page_faults),
        with_unit("bytes", thread.page_table_bytes as f64)
    )
}

fn in_words(ratio: &Ratio) -> String {
    let times = format!("{} times as long as a thread", three_digits(ratio.ratio));
    if ratio.clear { times } else { format!("{times}, too close to call") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::stats::Median;

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
            assert_eq!(dearer(&[(ways::FORK, fork), (ways::COMMAND, command)]).0, verdict);
        }
        assert_eq!(dearer(&[]).0, Verdict::Skipped);
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
            assert_eq!(heavier(Some(time), &Counts { thread: Some(thread), fork: Some(fork) }).0, verdict);
        }
        assert_eq!(heavier(None, &Counts { thread: Some(little), fork: Some(much) }).0, Verdict::Skipped);
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
            assert_eq!(by_growth(&fork, &command), verdict);
        }
    }
}
