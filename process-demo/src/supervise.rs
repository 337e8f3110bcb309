//! What does a supervisor save when its workers crash and hang?

mod declared;
mod drained;
mod jobs;
mod maker;
mod pieces;
mod queue;
mod table;
mod troubles;
mod words;

use std::time::Duration;

use anyhow::Result;
use shared::number::{chosen_with_unit, count, three_digits, with_unit};
use shared::{Claim, Demo, Extras, Snippet, Stage, Verdict, stats};

use declared::Declared;
use drained::Drained;
use pieces::Pieces;
use queue::Outcome;
use troubles::{Saved, Troubles};

pub const DEMO: Demo = Demo {
    name: "supervise",
    question: "What does a supervisor save when its workers crash and hang?",
    claims: &[Claim::RunsIndependently, Claim::ProcessesSuitIndependentTasks],
    rule: "A process runs on independently if both workers go on while their maker is stopped, and the one declared to run \
           on goes on after its maker's death; qualified if only one of the two is so; refuted if neither is. Processes \
           suit independent tasks if every task is done, with the right result, although workers crash and hang, and no \
           lost worker costs more than the task that it had in hand; qualified if every task is done, but more is begun \
           again; refuted if a task is not done.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/supervisor.rs", text: include_str!("../snippets/supervisor.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let pieces = Pieces::read()?;
    let troubles = troubles::show(stage, &pieces)?;
    let drained = drained::show(stage, &pieces)?;
    stage.table(table::of(&troubles, &drained));
    match declared::show(stage, &pieces) {
        Ok(declared) => judge_independence(stage, &declared)?,
        Err(error) => {
            let why = shared::refused(&error).ok_or(error)?;
            stage.verdict(Claim::RunsIndependently, Verdict::Skipped, why)?;
        }
    }
    let saved = troubles.saved();
    judge_suitability(stage, &saved)?;
    stage.answer(answer(&troubles, &saved, &drained));
    Ok(())
}

fn judge_independence(stage: &mut Stage, declared: &Declared) -> Result<()> {
    let Declared { tasks, while_stopped, after_death, ended } = declared;
    let verdict = match (*while_stopped == 2 * tasks, after_death == tasks) {
        (true, true) => Verdict::Holds,
        (false, false) => Verdict::Refuted,
        _ => Verdict::Qualified,
    };
    let other = if *ended { "ended with it" } else { "did not end with it" };
    let because = format!(
        "two workers did {} tasks while their maker was stopped, and one did {} more after it was killed; the one \
         declared to end with its maker {other}",
        count(*while_stopped as u64),
        count(*after_death as u64)
    );
    stage.verdict(Claim::RunsIndependently, verdict, because)
}

fn judge_suitability(stage: &mut Stage, saved: &Saved) -> Result<()> {
    let Saved { tasks, done, lost, repeated } = saved;
    let verdict = match (done == tasks, saved.all_but_those_in_hand()) {
        (true, true) => Verdict::Holds,
        (true, false) => Verdict::Qualified,
        (false, _) => Verdict::Refuted,
    };
    let because = format!(
        "{} of {} tasks were done although {lost} workers crashed or hung; {repeated} tasks had to be begun again",
        count(*done as u64),
        count(*tasks as u64)
    );
    stage.verdict(Claim::ProcessesSuitIndependentTasks, verdict, because)
}

fn answer(troubles: &Troubles, saved: &Saved, drained: &Drained) -> String {
    let what = if saved.all_but_those_in_hand() { "All but what the failing worker has in hand" } else { "Not all" };
    let Saved { tasks, done, repeated, .. } = saved;
    let share = drained.cpu_percent.map(|percent| format!("{} %", three_digits(percent)));
    format!(
        "{what}: {} of {} tasks were done, {repeated} of them begun again; the next worker had done its first task {} \
         after a crash (the median) and {} after a hang; SIGTERM lost {} of {} accepted tasks; and while all was well the \
         supervisor took {} of a CPU.",
        count(*done as u64),
        count(*tasks as u64),
        median_in_words(&troubles.crashes),
        median_in_words(&troubles.hangs),
        drained.accepted - drained.answered,
        count(drained.accepted as u64),
        share.unwrap_or("an unknown share".to_owned()),
    )
}

/// A time that was chosen.
fn in_words(time: Duration) -> String {
    chosen_with_unit("ns", time.as_nanos() as f64)
}

fn median_in_words(outcome: &Outcome) -> String {
    if outcome.recoveries_ns.is_empty() {
        return "an unknown time".to_owned();
    }
    with_unit("ns", stats::median(&outcome.recoveries_ns).value)
}
