//! What does one context switch cost, between threads and between processes?

mod hops;
mod party;
mod switches;

use anyhow::Result;
use shared::number::with_unit;
use shared::{Demo, Extras, Snippet, Stage};

pub const DEMO: Demo = Demo {
    name: "switch",
    question: "What does one context switch cost, between threads and between processes?",
    claims: &[],
    rule: "It answers no claim. A hop is one byte through a pipe to a party that sleeps in a read, and half of what there \
           and back takes. The control makes the same system calls and touches the same memory, but has nobody to wait \
           for. What a hop takes longer than the control is the price of a switch: going to sleep, waking the other, and \
           changing from one to the other.",
    extras: Extras::NONE,
    snippets: &[Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Two parties send one byte back and forth through two pipes, and each time one of them has it, it reads and \
         writes a block of memory of its own: its working set. A process has its own address space besides, so the \
         processor must change page tables, and may forget what it has cached of them. The control is one party alone \
         with both pipes and both sets: the same calls, and nobody to wait for.",
    );
    hops::prove(stage)?;
    let sets =
        stage.by_effort(&[0, 128 << 10][..], &[0, 16 << 10, 256 << 10, 1 << 20], &[0, 16 << 10, 256 << 10, 4 << 20]);
    let measured = hops::compare(stage, sets)?;
    let switches = switches::all(&measured, sets);
    switches::show(stage, &switches);
    let smallest = switches.first();
    let cost = |ns: Option<f64>| ns.map_or("an unknown time".to_owned(), |ns| with_unit("ns", ns));
    stage.answer(format!(
        "On one CPU a switch costs {} between threads and {} between processes; {}.",
        cost(smallest.and_then(|switch| switch.threads_ns())),
        cost(smallest.and_then(|switch| switch.processes_ns())),
        switches::in_words(&switches),
    ));
    Ok(())
}
