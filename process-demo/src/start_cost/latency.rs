//! How soon does a task begin: with someone new, and with someone who waits for it?

use std::io::{self, Read, Write};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread::{self, Builder};

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::ForkResult;
use process_demo::child;
use process_demo::page::Page;
use shared::measure::{Contest, Measured, Ready, Rival, SystemClock, Timing};
use shared::{Placement, Stage, Table, stats};

pub const POOL_THREAD: &str = "a pool's thread";
pub const POOL_PROCESS: &str = "a pool's process";

/// A task is one number, and its result the next one.
pub fn of_pools(stage: &mut Stage) -> Result<Measured> {
    thread::scope(|scope| {
        let title = "Hand one task to someone who waits, wait for its result";
        let mut contest =
            Contest::new(title, "who waits: a thread at a channel, or a process at a pipe", Timing::Events);
        contest.add(Rival::of_threads(POOL_THREAD, Placement::Free, |_| {
            let (tasks, waiting) = crossbeam_channel::unbounded::<u8>();
            let (answer, results) = crossbeam_channel::unbounded();
            let work = move || waiting.iter().try_for_each(|task| answer.send(task + 1)).unwrap_or_default();
            Builder::new().spawn_scoped(scope, work).context("starting a thread")?;
            Ok(Ready::new(right_results(move |task| {
                tasks.send(task)?;
                Ok(results.recv()?)
            })))
        }));
        contest.add(Rival::of_processes(POOL_PROCESS, Placement::Free, |_| {
            let (mut waiting, mut tasks) = io::pipe().context("a pipe")?;
            let (mut results, mut answer) = io::pipe().context("a pipe")?;
            let work = move || {
                let mut task = [0];
                while waiting.read_exact(&mut task).is_ok() && answer.write_all(&[task[0] + 1]).is_ok() {}
                0
            };
            // SAFETY: the child uses its two pipes; nothing here is in shared memory.
            let child = unsafe { child::fork(work) }.context("forking")?;
            let pid = child.pid();
            let hand_over = move |task| {
                let _alive = &child; // It ends with the row.
                tasks.write_all(&[task])?;
                let mut result = [0];
                results.read_exact(&mut result)?;
                Ok(result[0])
            };
            Ok(Ready::with_children(right_results(hand_over), vec![pid]))
        }));
        stage.compare(contest)
    })
}

/// Hands over so many tasks, one after the other, and returns how many results were right.
fn right_results(mut hand_over: impl FnMut(u8) -> Result<u8>) -> impl FnMut(u64) -> Result<u64> {
    move |steps| (0..steps).map(|step| Ok(u64::from(hand_over(step as u8 & 0x7f)? == (step as u8 & 0x7f) + 1))).sum()
}

pub fn of_the_first_line(stage: &mut Stage) -> Result<()> {
    let starts = stage.by_effort(30, 500, 5000);
    let page = Page::shared_by_fork()?;
    let row = |label: &str, start: fn(&AtomicU64) -> Result<u64>| {
        let (mut back, mut runs) = (Vec::new(), Vec::new());
        for _ in 0..starts {
            let from_ns = SystemClock.now_ns();
            back.push((start(page.word())? - from_ns) as f64);
            runs.push((page.word().load(Acquire) - from_ns) as f64);
        }
        anyhow::Ok(vec![label.into(), stats::median(&back).into(), stats::median(&runs).into()])
    };
    let rows = [row("std thread", thread)?, row("fork", copy)?];
    let title = format!("Until the call is back, and until the new one's first line runs ({starts} each)");
    let columns = [("started by", ""), ("call is back", "ns"), ("first line", "ns")];
    stage.table(Table::new(title, columns, rows));
    stage.note("The parent goes on as soon as the call is back. A thread and a child run at the line that follows.");
    Ok(())
}

/// Its first line stores the time into the word; returns when the call was back, once the thread has ended.
fn thread(first_line: &AtomicU64) -> Result<u64> {
    thread::scope(|scope| {
        Builder::new().spawn_scoped(scope, || first_line.store(SystemClock.now_ns(), Release))?;
        Ok(SystemClock.now_ns())
    })
}

fn copy(first_line: &AtomicU64) -> Result<u64> {
    // SAFETY: the child reads the clock, stores to an atomic and exits: all are async-signal-safe.
    let child = match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            first_line.store(SystemClock.now_ns(), Release);
            // SAFETY: it ends the child without running anything of it.
            unsafe { libc::_exit(0) }
        }
    };
    let back_ns = SystemClock.now_ns();
    ensure!(waitpid(child, None)? == WaitStatus::Exited(child, 0), "the child ended otherwise");
    Ok(back_ns)
}
