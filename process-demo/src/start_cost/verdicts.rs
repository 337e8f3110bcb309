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
    let slower = ratios.iter().any(|(_, ratio)| is_slower(ratio));
    let faster = ratios.iter().any(|(_, ratio)| is_faster(ratio));
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
    let verdict = match (is_slower(&ratio), is_faster(&ratio), gives_more(fork, thread)) {
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
    let growing = known.iter().filter(|(_, growth)| growth.is_material()).count();
    let flat = known.iter().filter(|(_, growth)| growth.is_immaterial()).count();
    let verdict = match (growing, flat) {
        _ if known.len() < 2 => Verdict::Undecided,
        (2, _) => Verdict::Holds,
        (1, _) => Verdict::Qualified,
        (_, 2) => Verdict::Refuted,
        _ => Verdict::Undecided,
    };
    let each = known.iter().map(|(label, growth)| {
        let (base, more) = (with_unit("ms", growth.base_ms), growth.in_words());
        format!("{label} takes {base}, and each GiB that its maker holds adds {more}")
    });
    (verdict, [given].into_iter().chain(each).collect::<Vec<_>>().join("; "))
}

fn is_slower(ratio: &Ratio) -> bool {
    ratio.clear && ratio.ratio > 1.0
}

fn is_faster(ratio: &Ratio) -> bool {
    ratio.clear && ratio.ratio < 1.0
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
