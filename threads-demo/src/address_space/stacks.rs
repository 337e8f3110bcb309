//! Has each thread an id, a stack and a program counter of its own?

use std::collections::HashSet;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::ptr::from_ref;
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use crossbeam_channel::bounded;
use nix::unistd::Pid;
use process_demo::asleep::look_until;
use shared::measure::SystemClock;
use shared::number::counted;
use shared::{Cell, Claim, Ruling, Stage, Table};
use threads_demo::thread_identity::{Registers, ThreadIdentity, registers, tids};

use super::{OWN, Part};

pub fn look_at_four(stage: &mut Stage) -> Result<Vec<Part>> {
    let (threads, listed) = find(stage.clock()).context("starting threads to look at")?;
    stage.table(table(&threads));
    let alive = threads.iter().filter(|thread| listed.contains(&thread.identity.tid)).count();
    stage.all("All threads that are compared live at the same time: /proc lists them", alive, threads.len());
    stage.rule(Claim::ManyThreadsInAProcess, judge_ids(&threads))?;
    Ok([look_at_stacks(&threads)].into_iter().chain(look_at_counters(&threads)).collect())
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
        let (_keeps_channel_waiting, never_sent) = bounded::<()>(0);
        let (mut never_written, _keeps_pipe_waiting) = io::pipe()?;
        let (mut never_told, _keeps_socket_waiting) = UnixStream::pair()?;
        let sleepers: [(&str, FallAsleep); 3] = [
            ("in a pipe", Box::new(move || _ = never_written.read(&mut [0]))),
            ("in a socket", Box::new(move || _ = never_told.read(&mut [0]))),
            ("in a channel", Box::new(move || _ = never_sent.recv())),
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

fn table(threads: &[FoundThread]) -> Table {
    let address = |of: usize| Cell::Text(format!("{of:#x}"));
    let row = |FoundThread { name, identity, local, asleep }: &FoundThread| {
        let counter = match asleep {
            None => "runs".into(),
            Some(Ok(found)) => address(found.program_counter),
            Some(Err(error)) => Cell::Skipped { skipped: error.to_string() },
        };
        vec![(*name).into(), address(identity.stack.start), address(identity.stack.end), address(*local), counter]
    };
    let columns = ["thread", "stack from", "stack to", "a local at", "goes on at"];
    Table::new("Where each thread stands", columns, threads.iter().map(row))
}

fn judge_ids(threads: &[FoundThread]) -> Ruling {
    let distinct = |id: fn(&FoundThread) -> Pid| threads.iter().map(id).collect::<HashSet<Pid>>().len();
    let (pids, tids) = (distinct(|thread| thread.identity.pid), distinct(|thread| thread.identity.tid));
    let because = format!("{} threads had {} and {}", threads.len(), counted(pids, "pid"), counted(tids, "tid"));
    let is_one = pids == 1 && tids == threads.len();
    let ruling = if is_one { Ruling::holds(because) } else { Ruling::refuted(because) };
    ruling.by(tids as f64, "threads")
}

/// Do the stacks lie apart, and each thread's local variable in its own?
fn look_at_stacks(threads: &[FoundThread]) -> Part {
    let mut stacks: Vec<_> = threads.iter().map(|thread| thread.identity.stack.clone()).collect();
    stacks.sort_by_key(|stack| stack.start);
    let overlaps = stacks.windows(2).filter(|pair| pair[0].end > pair[1].start).count();
    let inside = threads.iter().filter(|thread| thread.identity.stack.contains(&thread.local)).count();
    let own = overlaps == 0 && inside == threads.len();
    let seen = format!("{} stacks, {}, {inside} locals inside", threads.len(), counted(overlaps, "overlap"));
    Part { name: "stack", whose: own.then_some(OWN), seen }
}

/// Do the sleepers' stack pointers lie in their stacks, and do they stand at different instructions? None if the kernel
/// does not show it.
fn look_at_counters(threads: &[FoundThread]) -> Option<Part> {
    let asleep = |thread: &FoundThread| Some((thread.identity.stack.clone(), *thread.asleep.as_ref()?.as_ref().ok()?));
    let sleepers: Vec<_> = threads.iter().filter_map(asleep).collect();
    if sleepers.len() < 2 {
        return None;
    }
    let inside = sleepers.iter().filter(|(stack, found)| stack.contains(&found.stack_pointer)).count();
    let counters: HashSet<usize> = sleepers.iter().map(|(_, found)| found.program_counter).collect();
    // Two suffice: some C libraries make several calls by one and the same instruction.
    let own = inside == sleepers.len() && counters.len() > 1;
    let places = counted(counters.len(), "instruction");
    let seen = format!("{} sleepers at {places}, {inside} in their stacks", sleepers.len());
    Some(Part { name: "program counter", whose: own.then_some(OWN), seen })
}
