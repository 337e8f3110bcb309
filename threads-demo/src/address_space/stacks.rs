//! Has each thread an id, a stack and a program counter of its own?

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use shared::number::counted;
use shared::{Cell, Claim, Ruling, Stage, Table};
use threads_demo::thread_identity::{Registers, ThreadIdentity};

use super::asleep::{Seen, look};
use super::{Part, Whose, address, columns};

/// Also returns whether one thread could write into the stack of another.
pub(super) fn show(stage: &mut Stage) -> Result<(Vec<Part>, bool)> {
    let (threads, listed) = look(stage.clock()).context("starting threads to look at")?;
    judge_ids(stage, &threads, &listed)?;
    let stack = show_stacks(stage, &threads);
    let counter = show_registers(stage, &threads);
    let written = write_into_a_stack(stage)?;
    let own = [&stack].into_iter().chain(&counter).all(|part| part.whose == Whose::Own);
    let unseen = if counter.is_none() { " (program counters could not be read here)" } else { "" };
    let because = format!("Each of {} threads has its own stack{unseen}", threads.len());
    let ruling = match (own, written) {
        (false, _) => Ruling::refuted("Stacks overlap, a thread lies outside its own, or all stand at one instruction"),
        (true, true) => Ruling::except(
            "that one thread can write into another's stack",
            format!("{because}; one changed another's local variable"),
        ),
        (true, false) => Ruling::holds(because),
    };
    stage.rule(Claim::OwnStackAndCounter, ruling.by(threads.len() as f64, "stacks"))?;
    Ok(([stack].into_iter().chain(counter).collect(), written))
}

fn judge_ids(stage: &mut Stage, threads: &[Seen], listed: &[Pid]) -> Result<()> {
    let pids: HashSet<Pid> = threads.iter().map(|seen| seen.identity.pid).collect();
    let tids: HashSet<Pid> = threads.iter().map(|seen| seen.identity.tid).collect();
    let in_proc = tids.iter().filter(|tid| listed.contains(tid)).count();
    let total = threads.len();
    let [pid, tid] = [counted(pids.len(), "pid"), counted(tids.len(), "tid")];
    let got = format!("{pid} and {tid}, {in_proc} of them in /proc");
    let says = format!("A process with {total} threads has one pid, and a tid for each thread");
    let holds = stage.fact(says, pids.len() == 1 && tids.len() == total && in_proc == tids.len(), &got);
    let because = format!("{total} threads had {got}");
    let ruling = if holds { Ruling::holds(because) } else { Ruling::refuted(because) };
    stage.rule(Claim::ManyThreadsInAProcess, ruling.by(tids.len() as f64, "threads"))
}

/// Do the stacks lie apart, and each thread's local variable in its own?
fn show_stacks(stage: &mut Stage, threads: &[Seen]) -> Part {
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
    let seen = format!("{}, {}", counted(total, "stack"), counted(overlaps, "overlap"));
    let apart = stage.fact("No two stacks overlap", overlaps == 0, &seen);
    let says = "Each thread's local variable lies in its own stack";
    let inside = stage.fact(says, at_home == total, format!("{at_home} of {total}"));
    Part { name: "stack", whose: if apart && inside { Whose::Own } else { Whose::Unclear }, seen }
}

/// Do the sleepers' stack pointers lie in their stacks, and do they stand at different instructions? None if the kernel
/// does not show it.
fn show_registers(stage: &mut Stage, threads: &[Seen]) -> Option<Part> {
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
    let (total, places) = (sleepers.len(), counted(counters.len(), "instruction"));
    // Two suffice: some C libraries make several calls by one and the same instruction.
    let own = inside == total && counters.len() > 1;
    let says = "Sleeping threads have stack pointers in their own stacks and stand at different instructions";
    stage.fact(says, own, format!("{inside} of {total} in their own stacks; {places}"));
    let seen = format!("{total} sleeping threads at {places}");
    Some(Part { name: "program counter", whose: if own { Whose::Own } else { Whose::Unclear }, seen })
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
    let got = format!("the first wrote 1 there, the second 2, the first read {found}");
    Ok(stage.fact("A thread can write to a variable on another's stack", foreign && found == 2, got))
}
