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
    rule: "Creating a process is dearer if fork or std's Command takes clearly longer than std's thread and neither takes \
           clearly less; qualified if one takes longer and the other less; refuted if none takes longer and one less; \
           else undecided. Processes are heavier if a fork takes clearly longer than a thread, and a forked child costs \
           more page faults and more page tables; qualified if only the time or only the counts say so; refuted if \
           neither does; undecided if the times are too close to call. Allocation is the cause if a forked child is given \
           more than a thread, and the time of both fork and Command grows with the memory that the maker holds: one GiB \
           more adds at least a tenth, by the lower end of the slope's interval. It is qualified if one of them grows so \
           and the other by clearly less, so that the intervals do not overlap; refuted if neither does, by the upper \
           ends, or if the child is given no more than a thread; else undecided; skipped without counts.",
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
    let from_ms = break_even::show(stage, &times, &pools);
    first_instruction::show(stage)?;
    let counts = counted::show(stage, &ways)?;
    let sizes = by_size::show(stage)?;
    verdicts::give(stage, &times, &counts, &sizes)?;

    let cost = |label: &str| times.median_ns(label).map_or("an unknown time".to_owned(), |ns| with_unit("ns", ns));
    let growth = |growth: Option<Growth>| growth.map_or("an unknown time".to_owned(), |growth| growth.in_words());
    let from = |ms: Option<f64>| ms.map_or("an unknown time".to_owned(), |ms| with_unit("ms", ms));
    stage.answer(format!(
        "A thread takes {}, a fork {} and a small program by Command {}; each GiB that the maker holds adds {} to a fork \
         and {} to Command. A start costs under 5 % of a task that takes {} or more by a thread, and {} or more by a fork.",
        cost(ways::THREAD),
        cost(ways::FORK),
        cost(ways::COMMAND),
        growth(sizes.fork),
        growth(sizes.command),
        from(from_ms.thread_ms),
        from(from_ms.fork_ms),
    ));
    Ok(())
}
