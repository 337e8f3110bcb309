//! What does one more idle process need, and one more idle thread?

mod crowd;
mod machine;
mod per_unit;
mod preloaded;
mod threads;
mod verdicts;

use anyhow::Result;
use shared::demo::ProgramRole;
use shared::number::{three_digits, with_unit};
use shared::{Claim, Demo, Extras, Snippet, Stage};

use crowd::Kind;

pub const DEMO: Demo = Demo {
    name: "memory",
    question: "What does one more idle process need, and one more idle thread?",
    claims: &[Claim::ProcessesNeedMemory, Claim::ProcessesAreHeavier],
    rule: "Each process needs its own memory if at least half of what one more forked process and one more program \
           have resident (RSS) is theirs alone (USS); holds in part if at least one has a page of its own, but one \
           shares more than half of its memory; refuted if neither has even a page alone. Processes are heavier if \
           one more forked process and one more program each take more than one more thread, by their share (PSS) \
           and page tables; holds in part if only one of them does; refuted if neither does. Compared are the ends \
           of the intervals: where they overlap, it is undecided.",
    extras: Extras { roles: &[ProgramRole { name: crowd::ROLE, play: crowd::play }], ..Extras::NONE },
    snippets: &[
        Snippet { path: "process-demo/snippets/memory_of.rs", text: include_str!("../snippets/memory_of.rs") },
        Snippet { path: "process-demo/snippets/resident.rs", text: include_str!("../snippets/resident.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let units = per_unit::show(stage)?;
    let times_too_much = preloaded::show(stage)?;
    verdicts::give(stage, &units)?;

    let takes = Kind::ALL.map(|kind| units.weight(kind).map(|bytes| with_unit("bytes", bytes.value)));
    stage.headline(match &takes {
        [Some(thread), Some(fork), _] => format!("{fork} a fork, {thread} a thread"),
        _ => format!("{} of {} kinds could be made", takes.iter().flatten().count(), takes.len()),
    });
    let [thread, fork, program] = takes.map(|bytes| bytes.unwrap_or("an unknown amount".to_owned()));
    let sum = times_too_much.map_or(String::new(), |times| {
        format!(" Where five processes share memory, the sum of RSS says {} times what is there.", three_digits(times))
    });
    stage.answer(format!("One more idle thread takes {thread}, a forked process {fork}, a program {program}.{sum}"));
    stage.advise("Add up PSS, never RSS, over many processes: copy `memory_of`.");
    Ok(())
}
