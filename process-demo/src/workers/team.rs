//! How do all workers, threads and processes, get started before any of them can finish?

use std::io::{self, BufRead, BufReader, Write};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use process_demo::child::{self, Child, Exit};
use shared::Stage;

use super::bench::{Bench, Event};

/// Runs them all, tells who has started and who has finished, and returns it in the order in which it came.
pub fn perform(stage: &mut Stage, count: usize, task: Duration) -> Result<Vec<Event>> {
    let (reports, reporter) = io::pipe().context("a pipe for the reports")?;
    let (gate, mut opener) = io::pipe().context("a pipe for the gate")?;
    let bench = Bench { reporter, gate, task, clock: stage.clock() };
    stage.note(
        "The processes are forked first, while there is one thread. A child that is forked beside other threads inherits \
         the locks that they hold at that moment, and nobody in the child can unlock them.",
    );
    let children = make_processes(&bench, count)?;
    let mut lines = BufReader::new(reports).lines();
    let mut events = Vec::<Event>::with_capacity(4 * count);
    let mut hear = |what| {
        let before = events.len();
        for line in lines.by_ref().take(2 * count) {
            let event = Event::read(&line?).context("a report that nobody can read")?;
            stage.note(event.to_string());
            events.push(event);
        }
        let names: Vec<_> = events[before..].iter().map(Event::name).collect();
        stage.say(format!("{what}, in this order: {}.", names.join(", ")));
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let threads = make_threads(scope, &bench, count);
        let heard = if threads.is_ok() { hear("Started") } else { Ok(()) };
        opener.write_all(&vec![0; 2 * count])?; // A byte each, after an error too: nobody is to wait for ever.
        let threads = threads.context("starting a thread")?;
        heard.and_then(|()| hear("Finished"))?;
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
