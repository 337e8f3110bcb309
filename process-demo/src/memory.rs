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
    rule: "Each process needs its own memory, and the claim holds, if at least half of what one more forked process and \
           one more program have resident (RSS) is theirs alone (USS); it is qualified if one of them at least has a \
           page of its own, but one shares more than half of what it seems to have; refuted if neither has even a page \
           alone. \
           Processes are heavier if one more forked process and one more program each take more than one more thread, \
           by their share of the memory (PSS) and their page tables; qualified if only one of them does; refuted if \
           neither does. What is compared are the ends of the intervals: where they overlap, it is undecided.",
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
    let sums = preloaded::show(stage)?;
    verdicts::give(stage, &units)?;

    let takes = |kind: Kind| match units.weight(kind) {
        Some(bytes) => with_unit("bytes", bytes.value),
        None => "an unknown amount".to_owned(),
    };
    let [thread, fork, program] = Kind::ALL.map(takes);
    let sum = sums.map_or(String::new(), |sums| {
        let times = three_digits(sums.times_too_much);
        let held = with_unit("bytes", sums.held_bytes as f64);
        format!(
            "; and where four children share their parent's {held}, the sum of RSS says {times} times what is there"
        )
    });
    stage.answer(format!(
        "One more that idles takes {thread} if it is a thread, {fork} if it is a forked process and {program} if it is a \
         program, page tables included{sum}."
    ));
    Ok(())
}
