//! What do the threads of one process share, and what has each for itself?

mod asleep;
mod descriptors;
mod memory;
mod stacks;

use anyhow::Result;
use shared::{Cell, Claim, Column, Demo, Extras, Snippet, Stage, Verdict};

pub const DEMO: Demo = Demo {
    name: "address-space",
    question: "What do the threads of one process share, and what has each for itself?",
    claims: &[
        Claim::ManyThreadsInAProcess,
        Claim::OwnStackAndCounter,
        Claim::ThreadsShareMemory,
        Claim::ThreadsShareResources,
    ],
    rule: "Many threads in a process holds if several tids are seen beside one pid. An own stack and program counter \
           is refuted if two stacks overlap, a local or a stack pointer lies outside its thread's stack, or all \
           sleeping threads stand at one instruction; else qualified if one thread can write into the stack of \
           another; else it holds. Shared memory and shared resources hold if everything tried there is shared, are \
           refuted if nothing is, and are qualified if some of it is.",
    extras: Extras::NONE,
    snippets: &[Snippet {
        path: "threads-demo/snippets/thread_identity.rs",
        text: include_str!("../snippets/thread_identity.rs"),
    }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let own = stacks::show(stage)?;
    let memory = memory::show(stage)?;
    let resources = descriptors::show(stage)?;
    stage.answer(format!("Shared are {memory} and {resources}; {own}."));
    Ok(())
}

/// The verdict on 'threads share these', of so many that were tried.
fn shared_by_count(shared: usize, tried: usize) -> Verdict {
    match shared {
        0 => Verdict::Refuted,
        _ if shared == tried => Verdict::Holds,
        _ => Verdict::Qualified,
    }
}

fn columns(names: &[&str]) -> Vec<Column> {
    let column =
        |(index, name): (usize, &&str)| if index == 0 { Column::label(*name) } else { Column::value(*name, "") };
    names.iter().enumerate().map(column).collect()
}

fn address(of: usize) -> Cell {
    Cell::Text(format!("{of:#x}"))
}
