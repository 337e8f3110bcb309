//! How many does a semaphore let in at once, between threads and between processes?

use anyhow::Result;
use ipc_demo::shared_region::SharedRegion;
use shared::{Cell, Claim, Column, Demo, Extras, Snippet, Stage, Table, Verdict, refused};
use sync_demo::posix_semaphore::PosixSemaphore;
use sync_demo::semaphore::Semaphore;

use crate::admission::{Seen, observe};
use crate::workers::Workers;

pub const DEMO: Demo = Demo {
    name: "semaphore",
    question: "How many does a semaphore let in at once?",
    claims: &[Claim::OneAtATime],
    rule: "One at a time holds if no semaphore, of however many permits, ever had more than one inside; it is \
           qualified if semaphores of one permit had one and those of more had more; it is refuted if a semaphore of \
           one permit had more than one; anything else is undecided.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "sync-demo/snippets/semaphore.rs", text: include_str!("../snippets/semaphore.rs") },
        Snippet { path: "sync-demo/snippets/posix_semaphore.rs", text: include_str!("../snippets/posix_semaphore.rs") },
    ],
    run,
};

const PERMITS: [u32; 2] = [1, 3]; // With one it is a lock; with more it shows what a lock is not.

fn run(stage: &mut Stage) -> Result<()> {
    stage.note("One worker more than there are permits comes to stay in a room; then a crowd comes and goes.");
    let mut seen = Vec::new();
    // Processes first: a fork copies only the thread that calls it, so there must be no other yet.
    for permits in PERMITS {
        match between_processes(stage, permits) {
            Ok(found) => seen.push(found),
            Err(error) => {
                let why = refused(&error).ok_or(error)?;
                stage.note(format!("With processes and {} it cannot be tried here: {why}.", self::permits(permits)));
            }
        }
    }
    for permits in PERMITS {
        seen.push(observe(stage, Workers::Threads, &Semaphore::new(permits as usize), permits)?);
    }
    stage.table(table(&seen));
    let answer = conclude(stage, &seen)?;
    stage.answer(answer);
    Ok(())
}

fn between_processes(stage: &mut Stage, permits: u32) -> Result<Seen> {
    let region = SharedRegion::new(size_of::<PosixSemaphore>())?;
    // SAFETY: the region is page-aligned, large enough, seen by nobody else yet, and lives to the end of this function.
    let semaphore = unsafe { PosixSemaphore::init(region.as_ptr().cast(), permits) }?;
    observe(stage, Workers::Processes, semaphore, permits)
}

fn table(seen: &[Seen]) -> Table {
    let row = |seen: &Seen| {
        let words = [seen.workers.to_string(), seen.gate.to_owned()].map(Cell::Text);
        let numbers = [seen.admits.into(), seen.most.into(), seen.entries as f64].map(Cell::Number);
        words.into_iter().chain(numbers).collect()
    };
    Table {
        title: "How many were inside at once".to_owned(),
        columns: vec![
            Column::label("between"),
            Column::label("semaphore"),
            Column::x("permits", ""),
            Column::value("inside at most", ""),
            Column::value("entries", ""),
        ],
        rows: seen.iter().map(row).collect(),
    }
}

fn conclude(stage: &mut Stage, seen: &[Seen]) -> Result<String> {
    let (of_one, of_more): (Vec<&Seen>, Vec<&Seen>) = seen.iter().partition(|seen| seen.admits == 1);
    let verdict = if of_one.iter().any(|seen| seen.most > 1) {
        Verdict::Refuted
    } else if seen.iter().all(|seen| seen.most == 1) {
        Verdict::Holds
    } else if of_more.iter().all(|seen| seen.most > 1) {
        Verdict::Qualified
    } else {
        Verdict::Undecided
    };
    let each = |seen: &Seen| format!("{} with {}", seen.most, permits(seen.admits));
    let list = |workers| {
        let each: Vec<_> = seen.iter().filter(|seen| seen.workers == workers).map(each).collect();
        let found = if each.is_empty() { "none, for they were not tried".to_owned() } else { each.join(" and ") };
        format!("of the {workers}, {found}")
    };
    let lists = [list(Workers::Threads), list(Workers::Processes)].join("; ");
    let most = seen.iter().map(|seen| seen.most).max().unwrap_or(0);
    let condition = if verdict == Verdict::Qualified { "only with one permit; " } else { "" };
    let because = format!("{condition}inside at once were, {lists}");
    stage.verdict_by(Claim::OneAtATime, verdict, because, most.into(), "inside at once")?;
    let answer = if seen.iter().all(Seen::kept_its_number) { "As many" } else { "Not as many" };
    Ok(format!("{answer} as it has permits. Inside at once were, {lists}."))
}

fn permits(count: u32) -> String {
    if count == 1 { "1 permit".to_owned() } else { format!("{count} permits") }
}
