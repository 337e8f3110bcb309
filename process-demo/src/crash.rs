//! Who survives a crash?

mod failure;
mod scene;
mod siblings;
mod tables;

use anyhow::Result;
use shared::{Claim, Demo, Extras, Snippet, Stage, Verdict};

use tables::Survey;

pub const DEMO: Demo = Demo {
    name: "crash",
    question: "Who survives a crash?",
    claims: &[Claim::ProcessesSuitIndependentTasks],
    rule: "Six failures, each beside three siblings that answer requests. Of the claim's two halves this tries the first. \
           Processes suit independent tasks if after each of the six all sibling processes went on, and after one of them \
           at least no sibling thread did. It is qualified if some sibling process did not go on, but more of them did \
           than sibling threads; refuted if no more did; skipped if no failure could be tried in both.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/limits.rs", text: include_str!("../snippets/limits.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let rounds = stage.by_effort(1, 5, 50);
    let survey = Survey::take(stage, rounds)?;
    stage.table(survey.who_goes_on());
    stage.table(survey.how_it_ended());
    survey.tell_facts(stage)?;
    judge(stage, &survey)?;
    let Survey { rows, .. } = &survey;
    let labels = |wanted: &dyn Fn(&tables::Row) -> bool| {
        let labels: Vec<&str> = rows.iter().filter(|row| wanted(row)).map(|row| row.failure.label()).collect();
        if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }
    };
    stage.answer(format!(
        "Beside a failing process, all sibling processes go on after {} of {} failures; beside a failing thread, all \
         sibling threads go on after {}: {}. catch_unwind catches: {}.",
        rows.iter().filter(|row| row.processes.all_went_on()).count(),
        rows.len(),
        rows.iter().filter(|row| row.threads.all_went_on()).count(),
        labels(&|row| row.threads.all_went_on()),
        labels(&|row| row.caught.always_caught()),
    ));
    Ok(())
}

fn judge(stage: &mut Stage, survey: &Survey) -> Result<()> {
    let tried: Vec<_> = survey.rows.iter().filter(|row| row.threads.was_tried() && row.processes.was_tried()).collect();
    if tried.is_empty() {
        let because = "no failure could be tried both in a thread and in a process";
        return stage.verdict(Claim::ProcessesSuitIndependentTasks, Verdict::Skipped, because);
    }
    let processes: usize = tried.iter().map(|row| row.processes.went_on()).sum();
    let threads: usize = tried.iter().map(|row| row.threads.went_on()).sum();
    let of_all: usize = tried.iter().map(|row| row.processes.siblings()).sum();
    let all_go_on = tried.iter().all(|row| row.processes.all_went_on());
    let fatal = tried.iter().filter(|row| row.threads.none_went_on()).count();
    let verdict = if all_go_on && fatal > 0 {
        Verdict::Holds
    } else if processes > threads {
        Verdict::Qualified
    } else {
        Verdict::Refuted
    };
    let because = format!(
        "after {} failures {processes} of {of_all} sibling processes and {threads} of as many sibling threads went on; {fatal} \
         of the failures ended every sibling thread",
        tried.len()
    );
    stage.verdict(Claim::ProcessesSuitIndependentTasks, verdict, because)
}
