//! How are workers made alike, as threads of one process or as a process each, and asked to do things?

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use nix::errno::Errno;
use process_demo::child::{self, Child, Exit};

use super::order::{Order, Worker};
use super::places::Places;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Threads,
    Processes,
}

/// Workers that wait for orders; they end when this is dropped.
pub struct Crew {
    lines: Vec<File>,
    /// One that holds all threads, or one for each worker.
    processes: Vec<Process>,
}

enum Process {
    Lives(Child),
    Ended(Exit),
}

/// What came of an order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Done(u64),
    Failed(Errno),
    /// The worker is no more, and this is how its process ended.
    Gone(Exit),
}

impl Crew {
    /// Each of them has answered once.
    pub fn of(kind: Kind, workers: usize, places: &Places) -> Result<Crew> {
        let mut crew = Crew { lines: Vec::new(), processes: Vec::new() };
        match kind {
            Kind::Threads => {
                let lines = (0..workers).map(|_| crew.open()).collect::<Result<Vec<_>>>()?;
                crew.add_process(|| u8::from(serve_by_threads(lines, places).is_err()))?;
            }
            Kind::Processes => {
                for _ in 0..workers {
                    // The line goes with the closure: no sibling has it, so it closes when this worker ends.
                    let line = crew.open()?;
                    crew.add_process(move || u8::from(serve(line, places).is_err()))?;
                }
            }
        }
        for worker in 0..workers {
            if crew.ask(worker, Order::Ping, [0; 2])? != Reply::Done(0) {
                return Err(Errno::EAGAIN).context("a worker did not start");
            }
        }
        Ok(crew)
    }

    fn open(&mut self) -> Result<File> {
        let (line, its_line) = UnixStream::pair().context("a socket pair")?;
        // As files they are read and written by the plain calls, which is what a filter of system calls lets through.
        let [line, its_line] = [line, its_line].map(|end| File::from(OwnedFd::from(end)));
        self.lines.push(line);
        Ok(its_line)
    }

    fn add_process(&mut self, work: impl FnOnce() -> u8) -> Result<()> {
        // SAFETY: the child uses its ends of the lines and memory of its own; nothing here is in shared memory.
        let child = unsafe { child::fork(work) }.context("forking a worker")?;
        self.processes.push(Process::Lives(child));
        Ok(())
    }

    /// Gives one worker an order, and waits for what comes of it.
    pub fn ask(&mut self, worker: usize, order: Order, arguments: [u64; 2]) -> Result<Reply> {
        let words = [order.number(), arguments[0], arguments[1]].map(u64::to_ne_bytes);
        let line = &mut self.lines[worker];
        let told = line.write_all(words.as_flattened()).and_then(|()| receive::<2>(line));
        match told {
            Ok([0, value]) => Ok(Reply::Done(value)),
            Ok([_, code]) => Ok(Reply::Failed(Errno::from_raw(code as i32))),
            Err(_) => Ok(Reply::Gone(self.end_of(worker)?)),
        }
    }

    /// The pid of a worker's process; none if that has ended.
    pub fn pid(&self, worker: usize) -> Option<u64> {
        match &self.processes[self.process_of(worker)] {
            Process::Lives(child) => Some(child.pid().as_raw() as u64),
            Process::Ended(_) => None,
        }
    }

    /// Reaps it, when it is asked for the first time.
    fn end_of(&mut self, worker: usize) -> Result<Exit> {
        let index = self.process_of(worker);
        // Taken out for the moment that its end takes: who waits for a child gives its handle away.
        let exit = match self.processes.remove(index) {
            Process::Lives(child) => child.wait()?,
            Process::Ended(exit) => exit,
        };
        self.processes.insert(index, Process::Ended(exit));
        Ok(exit)
    }

    fn process_of(&self, worker: usize) -> usize {
        worker.min(self.processes.len() - 1)
    }
}

fn serve_by_threads(lines: Vec<File>, places: &Places) -> io::Result<()> {
    thread::scope(|scope| {
        for line in lines {
            Builder::new().spawn_scoped(scope, || serve(line, places))?;
        }
        Ok(())
    })
}

/// A worker's life: order after order, until the line is closed or an order ends it.
fn serve(mut line: File, places: &Places) -> io::Result<()> {
    let mut worker = Worker::new(places);
    loop {
        let [number, arguments @ ..] = receive::<3>(&mut line)?;
        let reply = match worker.perform(Order::of(number)?, arguments) {
            Ok(value) => [0, value],
            Err(error) => [1, error.raw_os_error().unwrap_or(Errno::EIO as i32) as u64],
        };
        line.write_all(reply.map(u64::to_ne_bytes).as_flattened())?;
    }
}

fn receive<const WORDS: usize>(line: &mut File) -> io::Result<[u64; WORDS]> {
    let mut words = [[0; 8]; WORDS];
    line.read_exact(words.as_flattened_mut())?;
    Ok(words.map(u64::from_ne_bytes))
}
