//! Do five threads and five processes that take two seconds each take twenty seconds?

mod bench;
mod team;

use std::time::Duration;

use anyhow::Result;
use shared::{Claim, Demo, Extras, Lane, Parameter, ParameterKind, Snippet, Stage, Timeline, Verdict};

use bench::{Event, What};

pub const DEMO: Demo = Demo {
    name: "workers",
    question: "Do five threads and five processes that take two seconds each take twenty seconds?",
    claims: &[Claim::WorkersExample],
    rule: "The example holds if every worker, thread or process, started and finished, and all of them had started \
           before any finished, by the order of their reports in one pipe; else it is refuted.",
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
    let got = format!("{before} of {all} started before the first finished; {finished} finished");
    let says = format!("All {all} workers had started before any finished");
    let holds = stage.fact(says, before == all && finished == all, &got);
    let because = format!("{got}, within {elapsed_s:.2} seconds");
    stage.verdict(Claim::WorkersExample, if holds { Verdict::Holds } else { Verdict::Refuted }, because)?;
    stage.answer(format!(
        "{}: {count} threads and {count} processes of {task_s:.2} seconds each took {elapsed_s:.2} seconds together; one \
         after the other, they would have taken {in_turn_s:.2}.",
        if elapsed_s < in_turn_s || all == 1 { "No" } else { "Yes" }
    ));
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
        format!("The {count} threads have one pid, this process's; each of the {count} processes has its own"),
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
        Some(Lane { label: format!("{} {}", from.kind, from.number), from: seconds(from), to: seconds(to) })
    };
    let lanes = starts.into_iter().filter_map(lane).collect();
    let title = "Who worked from when to when".to_owned();
    stage.timeline(Timeline { title, unit: "s".to_owned(), lanes });
    events.iter().map(seconds).fold(0.0, f64::max)
}
