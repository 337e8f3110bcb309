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
use shared::number::{chosen_with_unit, count, with_unit};
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage, stats};

use declared::Declared;
use pieces::Pieces;
use queue::Outcome;
use troubles::{Saved, Troubles};

pub const DEMO: Demo = Demo {
    name: "supervise",
    question: "What does a supervisor save when its workers crash and hang?",
    claims: &[Claim::RunsIndependently, Claim::ProcessesSuitIndependentTasks],
    rule: "A process runs on independently if both workers go on while their parent is stopped, and the one declared to run \
           on goes on after its parent's death. If only one of the two is so, it holds except for the other; if neither is, \
           it is refuted. Processes suit independent tasks if every task is done, with the right result, although workers \
           crash and hang, and a lost worker costs no more than the task that it had in hand. If more is begun again, it \
           holds except for that; if a task is not done, it is refuted.",
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
    let independence = match declared::show(stage, &pieces) {
        Ok(declared) => judge_independence(&declared),
        Err(error) => Ruling::skipped(shared::refused(&error).ok_or(error)?),
    };
    stage.show(table::of(&troubles, &drained));
    stage.note("Each time runs until the next worker's first task is done; after SIGTERM, until all have stopped.");
    let saved = troubles.saved();
    stage.rule(Claim::RunsIndependently, independence)?;
    stage.rule(Claim::ProcessesSuitIndependentTasks, judge_suitability(&saved))?;
    stage.headline(format!("{} crashes and hangs cost {} tasks", saved.lost, saved.tasks - saved.done));
    stage.answer(answer(&troubles, &saved));
    stage.advise("Let a supervisor restart workers that fail: copy `supervisor`.");
    Ok(())
}

fn judge_independence(declared: &Declared) -> Ruling {
    let Declared { tasks, while_stopped, after_death } = declared;
    let because = format!(
        "Two workers did {} tasks while their parent was stopped; one did {} after its parent was killed",
        count(*while_stopped as u64),
        count(*after_death as u64)
    );
    match (*while_stopped == 2 * tasks, after_death == tasks) {
        (true, true) => Ruling::holds(because),
        (true, false) => Ruling::except("after its parent's death", because),
        (false, true) => Ruling::except("while its parent is stopped", because),
        (false, false) => Ruling::refuted(because),
    }
}

fn judge_suitability(saved: &Saved) -> Ruling {
    let Saved { tasks, done, lost, repeated } = saved;
    let (tasks, done) = (count(*tasks as u64), count(*done as u64));
    match (saved.done == saved.tasks, saved.all_but_those_in_hand()) {
        (true, true) => Ruling::holds(format!("{done} of {tasks} tasks are done although {lost} workers were lost")),
        (true, false) => Ruling::except(
            format!("that {repeated} tasks are begun again for {lost} lost workers"),
            format!("{done} of {tasks} tasks are done"),
        ),
        (false, _) => Ruling::refuted(format!("Only {done} of {tasks} tasks are done after {lost} workers were lost")),
    }
}

fn answer(troubles: &Troubles, saved: &Saved) -> String {
    let Saved { tasks, done, repeated, .. } = saved;
    format!(
        "{}: {} of {} tasks are done, {repeated} of them begun again. A replacement works {} after a crash and {} after a \
         hang.",
        if done == tasks { "Everything" } else { "Not everything" },
        count(*done as u64),
        count(*tasks as u64),
        median_in_words(&troubles.crashes),
        median_in_words(&troubles.hangs),
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
