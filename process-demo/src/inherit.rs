//! What does a new thread, a fork and an exec get from its maker?

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
use shared::{Claim, Demo, Extras, ProgramRole, Snippet, Stage, Verdict};

use create::Way;
use matrix::Matrix;
use thing::{COPY, GONE, OWN, RESET, SAME, SHARED};

pub const DEMO: Demo = Demo {
    name: "inherit",
    question: "What does a new thread, a fork and an exec get from its maker?",
    claims: &[Claim::ProcessOwnsResources, Claim::ThreadsShareResources],
    rule: "A process owns its resources if a forked one shares neither memory, stack, program counter, descriptors, nor an \
           open file's offset or a connection with its maker; it is qualified if only some of these are shared, refuted if \
           all are. Threads share resources if a thread and its maker share descriptors, an open file's offset and a \
           connection: all of them holds, some is qualified, none refuted. What could not be seen does not count.",
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
        "For each cell a new process sets a thing up and makes a thread or a child. That one looks, changes the thing and \
         looks again; then its maker looks, changes it too, and both look once more. 'Shared': each sees the other's \
         change. 'A copy': it begins with the maker's value, and neither sees the other's change. 'The same': it is the \
         maker's, and nobody can change it. 'Its own': it is another. 'Reset': it is as it was before the maker set it. \
         'Gone': it is not there.",
    );
    let matrix = Matrix::observe(stage)?;
    locks::show_closing(stage)?;
    started::show(stage)?;
    promised::check(stage, &matrix);
    judge_process(stage, &matrix)?;
    judge_threads(stage, &matrix)?;
    let count = |way, words: &[&str]| words.iter().map(|word| matrix.with(way, word).len()).sum::<usize>();
    stage.answer(format!(
        "Of {} things a thread shares {} with its maker; a fork shares {}, copies {}, leaves {} behind and gives {} of its \
         own; after an exec {} are left, {} of them shared.",
        matrix.seen(Way::Thread),
        count(Way::Thread, &[SHARED, SAME]),
        count(Way::Fork, &[SHARED, SAME]),
        count(Way::Fork, &[COPY]),
        count(Way::Fork, &[GONE, RESET]),
        count(Way::Fork, &[OWN]),
        count(Way::Exec, &[COPY, SHARED, SAME]),
        count(Way::Exec, &[SHARED, SAME]),
    ));
    Ok(())
}

fn judge_process(stage: &mut Stage, matrix: &Matrix) -> Result<()> {
    let memory = [memory::GLOBAL, memory::HEAP, memory::PRIVATE_MAPPING, memory::SHARED_MAPPING];
    let running = [running::STACK, running::PROGRAM_COUNTER];
    let files = [files::DESCRIPTOR, files::CLOSE_ON_EXEC, files::OFFSET, files::SOCKET];
    let names = memory.iter().chain(&running).chain(&files).map(|thing| thing.name);
    let seen: Vec<_> = names.filter_map(|name| Some((name, matrix.word(Way::Fork, name)?))).collect();
    let common: Vec<_> = seen.iter().filter(|(_, word)| *word == SHARED).map(|(name, _)| *name).collect();
    let own = seen.len() - common.len();
    let (verdict, because) = match (own, common.len()) {
        (0, 0) => (Verdict::Skipped, "none of them could be seen".to_owned()),
        (_, 0) => (Verdict::Holds, format!("a forked process has {own} of {own} for itself")),
        (own, _) => {
            let verdict = if own == 0 { Verdict::Refuted } else { Verdict::Qualified };
            let (of, common) = (seen.len(), common.join(", "));
            (verdict, format!("a forked process has {own} of {of} for itself, but it shares with its maker: {common}"))
        }
    };
    stage.verdict(Claim::ProcessOwnsResources, verdict, because)
}

fn judge_threads(stage: &mut Stage, matrix: &Matrix) -> Result<()> {
    let names = [files::DESCRIPTOR, files::CLOSE_ON_EXEC, files::OFFSET, files::SOCKET].map(|thing| thing.name);
    let words: Vec<_> = names.iter().filter_map(|name| matrix.word(Way::Thread, name)).collect();
    let shared = words.iter().filter(|word| **word == SHARED).count();
    let verdict = match shared {
        _ if words.is_empty() => Verdict::Skipped,
        0 => Verdict::Refuted,
        all if all == words.len() => Verdict::Holds,
        _ => Verdict::Qualified,
    };
    let all: usize = [SHARED, SAME].map(|word| matrix.with(Way::Thread, word).len()).iter().sum();
    let (seen, of) = (words.len(), matrix.seen(Way::Thread));
    let files = names.join(", ");
    let because = format!("a thread and its maker share {shared} of {seen} ({files}), and {all} of all {of} things");
    stage.verdict(Claim::ThreadsShareResources, verdict, because)
}
