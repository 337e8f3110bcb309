//! Do five threads that take two seconds each take ten seconds?

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use shared::measure::usable_cpus;
use shared::number::{chosen_with_unit, counted, with_unit};
use shared::{Claim, Demo, Extras, Lane, Parameter, ParameterKind, Ruling, Snippet, Stage, Timeline};
use threads_demo::workers::{self, Event, Span};

pub const DEMO: Demo = Demo {
    name: "workers",
    question: "Do five threads that take two seconds each take ten seconds?",
    claims: &[Claim::WorkersExample, Claim::ThreadsRunConcurrently],
    rule: "The example holds if every worker started and finished, and all had started before any finished; else it \
           is refuted. Running concurrently holds if each worker met all the others between its own start and its own \
           end. It holds in part if only some workers met, and is refuted if none did. One worker alone decides \
           nothing.",
    extras: Extras {
        parameters: &[
            Parameter {
                key: "workers",
                says: "how many threads",
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
    snippets: &[Snippet { path: "threads-demo/snippets/workers.rs", text: include_str!("../snippets/workers.rs") }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let count = stage.setting("workers") as usize;
    let task_s = stage.setting("task_s") / stage.by_effort(10.0, 1.0, 1.0);
    let (present, meeting) = (AtomicUsize::new(0), Barrier::new(count));
    let mut events = Vec::new();
    let hear = |event| {
        events.push(event);
        stage.say(match event {
            Event::Started(worker) => format!("Worker {worker} started"),
            Event::Finished(worker) => format!("Worker {worker} finished"),
        });
    };
    let task = |_| work(Duration::from_secs_f64(task_s), &present, &meeting);
    let spans = workers::run(count, task, hear).context("starting a thread")?;
    let first = spans.iter().map(|span| span.started).min().context("no worker ran")?;
    let elapsed_s = spans.iter().map(|span| (span.finished - first).as_secs_f64()).fold(0.0, f64::max);
    let in_turn_s = task_s * count as f64;
    stage.say(format!("All took {elapsed_s:.2} seconds together; one after the other would take {in_turn_s:.2}."));
    stage.note(
        "The workers sleep, as in the article. Waiting needs no CPU, so all of them can wait at once on one CPU.",
    );
    stage.show(drawn(first, &spans));
    judge_example(stage, count, &events)?;
    judge_concurrency(stage, &spans)?;
    let threads = counted(count, "thread");
    let (each, took) = (chosen_with_unit("s", task_s), with_unit("s", elapsed_s));
    stage.headline(format!("{threads} of {each} each took {took}"));
    let so = if elapsed_s < in_turn_s { "No" } else { "Yes" };
    let cpus = counted(usable_cpus().len(), "CPU");
    stage.answer(format!("{so}: {threads} of {each} each took {took} in all, on {cpus}."));
    stage.advise("Give each task that mostly waits a thread of its own: copy `workers`.");
    Ok(())
}

/// Returns how many workers were between their start and their end at a moment when this one was.
#[expect(clippy::disallowed_methods, reason = "the example's worker takes two seconds and does nothing else")]
fn work(takes: Duration, present: &AtomicUsize, meeting: &Barrier) -> usize {
    present.fetch_add(1, Relaxed); // The meeting publishes it to the others.
    meeting.wait(); // All have come in,
    let met = present.load(Relaxed);
    meeting.wait(); // and nobody leaves before everybody has looked around.
    sleep(takes);
    present.fetch_sub(1, Relaxed);
    met
}

fn judge_example(stage: &mut Stage, count: usize, events: &[Event]) -> Result<()> {
    let before = events.iter().take_while(|event| matches!(event, Event::Started(_))).count();
    let finished = events.iter().filter(|event| matches!(event, Event::Finished(_))).count();
    let got = format!("{before} of {count} started before the first finished, and {finished} finished");
    let says = format!("All {count} workers start before any finishes");
    let holds = stage.fact(says, before == count && finished == count, &got);
    stage.rule(Claim::WorkersExample, if holds { Ruling::holds(got) } else { Ruling::refuted(got) })
}

fn judge_concurrency(stage: &mut Stage, spans: &[Span<usize>]) -> Result<()> {
    let count = spans.len();
    let met_all = spans.iter().filter(|span| span.result == count).count();
    let met_any = spans.iter().filter(|span| span.result > 1).count();
    let got = format!("{met_all} of {count} workers met all {} others", count - 1);
    stage.fact("Each worker meets all the others between its own start and its own end", met_all == count, &got);
    let ruling = match (count, met_all, met_any) {
        (0 | 1, ..) => Ruling::undecided("One worker alone has nobody to meet"),
        _ if met_all == count => Ruling::holds(format!("{got} before any of them finished")),
        (_, _, 0) => Ruling::refuted(format!("None of {count} workers met another")),
        _ => Ruling::in_part(format!("{met_any} of {count} workers met another"), got),
    };
    stage.rule(Claim::ThreadsRunConcurrently, ruling.by(met_all as f64, "workers"))
}

fn drawn(first: Instant, spans: &[Span<usize>]) -> Timeline {
    let lane = |(worker, span): (usize, &Span<usize>)| Lane {
        label: format!("Worker {worker}"),
        from: (span.started - first).as_secs_f64(),
        to: (span.finished - first).as_secs_f64(),
    };
    let title = "Who worked from when to when".to_owned();
    Timeline { title, unit: "s".to_owned(), lanes: spans.iter().enumerate().map(lane).collect() }
}
