//! Has each thread an id, a stack and a program counter of its own?

use std::collections::HashSet;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::ptr::from_ref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use crossbeam_channel::bounded;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use process_demo::asleep::look_until;
use shared::measure::SystemClock;
use shared::number::counted;
use shared::{Cell, Claim, Ruling, Stage};
use threads_demo::thread_identity::{Registers, ThreadIdentity, registers, tids};

use super::{Part, Whose, address, in_second_thread, table, text};

/// Also returns whether one thread could write into the stack of another.
pub fn look_at_four(stage: &mut Stage) -> Result<(Vec<Part>, bool)> {
    let (threads, listed) = find(stage.clock()).context("starting threads to look at")?;
    judge_ids(stage, &threads, &listed)?;
    let stack = judge_stacks(stage, &threads);
    let counter = judge_registers(stage, &threads);
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

/// What a thread knows of itself, and what is known of it while it sleeps.
struct FoundThread {
    name: &'static str,
    identity: ThreadIdentity,
    local: usize,
    asleep: Option<io::Result<Registers>>, // None of the first thread: it is the one that looks.
}

impl FoundThread {
    fn of_caller(name: &'static str) -> io::Result<FoundThread> {
        let local = 0_u8;
        let local = from_ref(&local).addr();
        Ok(FoundThread { name, identity: ThreadIdentity::of_caller()?, local, asleep: None })
    }
}

type FallAsleep = Box<dyn FnOnce() + Send>;

/// Three threads fall asleep in three different calls while the first one looks at them; also the threads that /proc
/// lists meanwhile.
fn find(clock: SystemClock) -> Result<(Vec<FoundThread>, Vec<Pid>)> {
    thread::scope(|scope| {
        let (tell, told) = bounded(1);
        // While this end of each is open, its thread sleeps; on the way out, also by an error, all are dropped.
        let (_keeps_recv_waiting, never_sent) = bounded::<()>(0);
        let (mut never_written, _keeps_read_waiting) = io::pipe()?;
        let (never_ready, _keeps_poll_waiting) = io::pipe()?;
        let sleep_in_poll =
            move || _ = poll(&mut [PollFd::new(never_ready.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
        let sleepers: [(&str, FallAsleep); 3] = [
            ("in poll", Box::new(sleep_in_poll)),
            ("in read", Box::new(move || _ = never_written.read(&mut [0]))),
            ("in recv", Box::new(move || _ = never_sent.recv())),
        ];
        let mut threads = vec![FoundThread::of_caller("first")?];
        for (name, fall_asleep) in sleepers {
            let tell = tell.clone();
            let life = move || {
                let _ = tell.send(FoundThread::of_caller(name)); // Unheard only if the first thread has given up already.
                fall_asleep();
            };
            Builder::new().spawn_scoped(scope, life)?;
            let mut thread = told.recv()??;
            let found = look_until(clock, || registers(thread.identity.tid));
            thread.asleep = Some(found.and_then(|found| found.ok_or_else(|| io::Error::other("never seen asleep"))));
            threads.push(thread);
        }
        Ok((threads, tids()?))
    })
}

fn judge_ids(stage: &mut Stage, threads: &[FoundThread], listed: &[Pid]) -> Result<()> {
    let pids: HashSet<Pid> = threads.iter().map(|thread| thread.identity.pid).collect();
    let tids: HashSet<Pid> = threads.iter().map(|thread| thread.identity.tid).collect();
    let in_proc = tids.iter().filter(|tid| listed.contains(tid)).count();
    let total = threads.len();
    let got = format!("{} and {}, {in_proc} of them in /proc", counted(pids.len(), "pid"), counted(tids.len(), "tid"));
    let says = format!("A process with {total} threads has one pid, and a tid for each thread");
    let holds = stage.fact(says, pids.len() == 1 && tids.len() == total && in_proc == total, &got);
    let because = format!("{total} threads had {got}");
    let ruling = if holds { Ruling::holds(because) } else { Ruling::refuted(because) };
    stage.rule(Claim::ManyThreadsInAProcess, ruling.by(tids.len() as f64, "threads"))
}

/// Do the stacks lie apart, and each thread's local variable in its own?
fn judge_stacks(stage: &mut Stage, threads: &[FoundThread]) -> Part {
    let row = |thread: &FoundThread| {
        let stack = &thread.identity.stack;
        vec![text(thread.name), address(stack.start), address(stack.end), address(thread.local)]
    };
    let columns = ["thread", "stack from", "stack to", "local at"];
    let rows = threads.iter().map(row).collect();
    stage.table(table("Each thread's stack, and a local variable on it", &columns, rows));
    let mut stacks: Vec<_> = threads.iter().map(|thread| thread.identity.stack.clone()).collect();
    stacks.sort_by_key(|stack| stack.start);
    let overlaps = stacks.windows(2).filter(|pair| pair[0].end > pair[1].start).count();
    let at_home = threads.iter().filter(|thread| thread.identity.stack.contains(&thread.local)).count();
    let total = threads.len();
    let seen = format!("{}, {}", counted(total, "stack"), counted(overlaps, "overlap"));
    let apart = stage.fact("No two stacks overlap", overlaps == 0, &seen);
    let says = "Each thread's local variable lies in its own stack";
    let inside = stage.fact(says, at_home == total, format!("{at_home} of {total}"));
    Part { name: "stack", whose: if apart && inside { Whose::Own } else { Whose::Unclear }, seen }
}

/// Do the sleepers' stack pointers lie in their stacks, and do they stand at different instructions? None if the kernel
/// does not show it.
fn judge_registers(stage: &mut Stage, threads: &[FoundThread]) -> Option<Part> {
    let row = |thread: &FoundThread| {
        let [pid, tid] = [thread.identity.pid, thread.identity.tid].map(|id| text(&id.to_string()));
        let [counter, pointer] = match &thread.asleep {
            None => [text("runs"), text("runs")],
            Some(Ok(found)) => [address(found.program_counter), address(found.stack_pointer)],
            Some(Err(error)) => [(); 2].map(|()| Cell::Skipped { skipped: error.to_string() }),
        };
        vec![text(thread.name), pid, tid, counter, pointer]
    };
    let columns = ["thread", "pid", "tid", "program counter", "stack pointer"];
    stage.table(table("Where each thread stands", &columns, threads.iter().map(row).collect()));
    let asleep = |thread: &FoundThread| Some((thread.identity.stack.clone(), *thread.asleep.as_ref()?.as_ref().ok()?));
    let sleepers: Vec<_> = threads.iter().filter_map(asleep).collect();
    if sleepers.len() < 2 {
        return None;
    }
    let inside = sleepers.iter().filter(|(stack, found)| stack.contains(&found.stack_pointer)).count();
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
    let place = from_ref(&on_the_first_stack).addr();
    let own = ThreadIdentity::of_caller()?;
    let writer = in_second_thread(|| {
        on_the_first_stack.store(2, Relaxed); // The join publishes it.
        ThreadIdentity::of_caller()
    })??;
    let foreign = own.stack.contains(&place) && !writer.stack.contains(&place) && writer.tid != own.tid;
    let found = on_the_first_stack.into_inner();
    let got = format!("the first wrote 1 there, the second 2, the first read {found}");
    Ok(stage.fact("A thread can write to a variable on another's stack", foreign && found == 2, got))
}
