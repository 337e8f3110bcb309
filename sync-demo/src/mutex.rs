//! Does a mutex let in only one at a time, between threads as between processes?

mod cost;

use std::sync::Mutex;

use anyhow::Result;
use ipc_demo::shared_region::SharedRegion;
use shared::number::count;
use shared::{Claim, Demo, Extras, Snippet, Stage, Verdict, refused};
use sync_demo::futex_mutex::FutexMutex;
use sync_demo::process_mutex::ProcessMutex;

use crate::admission::{Seen, observe, observe_without};
use crate::gate::Gate;
use crate::workers::Workers;

pub const DEMO: Demo = Demo {
    name: "mutex",
    question: "Does a mutex let in only one at a time, between threads as between processes?",
    claims: &[Claim::OneAtATime, Claim::ThreadsUseLocks],
    rule: "One at a time is refuted if any lock ever had two inside or lost an addition; it is undecided if the count \
           did not show two where there was no lock; it is qualified if processes could not be tried; else it holds. \
           That threads use locks holds if every lock kept its threads apart and every addition of theirs, else it is \
           refuted; condition variables are not tried here.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "sync-demo/snippets/futex_mutex.rs", text: include_str!("../snippets/futex_mutex.rs") },
        Snippet { path: "sync-demo/snippets/process_mutex.rs", text: include_str!("../snippets/process_mutex.rs") },
        Snippet { path: "sync-demo/snippets/posix_semaphore.rs", text: include_str!("../snippets/posix_semaphore.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let regions = [SharedRegion::new(size_of::<FutexMutex<()>>())?, SharedRegion::new(size_of::<ProcessMutex<()>>())?];
    // SAFETY: each region is page-aligned, large enough, seen by nobody else yet, and outlives both references.
    let (futex, pthread) = unsafe {
        let place = regions[0].as_ptr().cast();
        std::ptr::write(place, FutexMutex::new(()));
        (&*place, ProcessMutex::init(regions[1].as_ptr().cast(), ())?)
    };
    stage.note("Workers enter a room that counts who is inside; each visitor adds to a total, in two steps.");
    // Processes first: a fork copies only the thread that calls it, so there must be no other yet.
    let processes = try_half(stage, Workers::Processes, &[pthread, futex])?;
    let threads = half(stage, Workers::Threads, &[&Mutex::new(()), futex])?;
    let costs = cost::compare(stage)?;
    let answer = conclude(stage, &threads, processes.as_ref(), &costs)?;
    stage.answer(answer);
    Ok(())
}

/// What was seen with one kind of worker.
struct Half {
    without: u32,
    locks: Vec<Seen>,
}

fn half(stage: &mut Stage, workers: Workers, gates: &[&dyn Gate]) -> Result<Half> {
    let without = observe_without(stage, workers)?;
    let locks = gates.iter().map(|&gate| observe(stage, workers, gate, 1)).collect::<Result<_>>()?;
    Ok(Half { without, locks })
}

/// None if this machine refuses it.
fn try_half(stage: &mut Stage, workers: Workers, gates: &[&dyn Gate]) -> Result<Option<Half>> {
    match half(stage, workers, gates) {
        Ok(half) => Ok(Some(half)),
        Err(error) => {
            let why = refused(&error).ok_or(error)?;
            stage.note(format!("With {workers} it cannot be tried here: {why}."));
            Ok(None)
        }
    }
}

fn conclude(stage: &mut Stage, threads: &Half, processes: Option<&Half>, costs: &str) -> Result<String> {
    let halves: Vec<&Half> = [threads].into_iter().chain(processes).collect();
    let locks: Vec<&Seen> = halves.iter().flat_map(|half| &half.locks).collect();
    let kept = |seen: &Seen| seen.kept_its_number() && seen.kept_every_addition();
    let one_at_a_time = if !locks.iter().all(|seen| kept(seen)) {
        Verdict::Refuted
    } else if halves.iter().any(|half| half.without < 2) {
        Verdict::Undecided
    } else if processes.is_none() {
        Verdict::Qualified
    } else {
        Verdict::Holds
    };
    let between =
        if processes.is_some() { "threads as between processes" } else { "threads; processes were not tried" };
    let most = locks.iter().map(|seen| seen.most).max().unwrap_or(0);
    let without = halves.iter().map(|half| half.without).min().unwrap_or(0);
    let mut kinds: Vec<&str> = locks.iter().map(|seen| seen.gate).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let entries: u64 = locks.iter().map(|seen| seen.entries).sum();
    let found = format!(
        "at most {most} was inside in {} entries by {} kinds of lock, between {between}; without a lock it was \
         {without}",
        count(entries),
        kinds.len()
    );
    stage.verdict_by(Claim::OneAtATime, one_at_a_time, found.clone(), most.into(), "inside at once")?;

    let use_locks = if threads.locks.iter().all(kept) { Verdict::Holds } else { Verdict::Refuted };
    let total = |of: fn(&Seen) -> u64| count(threads.locks.iter().map(of).sum());
    let because = format!("locks kept {} of the {} additions of threads", total(|s| s.additions), total(|s| s.entries));
    let too = if processes.is_some() { "; processes use them too, in memory that they share" } else { "" };
    stage.verdict(Claim::ThreadsUseLocks, use_locks, format!("{because}{too}"))?;
    let answer = if one_at_a_time == Verdict::Refuted { "No" } else { "Yes" };
    Ok(format!("{answer}: {found}. While nobody else wants it, to lock, add one and unlock takes {costs}."))
}
