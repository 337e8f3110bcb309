//! Two threads add one each. Can the total be one?

mod cost;
mod trials;

use anyhow::Result;
use shared::number::count;
use shared::{Claim, Demo, Extras, Snippet, Stage, Verdict};

use trials::{Forced, Kept, THREADS};

pub const DEMO: Demo = Demo {
    name: "lost-update",
    question: "Two threads add one each. Can the total be one?",
    claims: &[Claim::SharedVariablesRace, Claim::SynchronizationPreventsInterference],
    rule: "Shared variables race if every forced try lost an addition and the same two additions, one after the other, \
           lost none; they do not if neither force nor luck lost any; anything else is undecided. \
           Synchronization prevents interference if every fix kept every addition; one lost addition refutes it.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "race-demo/snippets/lost_update.rs", text: include_str!("../snippets/lost_update.rs") },
        Snippet { path: "race-demo/snippets/owned_counter.rs", text: include_str!("../snippets/owned_counter.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note("To add one is to read the total, add, and write it back. Here both threads read before either writes.");
    let Forced { tries, lost, lost_in_order } = trials::force(stage);
    let (luck, widened) = trials::try_luck(stage);
    let Kept { sent, total } = trials::fix(stage);
    let prices = cost::compare(stage)?;

    let race = match (lost, lost_in_order, luck.lost + widened.lost) {
        (all, 0, _) if all == tries => Verdict::Holds,
        (0, 0, 0) => Verdict::Refuted,
        _ => Verdict::Undecided,
    };
    let because =
        format!("with both reads before either write, {lost} of {tries} pairs lost one of their two additions");
    stage.verdict_by(Claim::SharedVariablesRace, race, because, lost as f64 / tries as f64, "of tries")?;
    let prevented = if total == sent { Verdict::Holds } else { Verdict::Refuted };
    let (total, sent) = (count(total), count(sent));
    let because = format!("the four fixes kept {total} of {sent} additions by {THREADS} threads");
    stage.verdict(Claim::SynchronizationPreventsInterference, prevented, because)?;
    let can = if lost > 0 { "Yes" } else { "It was not seen" };
    let luck = luck.in_words();
    stage.answer(format!(
        "{can}: when both read first, the total was one in {lost} of {tries} tries; {luck}; the fixes kept {total} of \
         {sent} additions; {prices}."
    ));
    Ok(())
}
