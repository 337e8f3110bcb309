//! Has each thread an id, a stack and a program counter of its own?

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use shared::{Cell, Claim, Stage, Table, Verdict};
use threads_demo::thread_identity::{Registers, ThreadIdentity};

use super::asleep::{Seen, look};
use super::{address, columns};

pub(super) fn show(stage: &mut Stage) -> Result<String> {
    let (threads, listed) = look(stage.clock()).context("starting threads to look at")?;
    judge_ids(stage, &threads, &listed)?;
    let (disjoint, at_home) = show_stacks(stage, &threads);
    let standing = show_registers(stage, &threads);
    let written = write_into_a_stack(stage)?;
    let own = disjoint && at_home && standing.is_none_or(|(inside, apart)| inside && apart);
    let counter = standing.map_or(" (their program counters could not be read here)", |_| "");
    let (verdict, because) = match (own, written) {
        (false, _) => (Verdict::Refuted, "stacks overlap, or threads stand where they should not".to_owned()),
        (true, true) => (
            Verdict::Qualified,
            format!("{} threads have stacks apart{counter}; yet one wrote into the stack of another", threads.len()),
        ),
        (true, false) => (Verdict::Holds, format!("{} threads have stacks apart{counter}", threads.len())),
    };
    stage.verdict_by(Claim::OwnStackAndCounter, verdict, &because, threads.len() as f64, "stacks")?;
    Ok(because)
}

fn judge_ids(stage: &mut Stage, threads: &[Seen], listed: &[Pid]) -> Result<()> {
    let pids: HashSet<Pid> = threads.iter().map(|seen| seen.identity.pid).collect();
    let tids: HashSet<Pid> = threads.iter().map(|seen| seen.identity.tid).collect();
    let in_proc = tids.iter().filter(|tid| listed.contains(tid)).count();
    let got = format!("{} pid, {} tids, {in_proc} of them in /proc/self/task", pids.len(), tids.len());
    let says = format!("{} threads live in one process: one pid, a tid for each", threads.len());
    let holds = stage.fact(says, pids.len() == 1 && tids.len() == threads.len() && in_proc == tids.len(), &got);
    let verdict = if holds { Verdict::Holds } else { Verdict::Refuted };
    stage.verdict_by(Claim::ManyThreadsInAProcess, verdict, &got, tids.len() as f64, "threads")
}

/// Do the stacks lie apart, and each thread's local variable in its own?
fn show_stacks(stage: &mut Stage, threads: &[Seen]) -> (bool, bool) {
    let row = |seen: &Seen| {
        let stack = &seen.identity.stack;
        vec![Cell::Text(seen.name.to_owned()), address(stack.start), address(stack.end), address(seen.local)]
    };
    stage.table(Table {
        title: "Each thread's stack, and a local variable on it".to_owned(),
        columns: columns(&["thread", "stack from", "stack to", "local at"]),
        rows: threads.iter().map(row).collect(),
    });
    let mut stacks: Vec<_> = threads.iter().map(|seen| seen.identity.stack.clone()).collect();
    stacks.sort_by_key(|stack| stack.start);
    let overlaps = stacks.windows(2).filter(|pair| pair[0].end > pair[1].start).count();
    let at_home = threads.iter().filter(|seen| seen.identity.stack.contains(&seen.local)).count();
    let total = threads.len();
    let apart = stage.fact("No two stacks overlap", overlaps == 0, format!("{total} stacks, {overlaps} overlaps"));
    let inside = at_home == total;
    let inside = stage.fact("Each thread's local lies in its own stack", inside, format!("{at_home} of {total}"));
    (apart, inside)
}

/// Do the sleepers' stack pointers lie in their stacks, and do they stand at different places of the program? None if
/// the kernel does not show it.
fn show_registers(stage: &mut Stage, threads: &[Seen]) -> Option<(bool, bool)> {
    let cells = |seen: &Seen| match &seen.asleep {
        None => [Cell::Text("runs".to_owned()), Cell::Text("runs".to_owned())],
        Some(Ok(found)) => [address(found.program_counter), address(found.stack_pointer)],
        Some(Err(error)) => [(); 2].map(|()| Cell::Skipped { skipped: error.to_string() }),
    };
    let row = |seen: &Seen| {
        let ids = [seen.name.to_owned(), seen.identity.pid.to_string(), seen.identity.tid.to_string()];
        ids.map(Cell::Text).into_iter().chain(cells(seen)).collect()
    };
    stage.table(Table {
        title: "Where each thread stands".to_owned(),
        columns: columns(&["thread", "pid", "tid", "program counter", "stack pointer"]),
        rows: threads.iter().map(row).collect(),
    });
    let sleepers = threads.iter().filter_map(|seen| Some((seen, seen.asleep.as_ref()?.as_ref().ok()?)));
    let sleepers: Vec<(&Seen, &Registers)> = sleepers.collect();
    if sleepers.len() < 2 {
        return None;
    }
    let inside = sleepers.iter().filter(|(seen, found)| seen.identity.stack.contains(&found.stack_pointer)).count();
    let counters: HashSet<usize> = sleepers.iter().map(|(_, found)| found.program_counter).collect();
    let (total, places) = (sleepers.len(), counters.len());
    let says = "Each sleeper's stack pointer lies in its own stack";
    let inside = stage.fact(says, inside == total, format!("{inside} of {total}"));
    // Two places suffice: some C libraries make several calls by one and the same instruction.
    let says = "The sleepers stand at different places of one program, so each has a program counter of its own";
    Some((inside, stage.fact(says, places > 1, format!("{total} sleepers at {places} places"))))
}

/// May one thread write into the stack of another? It needs nothing but the address.
fn write_into_a_stack(stage: &mut Stage) -> Result<bool> {
    let on_the_first_stack = AtomicU64::new(1);
    let place = std::ptr::from_ref(&on_the_first_stack).addr();
    let own = ThreadIdentity::of_caller()?;
    let write = || {
        on_the_first_stack.store(2, Relaxed); // The join publishes it.
        ThreadIdentity::of_caller()
    };
    let writer = thread::scope(|scope| {
        let writer = Builder::new().spawn_scoped(scope, write)?;
        writer.join().expect("a store does not panic")
    })?;
    let foreign = own.stack.contains(&place) && !writer.stack.contains(&place) && writer.tid != own.tid;
    let found = on_the_first_stack.into_inner();
    let got = format!("the first thread put 1 there and reads {found}");
    Ok(stage.fact("A second thread can write to a variable on the first one's stack", foreign && found == 2, got))
}
