//! What does it cost to hand a task to someone who is there already, instead of starting someone?

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender};
use process_demo::child::{Child, fork};
use process_demo::start;
use shared::measure::{Contest, Measured, Ready, Rival, Timing};
use shared::{Placement, Stage};

const NEW_THREAD: &str = "a new thread";
pub const POOL_THREAD: &str = "a pool's thread";
pub const POOL_PROCESS: &str = "a pool's process";

/// A task is one number, and its result the next one.
pub fn compare(stage: &mut Stage) -> Result<Measured> {
    stage.note(
        "A pool's thread waits at a channel (crossbeam), a pool's process at a pipe. A task is handed over, done and \
         answered; a new thread gets the same task, which it takes with it.",
    );
    let title = "Hand over one task, wait for its result";
    let mut contest = Contest::new(title, "who does it: someone new, or someone who waits", Timing::Events);
    contest.add(Rival::of_threads(NEW_THREAD, Placement::Free, |_| Ok(in_turn(|task| Ok(start::thread(task + 1)?)))));
    contest.add(Rival::of_threads(POOL_THREAD, Placement::Free, |_| {
        let worker = Worker::start()?;
        Ok(in_turn(move |task| worker.hand(task)))
    }));
    contest.add(Rival::of_processes(POOL_PROCESS, Placement::Free, |_| {
        let (mut requests, mut answers, child) = standing_process()?;
        let pid = child.pid();
        let hand = move |task| {
            let _alive = &child; // It ends with the row.
            requests.write_all(&[task])?;
            byte(&mut answers).context("the process's answer")
        };
        Ok(Ready::with_children(rounds(hand), vec![pid]))
    }));
    let measured = stage.compare(contest)?;
    for label in [POOL_THREAD, POOL_PROCESS] {
        if let Some(ratio) = measured.ratio(label, NEW_THREAD, Placement::Free) {
            stage.trend(format!("{label} against {NEW_THREAD}"), &ratio);
        }
    }
    Ok(measured)
}

fn in_turn<'a>(hand: impl FnMut(u8) -> Result<u8> + 'a) -> Ready<'a> {
    Ready::new(rounds(hand))
}

/// Hands over so many tasks, one after the other; returns how many results were right.
fn rounds<'a>(mut hand: impl FnMut(u8) -> Result<u8> + 'a) -> impl FnMut(u64) -> Result<u64> + 'a {
    move |steps| (0..steps).map(|step| Ok(u64::from(hand(step as u8 & 0x7f)? == (step as u8 & 0x7f) + 1))).sum()
}

/// A thread that waits for tasks; it ends when this is dropped.
struct Worker {
    tasks: Option<Sender<u8>>,
    results: Receiver<u8>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start() -> Result<Worker> {
        let (tasks, waiting) = crossbeam_channel::unbounded::<u8>();
        let (answer, results) = crossbeam_channel::unbounded();
        let work = move || waiting.iter().try_for_each(|task| answer.send(task + 1)).unwrap_or_default();
        let thread = Builder::new().spawn(work).context("starting a thread")?;
        Ok(Worker { tasks: Some(tasks), results, thread: Some(thread) })
    }

    fn hand(&self, task: u8) -> Result<u8> {
        self.tasks.as_ref().context("the worker is still there")?.send(task)?;
        Ok(self.results.recv()?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tasks = None; // Closes the channel: that ends the thread's loop.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn standing_process() -> Result<(PipeWriter, PipeReader, Child)> {
    let (mut waiting, requests) = io::pipe().context("a pipe")?;
    let (answers, mut answer) = io::pipe().context("a pipe")?;
    let work = move || {
        while let Ok(task) = byte(&mut waiting) {
            if answer.write_all(&[task + 1]).is_err() {
                break;
            }
        }
        0
    };
    // SAFETY: the child uses its two pipes; nothing here is in shared memory.
    Ok((requests, answers, unsafe { fork(work) }.context("forking")?))
}

fn byte(from: &mut PipeReader) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}
