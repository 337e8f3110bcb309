//! Does a mutex let in only one at a time, between threads as between processes?

use std::thread;

use anyhow::{Result, anyhow};
use process_demo::crew::Kind;
use shared::measure::{Contest, Rival, Timing};
use shared::number::count;
use shared::{Cell, Claim, Demo, Extras, Placement, Ruling, Snippet, Stage, Table, Verdict, refused};

use crate::admission::{Seen, columns, observe, observe_without};
use crate::locks::{LockKind, MUTEXES, SEMAPHORES};

pub const DEMO: Demo = Demo {
    name: "mutex",
    question: "Does a mutex admit only one at a time, thread or process?",
    claims: &[Claim::OneAtATime, Claim::ThreadsUseLocks],
    rule: "One at a time is refuted if any lock ever had two inside or lost an addition. It is undecided if the count \
           did not show two where there was no lock. It holds in part if processes could not be tried; else it holds. \
           That threads use locks holds if every lock kept its threads apart and kept every addition of theirs; else \
           it is refuted. Condition variables are not tried here.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "sync-demo/snippets/futex_mutex.rs", text: include_str!("../snippets/futex_mutex.rs") },
        Snippet { path: "sync-demo/snippets/process_mutex.rs", text: include_str!("../snippets/process_mutex.rs") },
        Snippet { path: "sync-demo/snippets/posix_semaphore.rs", text: include_str!("../snippets/posix_semaphore.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note("Workers enter a room that counts who is inside; each visitor adds to a total, in two steps.");
    let processes = try_half(stage, Kind::Processes)?;
    let threads = half(stage, Kind::Threads)?;
    compare_costs(stage)?;
    conclude(stage, &threads, processes.as_ref())
}

/// What was seen with one kind of worker.
struct Half {
    workers: Kind,
    without: u32,
    locks: Vec<Seen>,
}

fn half(stage: &mut Stage, workers: Kind) -> Result<Half> {
    let without = observe_without(stage, workers)?;
    let kinds = MUTEXES.iter().filter(|kind| kind.between.contains(&workers));
    let locks = kinds.map(|kind| observe(stage, workers, kind, 1)).collect::<Result<_>>()?;
    Ok(Half { workers, without, locks })
}

/// None if this machine refuses it.
fn try_half(stage: &mut Stage, workers: Kind) -> Result<Option<Half>> {
    match half(stage, workers) {
        Ok(half) => Ok(Some(half)),
        Err(error) => {
            let why = refused(&error).ok_or(error)?;
            stage.note(format!("With {workers} it cannot be tried here: {why}."));
            Ok(None)
        }
    }
}

/// Only the full report shows it.
fn compare_costs(stage: &mut Stage) -> Result<()> {
    stage.note(
        "What it costs to lock, add one and unlock while nobody else wants the lock. The process has had a second thread: \
         until then the C library locks without atomic instructions.",
    );
    thread::spawn(|| ()).join().map_err(|_| anyhow!("a thread that does nothing has panicked"))?;
    let mut contest = Contest::new("Lock, add one, unlock; nobody else waits", "the kind of lock", Timing::Batches);
    let kinds: Vec<&LockKind> = MUTEXES.iter().chain(&SEMAPHORES).collect();
    kinds.iter().for_each(|kind| contest.add(Rival::of_threads(kind.name, Placement::Free, |_| (kind.time)())));
    let measured = stage.compare(contest)?;
    let std = MUTEXES[0].name;
    for kind in &kinds[1..] {
        if let Some(ratio) = measured.ratio(kind.name, std, Placement::Free) {
            stage.trend(format!("{} against {std}", kind.name), &ratio);
        }
    }
    Ok(())
}

fn conclude(stage: &mut Stage, threads: &Half, processes: Option<&Half>) -> Result<()> {
    let halves: Vec<&Half> = [threads].into_iter().chain(processes).collect();
    let locks: Vec<&Seen> = halves.iter().flat_map(|half| &half.locks).collect();
    let without = halves.iter().map(|half| half.without).min().unwrap_or(0);
    let most = locks.iter().map(|seen| seen.most).max().unwrap_or(0);
    let total = |of: fn(&Seen) -> u64| count(locks.iter().map(|&seen| of(seen)).sum());
    let (entries, additions) = (total(|seen| seen.entries), total(|seen| seen.additions));
    stage.show(table(&halves));
    let crowds = locks.iter().all(|seen| seen.kept_the_crowd());
    let got = format!("{most} at most in {entries} entries, {additions} additions kept");
    stage.fact("In a crowd no lock has two inside, and no addition is lost", crowds, got);

    let whom = if processes.is_some() { "threads and processes" } else { "threads" };
    let found =
        format!("in {entries} entries by {whom} no lock had more than {most} inside; without one, {without} were");
    let one_at_a_time = if let Some(broken) = broken(&locks) {
        Ruling::refuted(broken)
    } else if without < 2 {
        Ruling::undecided(format!("Without a lock the count showed {without} inside, so it cannot tell"))
    } else if processes.is_none() {
        Ruling::in_part("true of threads; processes could not be tried here", found.clone())
    } else {
        Ruling::holds(found.clone())
    };
    let answer = match one_at_a_time.verdict {
        Verdict::Refuted => "No",
        Verdict::Undecided => "It could not be told",
        _ => "Yes",
    };
    stage.rule(Claim::OneAtATime, one_at_a_time.by(most.into(), "inside at once"))?;
    stage.rule(Claim::ThreadsUseLocks, use_locks(threads, processes))?;
    stage.headline(format!("{most} inside at once, {without} without a lock"));
    stage.answer(format!("{answer}: {found}."));
    stage.advise("Between threads use std's Mutex, between processes `process_mutex`.");
    Ok(())
}

fn use_locks(threads: &Half, processes: Option<&Half>) -> Ruling {
    let locks: Vec<&Seen> = threads.locks.iter().collect();
    if let Some(broken) = broken(&locks) {
        return Ruling::refuted(broken);
    }
    let additions = count(locks.iter().map(|seen| seen.additions).sum());
    let too = if processes.is_some() { "; processes use them too, in memory that they share" } else { "" };
    Ruling::holds(format!("Locks kept all {additions} additions of threads{too}"))
}

/// What the first lock did that was not right; none if all were.
fn broken(locks: &[&Seen]) -> Option<String> {
    let seen = locks.iter().find(|seen| !seen.kept_its_number() || !seen.kept_every_addition())?;
    let Seen { workers, lock, most, .. } = seen;
    let (additions, entries) = (count(seen.additions), count(seen.entries));
    let open = if seen.was_open { "; one more could get in" } else { "" };
    Some(format!("{lock}, {workers}: {most} inside at once, {additions} of {entries} additions kept{open}"))
}

fn table(halves: &[&Half]) -> Table {
    let without = |half: &Half| {
        let words = [half.workers.to_string(), "none".to_owned()].map(Cell::Text);
        let nothing = || Cell::Nothing;
        words.into_iter().chain([nothing(), Cell::Number(half.without.into()), nothing(), nothing()]).collect()
    };
    let rows = |half: &&Half| [without(half)].into_iter().chain(half.locks.iter().map(Seen::row)).collect::<Vec<_>>();
    Table {
        title: "How many were inside at once".to_owned(),
        columns: columns("lock"),
        rows: halves.iter().flat_map(rows).collect(),
    }
}
