//! How do all workers, threads and processes, get started before any of them can finish?

use std::io::{self, BufRead, BufReader, Write};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use process_demo::child::{self, Child, Exit};
use shared::Stage;

use super::bench::{Bench, Event};

/// Runs them all, tells what they report as it comes, and returns it in the order in which it came.
pub fn perform(stage: &mut Stage, count: usize, task: Duration) -> Result<Vec<Event>> {
    let (reports, reporter) = io::pipe().context("a pipe for the reports")?;
    let (gate, mut opener) = io::pipe().context("a pipe for the gate")?;
    let bench = Bench { reporter, gate, task, clock: stage.clock() };
    stage.say(
        "The processes are made first, while there is one thread: a child that is forked while other threads live \
         inherits the locks that they hold at that moment, and has nobody to unlock them.",
    );
    let children = make_processes(&bench, count)?;
    let mut lines = BufReader::new(reports).lines();
    let mut events = Vec::with_capacity(4 * count);
    let mut hear = |how_many| {
        for line in lines.by_ref().take(how_many) {
            let event = Event::read(&line?).context("a report that nobody can read")?;
            stage.say(event.to_string());
            events.push(event);
        }
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let threads = make_threads(scope, &bench, count);
        let heard = if threads.is_ok() { hear(2 * count) } else { Ok(()) };
        opener.write_all(&vec![0; 2 * count])?; // A byte each, after an error too: nobody is to wait for ever.
        let threads = threads.context("starting a thread")?;
        heard.and_then(|()| hear(2 * count))?;
        threads.into_iter().try_for_each(|worker| worker.join().unwrap()).context("in a worker's thread")
    })?;
    for child in children {
        let exit = child.wait()?;
        ensure!(exit == Exit::Code(0), "a worker's process ended with {exit}");
    }
    Ok(events)
}

fn make_processes(bench: &Bench, count: usize) -> Result<Vec<Child>> {
    let make = |number| {
        // SAFETY: the child uses two pipes, the clock and memory of its own; nothing here is in shared memory.
        unsafe { child::fork(|| u8::from(bench.work("process", number).is_err())) }.context("forking a worker")
    };
    (0..count).map(make).collect()
}

type Worker<'scope> = ScopedJoinHandle<'scope, io::Result<()>>;

fn make_threads<'scope>(
    scope: &'scope Scope<'scope, '_>,
    bench: &'scope Bench,
    count: usize,
) -> io::Result<Vec<Worker<'scope>>> {
    (0..count).map(|number| Builder::new().spawn_scoped(scope, move || bench.work("thread", number))).collect()
}
