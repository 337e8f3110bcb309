//! Do processes lose updates as threads do?

mod cost;
mod counters;
mod peer;
mod trials;

use std::fs;
use std::path::Path;

use anyhow::Result;
use ipc_demo::shared_region::SharedRegion;
use race_demo::shared_counter::SharedCounter;
use shared::number::count;
use shared::{Claim, Demo, Extras, Snippet, Stage, Verdict, refused};

use counters::{InFile, InMemory};
use trials::Kept;

pub const DEMO: Demo = Demo {
    name: "between-processes",
    question: "Do processes lose updates as threads do?",
    claims: &[Claim::ProcessesSynchronizeEasier, Claim::SynchronizationPreventsInterference],
    rule: "Less risk of races is refuted if two processes lose an addition in every forced round, in shared memory and \
           in a file; it is qualified if in one of the two alone; it holds if in neither, while private memory stayed \
           right; anything else is undecided. Synchronization prevents interference if every fix kept every addition; \
           one lost addition refutes it.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "race-demo/snippets/shared_counter.rs", text: include_str!("../snippets/shared_counter.rs") },
        Snippet { path: "race-demo/snippets/file_counter.rs", text: include_str!("../snippets/file_counter.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let path = stage.directory().join("counter");
    let done = experiment(stage, &path);
    let _ = fs::remove_file(&path); // There is none if the experiment ended before it came to that.
    match done.as_ref().err().and_then(refused) {
        Some(why) => stage.skip(why),
        None => return done,
    }
    Ok(())
}

fn experiment(stage: &mut Stage, path: &Path) -> Result<()> {
    let region = SharedRegion::new(size_of::<SharedCounter>())?;
    // SAFETY: zeroed, page-aligned, as long as a counter, mapped until this function ends, used as a counter only.
    let memory = InMemory(unsafe { SharedCounter::at(region.as_ptr()) });
    let file = InFile(path);

    stage.note("Two processes add one each. A byte each way over a socket makes both read before either writes.");
    let rounds = stage.by_effort(100, 1000, 10_000);
    let forced = Forced {
        rounds,
        in_memory: trials::force(stage, memory, rounds)?,
        in_file: trials::force(stage, file, rounds)?,
        private_right: trials::keep_private(stage, rounds)?,
    };
    stage.note("Now nothing makes them meet but luck. To yield between read and write widens the window.");
    let luck = trials::try_luck(stage, memory, file)?;
    stage.note("And now with a fix for each: four processes at once.");
    let (in_memory, in_file) = (trials::fix(stage, memory)?, trials::fix(stage, file)?);
    let kept = Kept { sent: in_memory.sent + in_file.sent, total: in_memory.total + in_file.total };
    stage.note("What each costs: two processes add to one total, half of the additions each.");
    let prices = [cost::compare(stage, memory)?, cost::compare(stage, file)?].join(", ");
    conclude(stage, &forced, luck, &kept, &prices)
}

/// How many of the forced rounds lost an addition.
struct Forced {
    rounds: u64,
    in_memory: u64,
    in_file: u64,
    private_right: bool,
}

fn conclude(stage: &mut Stage, forced: &Forced, luck: u64, kept: &Kept, prices: &str) -> Result<()> {
    let Forced { rounds, in_memory, in_file, private_right } = *forced;
    let easier = match (in_memory, in_file) {
        (memory, file) if memory == rounds && file == rounds => Verdict::Refuted,
        (memory, file) if memory == rounds || file == rounds => Verdict::Qualified,
        (0, 0) if private_right => Verdict::Holds,
        _ => Verdict::Undecided,
    };
    let losses =
        format!("of {rounds} forced rounds {in_memory} lost an addition in shared memory and {in_file} in a file");
    let private = if private_right { "lost none" } else { "went wrong too" };
    let because = format!("{losses}; memory that each has to itself {private}");
    stage.verdict(Claim::ProcessesSynchronizeEasier, easier, because)?;

    let answer = if in_memory + in_file + luck > 0 { "Yes" } else { "It was not seen" };
    let prevented = if kept.total == kept.sent { Verdict::Holds } else { Verdict::Refuted };
    let (total, sent, luck) = (count(kept.total), count(kept.sent), count(luck));
    let because =
        format!("the fixes, fetch_add in shared memory and flock around a file, kept {total} of {sent} additions");
    stage.verdict(Claim::SynchronizationPreventsInterference, prevented, because)?;
    stage.answer(format!(
        "{answer}: {losses}, and luck lost {luck} more; the fixes kept {total} of {sent}; beside the code \
         that loses, {prices}."
    ));
    Ok(())
}
