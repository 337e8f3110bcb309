//! What does a supervisor save when its workers crash and hang?

mod orphans;
mod queue;
mod troubles;

use anyhow::Result;
use shared::number::{count, with_unit};
use shared::{Cell, Claim, Column, Demo, Extras, Ruling, Snippet, Stage, Table, stats, tried};

use queue::Outcome;

pub const DEMO: Demo = Demo {
    name: "supervise",
    question: "What does a supervisor save when its workers crash and hang?",
    claims: &[Claim::RunsIndependently, Claim::ProcessesSuitIndependentTasks],
    rule: "A process runs on independently if both workers go on while their parent is stopped, and the one declared to run \
           on goes on after its parent's death, each by 1,000 tasks. If only one of the two is so, it holds except for the \
           other; if neither is, it is refuted. Processes suit independent tasks if every task is done, with the right \
           result, although workers crash and hang, and a lost worker costs no more than the task that it had in hand. If \
           more is begun again, it holds except for that; if a task is not done, it is refuted.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/supervisor.rs", text: include_str!("../snippets/supervisor.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let crashes = troubles::crash(stage)?;
    let hangs = troubles::hang(stage)?;
    let poison = troubles::poison(stage)?;
    let stop = troubles::stop(stage)?;
    let independence = tried(orphans::show(stage))?;
    let rows = [
        row("crash", &crashes, &crashes.recoveries_ns),
        row("hang", &hangs, &hangs.recoveries_ns),
        row("poison", &poison, &poison.recoveries_ns),
        row("SIGTERM", &stop, &[stop.took_ns]),
    ];
    let counts = ["trouble", "workers lost", "restarts", "tasks begun", "done", "begun again"].map(Column::from);
    let times = [("median", "ns"), ("longest", "ns")].map(Column::from);
    let columns = counts.into_iter().chain(times);
    stage.show(Table::new("What each trouble cost, and how long it lasted", columns, rows));
    stage.note("Each time runs until the next worker's first task is done; after SIGTERM, until all have stopped.");
    stage.rule(Claim::RunsIndependently, independence.unwrap_or_else(Ruling::skipped))?;
    let (tasks, done) = (crashes.tasks + hangs.tasks, crashes.done + hangs.done);
    let lost = crashes.lost() + hangs.lost();
    let again = crashes.begun_again + hangs.begun_again;
    stage.rule(Claim::ProcessesSuitIndependentTasks, judge(tasks, done, lost, again))?;
    stage.headline(format!("{lost} crashes and hangs cost {} tasks", tasks - done));
    stage.answer(format!(
        "{}: {} of {} tasks are done, {again} of them begun again. A replacement works {} after a crash and {} after a hang.",
        if done == tasks { "Everything" } else { "Not everything" },
        count(done as u64),
        count(tasks as u64),
        median_in_words(&crashes),
        median_in_words(&hangs),
    ));
    stage.advise("Let a supervisor restart workers that fail: copy `supervisor`.");
    Ok(())
}

fn row(trouble: &str, outcome: &Outcome, times_ns: &[f64]) -> Vec<Cell> {
    let counts = [outcome.lost(), outcome.restarts(), outcome.begun, outcome.done, outcome.begun_again];
    let mut cells = vec![Cell::from(trouble)];
    cells.extend(counts.map(Cell::from));
    if let Some(longest) = times_ns.iter().copied().reduce(f64::max) {
        cells.extend([stats::median(times_ns).value, longest].map(Cell::from));
    }
    cells
}

fn median_in_words(outcome: &Outcome) -> String {
    match outcome.recoveries_ns.as_slice() {
        [] => "an unknown time".to_owned(),
        times_ns => with_unit("ns", stats::median(times_ns).value),
    }
}

fn judge(tasks: usize, done: usize, lost: usize, again: usize) -> Ruling {
    let (shown, of_all) = (count(done as u64), count(tasks as u64));
    let because = format!("{shown} of {of_all} tasks are done although {lost} workers were lost");
    match (done == tasks, again <= lost) {
        (true, true) => Ruling::holds(because),
        (true, false) => Ruling::except(format!("that {again} tasks are begun again"), because),
        (false, _) => Ruling::refuted(because),
    }
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    #[test]
    fn every_verdict_can_come_out() {
        let cases = [(100, 7, Verdict::Holds), (100, 8, Verdict::Qualified), (99, 7, Verdict::Refuted)];
        for (done, again, verdict) in cases {
            assert_eq!(judge(100, done, 7, again).verdict, verdict);
        }
    }
}
