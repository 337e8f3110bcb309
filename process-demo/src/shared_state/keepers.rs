//! Who keeps what all workers share, and how does a worker get at it?

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use process_demo::child::{self, Child};
use process_demo::memory_of;
use shared::measure::SystemClock;

use super::cache::{self, EMPTY, Mapped, WORDS};
use crate::server::ready;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    Threads,
    OneEach,
    SharedMemory,
    Owner,
}

/// Where all workers work: threads borrow it, and processes have a copy of it with the same sockets.
pub struct Bench {
    pub workers: usize,
    pub slots: usize,
    pub lookups_each: u64,
    /// To each worker: our end and its own.
    lines: Vec<(UnixStream, UnixStream)>,
}

/// What came of it.
pub struct Figures {
    pub lookups: u64,
    pub hits: u64,
    pub right: u64,
    /// Of each lookup, as its worker waits for it.
    pub lookup_ns: f64,
    /// What each worker sees of the counter when all have finished.
    pub counts: Vec<u64>,
    pub pss_bytes: Option<u64>,
}

/// Whether the value was there, and whether it is the key's and whole.
type Found = (bool, bool);

impl Keeper {
    pub const ALL: [Keeper; 4] = [Keeper::Threads, Keeper::OneEach, Keeper::SharedMemory, Keeper::Owner];

    pub fn label(self) -> &'static str {
        ["threads, RwLock", "one per process", "shared memory", "owner process"][self as usize]
    }

    /// Every worker looks up all its keys; then it is counted, weighed and ended.
    pub fn run(self, bench: &Bench) -> Result<Figures> {
        match self {
            Keeper::Threads => threads(bench),
            Keeper::OneEach => one_each(bench),
            Keeper::SharedMemory => shared_memory(bench),
            Keeper::Owner => owned(bench),
        }
    }
}

fn threads(bench: &Bench) -> Result<Figures> {
    let serve = || {
        let (slots, count) = (RwLock::new(vec![EMPTY; bench.slots]), AtomicU64::new(0));
        let look = |key| {
            count.fetch_add(1, Relaxed); // Only a count: nothing else is published by it.
            if let Some(slot) = cache::find(&slots.read().unwrap(), key) {
                return Ok((true, cache::is_right(slot, key)));
            }
            Ok((false, cache::is_right(cache::put(&mut slots.write().unwrap(), key), key)))
        };
        let work = |number| bench.told(number, bench.work(number, &mut { look }, &|| Ok(count.load(Relaxed))));
        thread::scope(|scope| {
            for number in 0..bench.workers {
                if let Err(error) = Builder::new().spawn_scoped(scope, move || work(number)) {
                    bench.told(number, Err(error));
                }
            }
        });
        0
    };
    // SAFETY: the child uses sockets and memory of its own.
    let process = unsafe { child::fork(serve) }.context("forking a process for the threads")?;
    bench.lead(vec![process])
}

fn one_each(bench: &Bench) -> Result<Figures> {
    let family = bench.fork_all(|number| {
        let (mut slots, count) = (vec![EMPTY; bench.slots], AtomicU64::new(0));
        let mut look = |key| {
            count.fetch_add(1, Relaxed); // As in the others; nobody else sees this one.
            let (was_there, slot) = cache::find_or_put(&mut slots, key);
            Ok((was_there, cache::is_right(slot, key)))
        };
        bench.work(number, &mut look, &|| Ok(count.load(Relaxed)))
    })?;
    bench.lead(family)
}

fn shared_memory(bench: &Bench) -> Result<Figures> {
    let mapped = Mapped::new(bench.slots).context("shared memory for the cache")?;
    let family = bench.fork_all(|number| {
        if number == 0 {
            mapped.write(|slots| slots.fill(EMPTY)); // Here it is all in memory from the start, as in the other rows.
        }
        let mut look = |key| {
            mapped.count().fetch_add(1, Relaxed); // Only a count: nothing else is published by it.
            if let Some(is_right) = mapped.read(|slots| cache::find(slots, key).map(|slot| cache::is_right(slot, key)))
            {
                return Ok((true, is_right));
            }
            Ok((false, mapped.write(|slots| cache::is_right(cache::put(slots, key), key))))
        };
        bench.work(number, &mut look, &|| Ok(mapped.count().load(Relaxed)))
    })?;
    bench.lead(family)
}

fn owned(bench: &Bench) -> Result<Figures> {
    let pairs: io::Result<Vec<_>> = (0..bench.workers).map(|_| UnixStream::pair()).collect();
    let (clients, servers): (Vec<_>, Vec<_>) = pairs.context("sockets to the owner")?.into_iter().unzip();
    // SAFETY: the child uses its sockets and memory of its own.
    let owner = unsafe { child::fork(|| u8::from(own(bench.slots, servers).is_err())) }.context("forking the owner")?;
    let mut family = bench.fork_all(|number| {
        let owner = &clients[number];
        let mut look = |key| {
            let [was_there, slot @ ..] = ask(owner, key)?;
            Ok((was_there == 1, cache::is_right(&slot, key)))
        };
        bench.work(number, &mut look, &|| Ok(ask(owner, HOW_MANY)?[0]))
    })?;
    family.push(owner);
    bench.lead(family)
}

const HOW_MANY: u64 = 0; // Asks for this instead of a key: how many were asked for so far?

/// A number and a value.
type Answer = [u64; 1 + WORDS];

/// Answers all of them until each has hung up, or this process is ended.
fn own(slots: usize, mut clients: Vec<UnixStream>) -> io::Result<()> {
    let (mut slots, mut count) = (vec![EMPTY; slots], 0);
    let mut serve = |client: &mut UnixStream| {
        let mut key = [0; 8];
        client.read_exact(&mut key)?;
        let mut answer: Answer = [0; 1 + WORDS];
        match u64::from_ne_bytes(key) {
            HOW_MANY => answer[0] = count,
            key => {
                count += 1;
                let (was_there, slot) = cache::find_or_put(&mut slots, key);
                answer[0] = u64::from(was_there);
                answer[1..].copy_from_slice(slot);
            }
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

fn ask(mut owner: &UnixStream, question: u64) -> io::Result<Answer> {
    owner.write_all(&question.to_ne_bytes())?;
    let mut answer = [[0; 8]; 1 + WORDS];
    owner.read_exact(answer.as_flattened_mut())?;
    Ok(answer.map(u64::from_ne_bytes))
}

const REFUSED: u64 = u64::MAX; // Told in place of a count that large.

impl Bench {
    pub fn new(workers: usize, slots: usize, lookups_each: u64) -> Result<Bench> {
        let lines = (0..workers).map(|_| UnixStream::pair()).collect::<io::Result<_>>().context("lines to workers")?;
        Ok(Bench { workers, slots, lookups_each, lines })
    }

    fn fork_all(&self, work: impl Fn(usize) -> io::Result<()>) -> Result<Vec<Child>> {
        let fork = |number| {
            // SAFETY: the child uses sockets, memory of its own and a shared mapping; no lock in it is held now.
            unsafe { child::fork(|| self.told(number, work(number))) }.context("forking a worker")
        };
        (0..self.workers).map(fork).collect()
    }

    /// Tells what a worker was refused, if it was; it has no more to tell then.
    fn told(&self, number: usize, done: io::Result<()>) -> u8 {
        let Err(error) = done else { return 0 };
        let code = error.raw_os_error().unwrap_or(Errno::EIO as i32) as u64;
        let _ = (&self.lines[number].1).write_all([REFUSED, code, 0].map(u64::to_ne_bytes).as_flattened());
        1
    }

    /// What a worker does: looks up all its keys, and tells later what the counter says.
    fn work(
        &self,
        number: usize,
        look: &mut dyn FnMut(u64) -> io::Result<Found>,
        count: &dyn Fn() -> io::Result<u64>,
    ) -> io::Result<()> {
        let mut line = &self.lines[number].1;
        let mut tell_and_wait_for_all = |numbers: [u64; 3]| {
            line.write_all(numbers.map(u64::to_ne_bytes).as_flattened())?;
            line.read_exact(&mut [0])
        };
        count()?; // Whoever keeps the counter is ready, once it has answered.
        tell_and_wait_for_all([0; 3])?;
        let from_ns = SystemClock.now_ns();
        let (mut hits, mut right) = (0, 0);
        for key in cache::keys(number, self.slots, self.lookups_each) {
            let (was_there, is_right) = look(key)?;
            hits += u64::from(was_there);
            right += u64::from(is_right);
        }
        tell_and_wait_for_all([hits, right, SystemClock.now_ns() - from_ns])?;
        tell_and_wait_for_all([count()?, 0, 0])
    }

    /// Leads these processes, which have the workers among them, through it all.
    fn lead(&self, family: Vec<Child>) -> Result<Figures> {
        let go_on = || self.lines.iter().try_for_each(|(line, _)| (&*line).write_all(&[0]));
        self.hear_all()?;
        go_on()?;
        let told = self.hear_all()?;
        go_on()?;
        let counts = self.hear_all()?.into_iter().map(|[count, ..]| count).collect();
        let pids: Vec<_> = family.iter().map(Child::pid).collect();
        let pss_bytes = memory_of::of_family(&pids).ok().map(|memory| memory.pss_bytes);
        drop(family); // Ends them all.
        let sum = |index: usize| told.iter().map(|numbers| numbers[index]).sum::<u64>();
        let lookups = self.lookups_each * self.workers as u64;
        let lookup_ns = sum(2) as f64 / lookups as f64;
        Ok(Figures { lookups, hits: sum(0), right: sum(1), lookup_ns, counts, pss_bytes })
    }

    fn hear_all(&self) -> Result<Vec<[u64; 3]>> {
        let hear = |(line, _): &(UnixStream, UnixStream)| {
            const PATIENCE_NS: u64 = 60_000_000_000; // Only a bound: each worker is certain to tell.
            let is_ready = ready(&[line.as_fd()], SystemClock.now_ns() + PATIENCE_NS)? == [true];
            ensure!(is_ready, "a worker has told nothing for {} s", PATIENCE_NS / 1_000_000_000);
            let mut numbers = [[0; 8]; 3];
            (&*line).read_exact(numbers.as_flattened_mut()).context("hearing from a worker")?;
            match numbers.map(u64::from_ne_bytes) {
                [REFUSED, code, _] => Err(Errno::from_raw(code as i32)).context("a worker"),
                numbers => Ok(numbers),
            }
        };
        self.lines.iter().map(hear).collect()
    }
}
