//! Do five threads and five processes of two seconds each take twenty seconds?

mod bench;
mod team;

use std::time::Duration;

use anyhow::Result;
use shared::number::{chosen_with_unit, with_unit};
use shared::{Claim, Demo, Extras, Lane, Parameter, ParameterKind, Ruling, Snippet, Stage, Timeline};

use bench::{Event, What};

pub const DEMO: Demo = Demo {
    name: "workers",
    question: "Do five threads and five processes of two seconds each take twenty seconds?",
    claims: &[Claim::WorkersExample],
    rule: "The example holds if every worker, thread or process, started and finished, and all of them started before \
           any finished. What counts is the order of their reports in one pipe. Else it is refuted.",
    extras: Extras {
        parameters: &[
            Parameter {
                key: "workers",
                says: "how many threads, and as many processes",
                kind: ParameterKind::Number { unit: "", default: 5.0, low: 1.0, high: 64.0 },
            },
            Parameter {
                key: "task_s",
                says: "how long each works; quick effort takes a tenth",
                kind: ParameterKind::Number { unit: "s", default: 2.0, low: 0.01, high: 60.0 },
            },
        ],
        ..Extras::NONE
    },
    snippets: &[Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let count = stage.setting("workers") as usize;
    let task_s = stage.setting("task_s") / stage.by_effort(10.0, 1.0, 1.0);
    let events = team::perform(stage, count, Duration::from_secs_f64(task_s))?;
    let all = 2 * count;
    let elapsed_s = draw(stage, &events);
    let in_turn_s = task_s * all as f64;
    tell_apart(stage, count, &events);
    let before = events.iter().take_while(|event| event.what == What::Started).count();
    let finished = events.iter().filter(|event| event.what == What::Finished).count();
    let says = format!("All {all} workers start before any finishes");
    let got = format!("{before} of {all} started before the first finished; {finished} finished");
    let holds = stage.fact(says, before == all && finished == all, &got);
    let [task, in_turn] = [task_s, in_turn_s].map(|seconds| chosen_with_unit("s", seconds));
    let elapsed = with_unit("s", elapsed_s);
    stage.rule(
        Claim::WorkersExample,
        if holds {
            Ruling::holds(format!(
                "{before} of {all} started before the first finished, and all took {elapsed} together"
            ))
        } else {
            Ruling::refuted(got)
        },
    )?;
    stage.headline(format!("{all} workers of {task} each took {elapsed}"));
    stage.answer(format!(
        "{}: {count} threads and {count} processes of {task} each took {elapsed} together. One after the other, they \
         would have taken {in_turn}.",
        if elapsed_s < in_turn_s { "No" } else { "Yes" }
    ));
    stage.advise("Need both? Fork the processes before any thread starts: copy `child`.");
    Ok(())
}

/// Five threads are one process; five processes are five.
fn tell_apart(stage: &mut Stage, count: usize, events: &[Event]) {
    let own = std::process::id();
    let mut pids: Vec<u32> = events.iter().map(|event| event.pid).collect();
    let mut tids: Vec<u32> = events.iter().map(|event| event.tid).collect();
    for numbers in [&mut pids, &mut tids] {
        numbers.sort_unstable();
        numbers.dedup();
    }
    let in_this = events.iter().all(|event| (event.pid == own) == (event.kind == "thread"));
    stage.fact(
        format!("The {count} threads have the pid of their process; each of the {count} processes has its own"),
        in_this && pids.len() == count + 1 && tids.len() == 2 * count,
        format!("{} pids and {} tids", pids.len(), tids.len()),
    );
}

/// Draws who worked from when to when; returns the seconds from the first start to the last end.
fn draw(stage: &mut Stage, events: &[Event]) -> f64 {
    let first_ns = events.iter().map(|event| event.at_ns).min().unwrap_or(0);
    let seconds = |event: &Event| (event.at_ns - first_ns) as f64 / 1e9;
    let mut starts: Vec<&Event> = events.iter().filter(|event| event.what == What::Started).collect();
    starts.sort_by_key(|event| (&event.kind, event.number));
    let lane = |from: &Event| {
        let to = events.iter().find(|event| event.what == What::Finished && event.tid == from.tid)?;
        Some(Lane { label: from.name(), from: seconds(from), to: seconds(to) })
    };
    let lanes = starts.into_iter().filter_map(lane).collect();
    let title = "Who worked from when to when".to_owned();
    stage.show(Timeline { title, unit: "s".to_owned(), lanes });
    events.iter().map(seconds).fold(0.0, f64::max)
}
