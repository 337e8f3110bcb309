//! What do a new thread, a forked child and an exec inherit?

mod course;
mod create;
mod files;
mod locks;
mod matrix;
mod memory;
mod promised;
mod running;
mod signals;
mod started;
mod surroundings;
mod thing;
mod things;
mod timers;

use anyhow::Result;
use shared::{Claim, Demo, Extras, ProgramRole, Ruling, Snippet, Stage};

use create::Way;
use matrix::Matrix;
use thing::{COPY, GONE, OWN, RESET, SAME, SHARED};

pub const DEMO: Demo = Demo {
    name: "inherit",
    question: "What do a new thread, a forked child and an exec inherit?",
    claims: &[Claim::ProcessOwnsResources, Claim::ThreadsShareResources],
    rule: "That a process owns its resources holds if a forked child shares none of ten with its parent: four kinds of \
           memory, its stack, its program counter, two kinds of descriptor, an open file's offset and a connection. It \
           holds except for those that are shared if some are, and is refuted if all are. That threads share resources \
           holds if a thread shares all of four with its process: both kinds of descriptor, the offset and the \
           connection. It holds in part if it shares some, and is refuted if it shares none. What could not be seen does \
           not count; if nothing could, it is skipped.",
    extras: Extras {
        roles: &[
            ProgramRole { name: create::ROLE, play: create::play },
            ProgramRole { name: started::ROLE, play: started::play },
        ],
        ..Extras::NONE
    },
    snippets: &[
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/spawn.rs", text: include_str!("../snippets/spawn.rs") },
        Snippet { path: "process-demo/snippets/page.rs", text: include_str!("../snippets/page.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "In each case a new process, the parent, sets a thing up and makes a thread or a child. That one looks, changes \
         the thing and looks again. Then the parent looks, changes it too, and both look once more. 'Shared': each sees \
         the other's change. 'A copy': it begins with the parent's value, and neither sees the other's change. 'The \
         same': it is the parent's, and nobody can change it. 'Its own': it is another. 'Reset': it is as it was before \
         the parent set it. 'Gone': it is not there. 'Half shared': only one of the \
         two sees the other's change.",
    );
    let matrix = Matrix::observe(stage)?;
    stage.show(matrix.in_short());
    locks::show_closing(stage)?;
    started::show(stage)?;
    promised::check(stage, &matrix);
    judge_process(stage, &matrix)?;
    judge_threads(stage, &matrix)?;
    let count = |way, words: &[&str]| words.iter().map(|word| matrix.with(way, word).len()).sum::<usize>();
    let thread_shares = count(Way::Thread, &[SHARED, SAME]);
    let fork_shares = count(Way::Fork, &[SHARED, SAME]);
    let things = matrix.seen(Way::Thread);
    stage.headline(format!("{things} things: a thread shares {thread_shares}, a fork {fork_shares}"));
    stage.answer(format!(
        "A thread shares {thread_shares} of {things} things. A forked child shares {fork_shares}, copies {}, loses {} and \
         has {} of its own; an exec keeps {}, {} of them shared.",
        count(Way::Fork, &[COPY]),
        count(Way::Fork, &[GONE, RESET]),
        count(Way::Fork, &[OWN]),
        count(Way::Exec, &[COPY, SHARED, SAME]),
        count(Way::Exec, &[SHARED, SAME]),
    ));
    stage.advise("Start programs by `spawn`: they get only what you hand to them.");
    Ok(())
}

const FILES: [&str; 4] = [files::DESCRIPTOR.name, files::CLOSE_ON_EXEC.name, files::OFFSET.name, files::SOCKET.name];

fn judge_process(stage: &mut Stage, matrix: &Matrix) -> Result<()> {
    let memory = [memory::GLOBAL, memory::HEAP, memory::PRIVATE_MAPPING, memory::SHARED_MAPPING];
    let running = [running::STACK, running::PROGRAM_COUNTER];
    let names = memory.iter().chain(&running).map(|thing| thing.name).chain(FILES);
    let seen: Vec<_> = names.filter_map(|name| Some((name, matrix.word(Way::Fork, name)?))).collect();
    let shared: Vec<_> = seen.iter().filter(|(_, word)| *word == SHARED).map(|(name, _)| *name).collect();
    let (of, own) = (seen.len(), seen.len() - shared.len());
    let because = format!("A forked child has {own} of {of} things for itself");
    let ruling = match shared.len() {
        _ if of == 0 => Ruling::skipped("None of the ten things could be seen"),
        0 => Ruling::holds(because),
        _ if own == 0 => Ruling::refuted(because),
        1..=4 => Ruling::except(listed(&shared), because),
        many => Ruling::except(format!("{many} things that a fork shares"), because),
    };
    stage.rule(Claim::ProcessOwnsResources, ruling)
}

fn judge_threads(stage: &mut Stage, matrix: &Matrix) -> Result<()> {
    let seen: Vec<_> = FILES.iter().filter_map(|name| Some((*name, matrix.word(Way::Thread, name)?))).collect();
    let others: Vec<_> = seen.iter().filter(|(_, word)| *word != SHARED).map(|(name, _)| *name).collect();
    let (of, shared) = (seen.len(), seen.len() - others.len());
    let all: usize = [SHARED, SAME].map(|word| matrix.with(Way::Thread, word).len()).iter().sum();
    let because = format!(
        "A thread shares {shared} of {of} descriptors, offsets and connections with its process, and {all} of {} things in all",
        matrix.seen(Way::Thread)
    );
    let ruling = match shared {
        _ if of == 0 => Ruling::skipped("None of the four things could be seen"),
        0 => Ruling::refuted(because),
        _ if others.is_empty() => Ruling::holds(because),
        _ => Ruling::in_part(format!("not true of {}", listed(&others)), because),
    };
    stage.rule(Claim::ThreadsShareResources, ruling)
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("the {name}")).collect::<Vec<_>>().join(", ")
}
