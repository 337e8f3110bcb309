//! What does it cost to start a process instead of a thread, and why?

mod break_even;
mod by_size;
mod counted;
mod first_instruction;
mod growth;
mod huge;
mod kernel;
mod page_tables;
mod pools;
mod starter;
mod verdicts;
mod ways;

use anyhow::Result;
use shared::number::with_unit;
use shared::{Claim, Demo, Extras, Snippet, Stage};

use growth::Growth;

pub const DEMO: Demo = Demo {
    name: "start-cost",
    question: "What does it cost to start a process instead of a thread, and why?",
    claims: &[Claim::ProcessCreationDearer, Claim::ProcessesAreHeavier, Claim::AllocationIsTheCost],
    rule: "Creation is dearer if fork or std Command takes clearly longer than a std thread, neither clearly less; \
           holds only if by the slower, if the other takes less; refuted if one takes less, none longer. Processes \
           are heavier if a fork takes clearly longer, more page faults and page tables; holds in part if only time \
           or only counts say so; refuted if neither. Allocation is the cause if a fork is given more and each GiB \
           of the parent adds a tenth to both starts; holds only if by the one that clearly grows more; refuted if \
           neither grows or nothing more is given. Else undecided or skipped.",
    extras: Extras { roles: &[first_instruction::TELLS_WHEN], ..Extras::NONE },
    snippets: &[
        Snippet { path: "process-demo/snippets/start.rs", text: include_str!("../snippets/start.rs") },
        Snippet { path: "process-demo/snippets/resident.rs", text: include_str!("../snippets/resident.rs") },
        Snippet { path: "process-demo/snippets/system_calls.rs", text: include_str!("../snippets/system_calls.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let ways = ways::all();
    ways::prove(stage, &ways)?;
    let times = ways::compare(stage, &ways)?;
    let pools = pools::compare(stage)?;
    let worth_a_fork = break_even::show(stage, &times, &pools);
    first_instruction::show(stage)?;
    let counts = counted::show(stage, &ways)?;
    let sizes = by_size::show(stage)?;
    verdicts::give(stage, &times, &counts, &sizes)?;

    let cost = |label| times.median_ns(label).map_or("an unknown time".to_owned(), |ns| with_unit("ns", ns));
    let adds = |growth: Option<Growth>| growth.map_or("an unknown time".to_owned(), |growth| growth.in_short());
    let [thread, fork, command] = [ways::THREAD, ways::FORK, ways::COMMAND].map(cost);
    stage.headline(match [ways::THREAD, ways::FORK].iter().filter_map(|label| times.median_ns(label)).count() {
        2 => format!("{fork} to fork, {thread} for a thread"),
        measured => format!("{measured} of 2 starts, the other was refused"),
    });
    stage.answer(format!(
        "A thread takes {thread}, a fork {fork}, a program by std Command {command}. Each GiB of the parent adds {} \
         to a fork and {} to Command.",
        adds(sizes.fork),
        adds(sizes.command),
    ));
    stage.advise(match worth_a_fork {
        Some(ns) => format!("Fork for a task of {} or more: copy `start`. Below, keep a pool.", with_unit("ns", ns)),
        None => "Time it where you will use it: copy `start`.".to_owned(),
    });
    Ok(())
}
