//! Who keeps what all workers look up, and how does a worker get at it?

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result, ensure};
use nix::sys::mman::MapFlags;
use nix::unistd::Pid;
use process_demo::child;
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply};
use process_demo::memory_of;
use shared::measure::SystemClock;

use super::cache::{self, Cache, EMPTY, Slot, WORDS};
use crate::server::ready;

/// How many look up, how much, among how many slots.
#[derive(Clone, Copy)]
pub struct Size {
    pub workers: usize,
    pub slots: usize,
    pub lookups_each: u64,
}

/// What came of it.
pub struct Figures {
    pub hits: u64,
    /// Of each lookup, as its worker waits for it.
    pub lookup_ns: f64,
    /// What each worker sees of the counter when all have finished.
    pub counts: Vec<u64>,
    pub pss_bytes: u64,
}

/// As a worker reaches it.
#[derive(Clone, Copy)]
enum Keeper<'k> {
    Memory(&'k Cache),
    /// A process at the other end of each worker's socket.
    Owner(&'k [UnixStream]),
}

struct Worker<'k> {
    keeper: Keeper<'k>,
    hits: u64,
}

/// The cache lies in memory: of threads together, of a process each, or shared by processes.
pub fn in_memory(kind: Kind, flags: MapFlags, size: Size) -> Result<Figures> {
    let cache = Cache::mapped(size.slots, flags).context("memory for the cache")?;
    look_up(kind, Keeper::Memory(&cache), size, None)
}

/// The cache lies with a process of its own, which the workers ask.
pub fn with_an_owner(size: Size) -> Result<Figures> {
    let pairs: io::Result<Vec<_>> = (0..size.workers).map(|_| UnixStream::pair()).collect();
    let (sockets, its_ends): (Vec<_>, Vec<_>) = pairs.context("sockets to the owner")?.into_iter().unzip();
    // SAFETY: the child uses its sockets and memory of its own.
    let owner = unsafe { child::fork(|| u8::from(own(size.slots, its_ends).is_err())) }.context("forking the owner")?;
    ask(&sockets[0], HOW_MANY).context("asking the owner")?; // It has made its slots, once it answers.
    look_up(Kind::Processes, Keeper::Owner(&sockets), size, Some(owner.pid()))
}

/// Every worker looks up all its keys; then it is counted and weighed.
fn look_up<'k>(kind: Kind, keeper: Keeper<'k>, size: Size, owner: Option<Pid>) -> Result<Figures> {
    let enlist = || {
        if let Keeper::Memory(cache) = keeper {
            cache.locked(|slots| slots.fill(EMPTY)); // From the start it is all there, as the owner's is.
        }
        Ok(Worker { keeper, hits: 0 })
    };
    let mut crew = Crew::of(kind, size.workers, enlist)?;
    for worker in 0..size.workers {
        crew.tell(worker, look_all_up, [worker as u64, size.slots as u64, size.lookups_each]);
    }
    let time_ns = (0..size.workers).map(|worker| crew.hear(worker)?.value()).sum::<Result<u64>>()?;
    let hits = crew.ask_all(|own, _| Ok(own.hits), NOTHING)?.into_iter().map(Reply::value).sum::<Result<u64>>()?;
    let count = |own: &mut Worker<'k>, [worker, ..]: Arguments| own.keeper.count(worker as usize);
    let count_by = |worker| crew.ask(worker, count, [worker as u64, 0, 0])?.value();
    let counts = (0..size.workers).map(count_by).collect::<Result<Vec<_>>>()?;
    let mut family: Vec<Pid> = (0..size.workers).filter_map(|worker| crew.pid(worker)).chain(owner).collect();
    family.dedup(); // Threads are all of one process.
    let pss_bytes = memory_of::of_family(&family).context("weighing the workers")?.pss_bytes;
    let lookup_ns = time_ns as f64 / (size.lookups_each * size.workers as u64) as f64;
    Ok(Figures { hits, lookup_ns, counts, pss_bytes })
}

fn look_all_up(own: &mut Worker<'_>, [worker, slots, lookups]: Arguments) -> Result<u64> {
    let from_ns = SystemClock.now_ns();
    for key in cache::keys(worker as usize, slots as usize, lookups) {
        let (was_there, is_right) = own.keeper.look(worker as usize, key)?;
        ensure!(is_right, "the value of key {key} is not its own, or not whole");
        own.hits += u64::from(was_there);
    }
    Ok(SystemClock.now_ns() - from_ns)
}

impl Keeper<'_> {
    /// Was the value there, and is it the key's and whole?
    fn look(self, worker: usize, key: u64) -> Result<(bool, bool)> {
        match self {
            Keeper::Memory(cache) => {
                cache.count().fetch_add(1, Relaxed); // Only a count: nothing else is published by it.
                Ok(cache.locked(|slots| {
                    let (was_there, slot) = cache::find_or_put(slots, key);
                    (was_there, cache::is_right(slot, key))
                }))
            }
            Keeper::Owner(sockets) => {
                let (was_there, slot) = ask(&sockets[worker], key)?;
                Ok((was_there == 1, cache::is_right(&slot, key)))
            }
        }
    }

    fn count(self, worker: usize) -> Result<u64> {
        match self {
            Keeper::Memory(cache) => Ok(cache.count().load(Relaxed)),
            Keeper::Owner(sockets) => Ok(ask(&sockets[worker], HOW_MANY)?.0),
        }
    }
}

const HOW_MANY: u64 = 0; // Asks for this instead of a key: how many were asked for so far?

/// What the owner answers: a number, and a value.
fn ask(mut owner: &UnixStream, question: u64) -> io::Result<(u64, Slot)> {
    owner.write_all(&question.to_ne_bytes())?;
    let mut answer = [[0; 8]; 1 + WORDS];
    owner.read_exact(answer.as_flattened_mut())?;
    let [number, slot @ ..] = answer.map(u64::from_ne_bytes);
    Ok((number, slot))
}

/// The owner answers all of them until each has hung up, or it is ended.
fn own(slots: usize, mut clients: Vec<UnixStream>) -> io::Result<()> {
    let (mut slots, mut count) = (vec![EMPTY; slots], 0);
    let mut serve = |client: &mut UnixStream| {
        let mut key = [0; 8];
        client.read_exact(&mut key)?;
        let (key, mut answer) = (u64::from_ne_bytes(key), [0; 1 + WORDS]);
        if key == HOW_MANY {
            answer[0] = count;
        } else {
            count += 1;
            let (was_there, slot) = cache::find_or_put(&mut slots, key);
            answer[0] = u64::from(was_there);
            answer[1..].copy_from_slice(slot);
        }
        client.write_all(answer.map(u64::to_ne_bytes).as_flattened())
    };
    while !clients.is_empty() {
        let sources: Vec<_> = clients.iter().map(AsFd::as_fd).collect();
        let mut ready = ready(&sources, u64::MAX)?.into_iter();
        clients.retain_mut(|client| ready.next() != Some(true) || serve(client).is_ok());
    }
    Ok(())
}
