//! Who survives a crash?

mod failure;
mod scene;
mod siblings;
mod tables;

use anyhow::Result;
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage, Verdict};

use tables::Survey;

pub const DEMO: Demo = Demo {
    name: "crash",
    question: "Who survives a crash?",
    claims: &[Claim::ProcessesSuitIndependentTasks],
    rule: "The claim holds if every sibling process goes on after each of six failures, and at least one of these ends all \
           sibling threads. Else it holds in part if more sibling processes than sibling threads go on, and is refuted if \
           not. Skipped if no failure could be tried in both. The claim's half on interactive programs is not tried.",
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
    stage.show(survey.who_goes_on());
    stage.table(survey.how_it_ended());
    survey.tell_facts(stage)?;
    let ruling = judge(&survey);
    let isolates = ruling.verdict != Verdict::Refuted;
    stage.rule(Claim::ProcessesSuitIndependentTasks, ruling)?;
    let Survey { rows, .. } = &survey;
    let with_names = |wanted: &dyn Fn(&tables::Row) -> bool| {
        let names: Vec<&str> = rows.iter().filter(|row| wanted(row)).map(|row| row.failure.label()).collect();
        if names.is_empty() { "none".to_owned() } else { format!("{} ({})", names.len(), names.join(", ")) }
    };
    let tried = rows.iter().filter(|row| row.processes.was_tried()).count();
    let survived = rows.iter().filter(|row| row.processes.all_went_on()).count();
    stage.headline(format!("{survived} of {tried} failures spare sibling processes"));
    stage.answer(format!(
        "All sibling processes go on after {survived} of {tried} failures; all sibling threads go on after {}. catch_unwind \
         catches {}.",
        with_names(&|row| row.threads.all_went_on()),
        with_names(&|row| row.caught.always_caught()),
    ));
    stage.advise(if isolates {
        "Isolate what may crash in a process: copy `child`."
    } else {
        "Here a process isolates no better than a thread: try it with `child`."
    });
    Ok(())
}

fn judge(survey: &Survey) -> Ruling {
    let tried: Vec<_> = survey.rows.iter().filter(|row| row.threads.was_tried() && row.processes.was_tried()).collect();
    if tried.is_empty() {
        return Ruling::skipped("No failure could be tried both in a thread and in a process");
    }
    let processes: usize = tried.iter().map(|row| row.processes.went_on()).sum();
    let threads: usize = tried.iter().map(|row| row.threads.went_on()).sum();
    let of_all: usize = tried.iter().map(|row| row.processes.siblings()).sum();
    let all_go_on = tried.iter().all(|row| row.processes.all_went_on());
    let fatal = tried.iter().filter(|row| row.threads.none_went_on()).count();
    let failures = tried.len();
    if all_go_on && fatal > 0 {
        Ruling::holds(format!("{fatal} of {failures} failures end every sibling thread; none ends a sibling process"))
    } else if processes > threads {
        let condition = format!("{processes} of {of_all} sibling processes go on");
        Ruling::in_part(condition, format!("Of as many sibling threads, {threads} go on"))
    } else {
        Ruling::refuted(format!("Of {of_all} siblings each, {threads} threads and only {processes} processes go on"))
    }
}
