//! Who works: threads of this process, or child processes of it? The one thing in which the two halves of a table
//! differ.

use std::fmt;
use std::io::{self, Read};
use std::thread::{self, Builder};

use anyhow::{Context, Result, anyhow, ensure};
use crossbeam_channel::unbounded;
use nix::unistd::{Pid, gettid};
use process_demo::child::{Child, Exit, fork};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    Threads,
    Processes,
}

impl Workers {
    /// Has so many run `work`, does `meanwhile` with their ids, and waits for all.
    ///
    /// Processes can be started only while this process has no second thread: a fork copies only the one that calls it.
    pub fn run<T>(self, count: u32, work: &(dyn Fn() + Sync), meanwhile: impl FnOnce(&[Pid]) -> T) -> Result<T> {
        match self {
            Workers::Threads => in_threads(count, work, meanwhile),
            Workers::Processes => in_processes(count, work, meanwhile),
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Workers::Threads => "threads",
            Workers::Processes => "processes",
        })
    }
}

fn in_threads<T>(count: u32, work: &(dyn Fn() + Sync), meanwhile: impl FnOnce(&[Pid]) -> T) -> Result<T> {
    let (tell, told) = unbounded();
    let (start, started) = unbounded::<()>();
    thread::scope(|scope| {
        let start = start; // Dropped on the way out by an error: then those that were made already have nothing to do.
        let life = || {
            tell.send(gettid()).expect("the first thread listens");
            if started.recv().is_ok() {
                work();
            }
        };
        let make = |_| Builder::new().spawn_scoped(scope, life);
        let threads = (0..count).map(make).collect::<io::Result<Vec<_>>>().context("starting a worker thread")?;
        let ids: Vec<Pid> = told.iter().take(threads.len()).collect();
        (0..count).try_for_each(|_| start.send(()))?;
        let found = meanwhile(&ids);
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a worker thread panicked"))?;
        }
        Ok(found)
    })
}

fn in_processes<T>(count: u32, work: &(dyn Fn() + Sync), meanwhile: impl FnOnce(&[Pid]) -> T) -> Result<T> {
    // None begins before all are there: the first would be done before the last was made, and there would be no crowd.
    let (gate, opener) = io::pipe().context("making the workers' gate")?;
    let mut opener = Some(opener);
    let start = |_| {
        let life = || {
            drop(opener.take()); // The child's copy: as long as one is left, the gate stays shut.
            let opened = (&gate).read_exact(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
            if opened {
                work();
            }
            u8::from(!opened)
        };
        // SAFETY: nobody holds a guard or a permit here; what the workers take, they take themselves.
        unsafe { fork(life) }.context("starting a worker process")
    };
    let children = (0..count).map(start).collect::<Result<Vec<Child>>>()?;
    let ids: Vec<Pid> = children.iter().map(Child::pid).collect();
    drop(opener);
    let found = meanwhile(&ids);
    for child in children {
        let exit = child.wait()?;
        ensure!(exit == Exit::Code(0), "a worker process ended with {exit}");
    }
    Ok(found)
}
