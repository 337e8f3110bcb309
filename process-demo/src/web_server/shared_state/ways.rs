//! Who keeps the state, and how does a worker get at it?

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use anyhow::{Context, Result, ensure};
use process_demo::child::{self, Child};

use super::bench::{Bench, Figures};
use super::cache::{self, Found, Slot};
use super::mapped::Mapped;
use super::owner;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Threads,
    OneEach,
    SharedMemory,
    Owner,
}

impl Way {
    pub const ALL: [Way; 4] = [Way::Threads, Way::OneEach, Way::SharedMemory, Way::Owner];

    pub fn label(self) -> &'static str {
        match self {
            Way::Threads => "threads, RwLock",
            Way::OneEach => "one per process",
            Way::SharedMemory => "shared memory",
            Way::Owner => "owner process",
        }
    }

    /// Every worker of this way looks up all its keys; then it is counted, weighed and ended.
    pub fn run(self, bench: &Bench) -> Result<Figures> {
        match self {
            Way::Threads => threads(bench),
            Way::OneEach => one_each(bench),
            Way::SharedMemory => shared_memory(bench),
            Way::Owner => owned(bench),
        }
    }
}

fn threads(bench: &Bench) -> Result<Figures> {
    let serve = || {
        let (slots, count) = (RwLock::new(vec![Slot::EMPTY; bench.slots]), AtomicU64::new(0));
        let look = |key| {
            count.fetch_add(1, Relaxed); // Only a count: nothing else is published by it.
            if let Some(slot) = cache::find(&slots.read().unwrap(), key) {
                return Ok(Found { was_there: true, is_right: slot.is_right(key) });
            }
            Ok(Found { was_there: false, is_right: cache::put(&mut slots.write().unwrap(), key).is_right(key) })
        };
        let work = |number| bench.work(number, &mut { look }, &mut || Ok(count.load(Relaxed)));
        let done = thread::scope(|scope| {
            let workers: Vec<_> = (0..bench.workers).map(|number| scope.spawn(move || work(number))).collect();
            workers.into_iter().all(|worker| worker.join().unwrap().is_ok())
        });
        u8::from(!done)
    };
    // SAFETY: the child uses pipes and memory of its own.
    let process = unsafe { child::fork(serve) }.context("forking a process for the threads")?;
    bench.watch(vec![process])
}

fn one_each(bench: &Bench) -> Result<Figures> {
    fork_workers(bench, |number| {
        let mut slots = vec![Slot::EMPTY; bench.slots];
        let count = AtomicU64::new(0);
        let mut look = |key| {
            count.fetch_add(1, Relaxed); // As in the others; nobody else sees this one.
            if let Some(slot) = cache::find(&slots, key) {
                return Ok(Found { was_there: true, is_right: slot.is_right(key) });
            }
            Ok(Found { was_there: false, is_right: cache::put(&mut slots, key).is_right(key) })
        };
        bench.work(number, &mut look, &mut || Ok(count.load(Relaxed)))
    })
}

fn shared_memory(bench: &Bench) -> Result<Figures> {
    let mapped = Mapped::new(bench.slots).context("shared memory for the cache")?;
    fork_workers(bench, |number| {
        if number == 0 {
            mapped.write(|slots| slots.fill(Slot::EMPTY)); // Here it is all in memory from the start, as in the other rows.
        }
        let mut look = |key| {
            mapped.add_one();
            if let Some(is_right) = mapped.read(|slots| cache::find(slots, key).map(|slot| slot.is_right(key))) {
                return Ok(Found { was_there: true, is_right });
            }
            Ok(Found { was_there: false, is_right: mapped.write(|slots| cache::put(slots, key).is_right(key)) })
        };
        bench.work(number, &mut look, &mut || Ok(mapped.count()))
    })
}

fn owned(bench: &Bench) -> Result<Figures> {
    let pairs: io::Result<Vec<_>> = (0..bench.workers).map(|_| UnixStream::pair()).collect();
    let (clients, servers): (Vec<_>, Vec<_>) = pairs.context("sockets to the owner")?.into_iter().unzip();
    // SAFETY: the child uses its sockets and memory of its own.
    let owner = unsafe { child::fork(|| u8::from(owner::own(bench.slots, servers).is_err())) };
    let owner = owner.context("forking the owner")?;
    let work = |number: usize| {
        let mut to_owner = clients[number].try_clone()?;
        let mut asks_too = to_owner.try_clone()?;
        bench.work(number, &mut |key| owner::ask(&mut to_owner, key), &mut || owner::ask_how_many(&mut asks_too))
    };
    let mut family = fork_all(bench, work)?;
    family.push(owner);
    bench.watch(family)
}

fn fork_workers(bench: &Bench, work: impl Fn(usize) -> io::Result<()>) -> Result<Figures> {
    bench.watch(fork_all(bench, work)?)
}

fn fork_all(bench: &Bench, work: impl Fn(usize) -> io::Result<()>) -> Result<Vec<Child>> {
    ensure!(bench.workers > 0, "somebody has to work");
    let fork = |number| {
        // SAFETY: the child uses pipes, sockets, memory of its own and a shared mapping; no lock in it is held now.
        unsafe { child::fork(|| u8::from(work(number).is_err())) }.context("forking a worker")
    };
    (0..bench.workers).map(fork).collect()
}
