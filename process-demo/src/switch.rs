//! What does one context switch cost, between threads and between processes?

mod hops;
mod party;
mod switches;

use anyhow::Result;
use shared::number::with_unit;
use shared::{Demo, Extras, Snippet, Stage};

use switches::Switch;

pub const DEMO: Demo = Demo {
    name: "switch",
    question: "What does one context switch cost, between threads and between processes?",
    claims: &[],
    rule: "It answers no claim. A hop is one byte through a pipe to a thread or process that sleeps in a read: half \
           of what there and back takes. The baseline makes the same system calls and touches the same memory, but \
           waits for nobody. What a hop takes longer than half of the baseline is one switch: going to sleep, \
           waking the other, and changing from one to the other.",
    extras: Extras::NONE,
    snippets: &[Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Two sides send one byte back and forth through two pipes. Whoever has it reads and writes a block of memory of its \
         own: its working set. A process has its own address space besides, so the processor must change page tables, and \
         may forget what it has cached of them. The baseline is one side alone with both pipes and both sets: the same \
         calls, and nobody to wait for.",
    );
    hops::prove(stage)?;
    let sets =
        stage.by_effort(&[0, 128 << 10][..], &[0, 16 << 10, 256 << 10, 1 << 20], &[0, 16 << 10, 256 << 10, 4 << 20]);
    let measured = hops::compare(stage, sets)?;
    let switches = switches::all(&measured, sets);
    switches::show(stage, &switches);
    let measured = switches.first().map_or([None; 2], Switch::known);
    let cost = |ns: Option<f64>| ns.map_or("an unknown time".to_owned(), |ns| with_unit("ns", ns));
    let [threads, processes] = measured.map(cost);
    stage.headline(match measured.iter().flatten().count() {
        2 => format!("{threads} by thread, {processes} by process"),
        known => format!("{known} of 2 switches could be told"),
    });
    stage.answer(format!(
        "On one CPU a switch takes {threads} between threads and {processes} between processes; {}.",
        switches::in_words(&switches),
    ));
    stage.advise(match switches.iter().any(Switch::is_a_tenth_dearer_between_processes) {
        true => "Ask another process seldom, and for much at once: copy `child`.",
        false => "A switch is no reason to prefer threads: copy `child`.",
    });
    Ok(())
}
