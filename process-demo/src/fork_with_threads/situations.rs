//! What are the other threads doing at the fork, and what does the child try?

use std::hint::{black_box, spin_loop};
use std::io::{self, StdoutLock, stdout};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread::yield_now;

use anyhow::{Context, Result};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING};
use rayon::{ThreadPool, ThreadPoolBuilder};
use shared::measure::SystemClock;

use super::watched::Watched;

/// One of the threads: what they share, and what is its own.
pub struct Worker<'s> {
    clock: SystemClock,
    lock: &'s Mutex<()>,
    pool: &'s OnceLock<ThreadPool>,
    held: Option<MutexGuard<'s, ()>>,
    held_stdout: Option<StdoutLock<'static>>,
    /// One that sleeps for ever.
    child: Option<Watched>,
}

/// What a thread is told to do.
type Act = fn(&mut Worker<'_>, Arguments) -> Result<u64>;

/// What the child does, and the other thread, in words. Then what a busy thread does from the start until its process is
/// ended; what a holder takes before each fork, to let go after it; and the fork, which gives the child's exit code, or
/// that it sleeps for ever.
pub type Situation = (&'static str, &'static str, Act, Act, Act);

const DONE: u8 = 0;
const ASLEEP: u64 = 256; // No exit code.
const IDLE: Act = |_, _| Ok(0);

pub const SITUATIONS: [Situation; 7] = [
    ("takes a mutex", "holds it", IDLE, hold_lock, |forker, _| forker.fork(take_lock)),
    ("takes the lock of stdout", "holds it", IDLE, hold_stdout, |forker, _| forker.fork(take_stdout)),
    ("uses its parent's rayon pool", "is in the pool", IDLE, fill_pool, |forker, _| forker.fork(work_in_old_pool)),
    ("takes a mutex", "does not hold it", IDLE, IDLE, |forker, _| forker.fork(take_lock)),
    ("makes its own rayon pool", "is in an idle pool", IDLE, fill_pool, |forker, _| forker.fork(work_in_new_pool)),
    ("allocates memory", "allocates too", allocate_on_and_on, IDLE, |forker, _| forker.fork(|_| allocate())),
    ("runs a program by Command", "holds stdout's lock", IDLE, hold_stdout, run_a_program),
];

/// By luck: the busy thread takes the lock once in each period, and holds it for a share of that.
pub const NOW_AND_THEN: Situation =
    ("takes a mutex", "holds it now and then", hold_now_and_then, IDLE, |forker, _| forker.fork(take_lock));

/// How often it was tried, and what became of the children.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub tried: usize,
    /// Slept for ever, each with one thread only.
    pub asleep: usize,
    /// Did what they were to do, and ended.
    pub done: usize,
    /// Of those asleep: still so when, in the process that forked them, what they wait for was free again.
    pub still_asleep: usize,
}

/// Forks so many times, in a process that exists for that alone, and has threads.
pub fn fork_in(situation: &Situation, times: usize, clock: SystemClock, busy_with: Arguments) -> Result<Tally> {
    const FORKER: usize = 0;
    const HOLDER: usize = 1;
    const BUSY: usize = 2;
    let (_, _, meanwhile, take, fork) = *situation;
    let (lock, pool) = (Mutex::new(()), OnceLock::new());
    let enlist = || Ok(Worker { clock, lock: &lock, pool: &pool, held: None, held_stdout: None, child: None });
    let mut crew = Crew::of(Kind::Threads, 3, enlist)?;
    crew.tell(BUSY, meanwhile, busy_with); // Nobody waits for it: it ends with the others.
    let mut tally = Tally { tried: times, ..Tally::default() };
    for _ in 0..times {
        let mut ask = |worker, act| crew.ask(worker, act, NOTHING)?.value().context("in a process that forks");
        ask(HOLDER, take)?;
        let fate = ask(FORKER, fork)?;
        ask(HOLDER, let_go)?;
        if fate == ASLEEP {
            let seen = [ask(HOLDER, is_free)?, ask(FORKER, sleeps_on)?];
            tally.asleep += 1;
            tally.still_asleep += usize::from(seen == [1, 1]);
        }
        tally.done += usize::from(fate == u64::from(DONE));
    }
    Ok(tally)
}

impl Worker<'_> {
    fn fork(&mut self, work: fn(&Worker<'_>) -> u8) -> Result<u64> {
        // SAFETY: the child only tries what its situation is about; nothing of that panics, as no lock is poisoned.
        self.watch(unsafe { Watched::fork(|| work(self)) }?)
    }

    fn watch(&mut self, child: Watched) -> Result<u64> {
        let code = child.exit_code(self.clock)?;
        self.child = code.is_none().then_some(child);
        Ok(code.map_or(ASLEEP, u64::from))
    }

    fn wait_until(&self, end_ns: u64) {
        while self.clock.now_ns() < end_ns {
            spin_loop();
        }
    }
}

fn let_go(holder: &mut Worker<'_>, _: Arguments) -> Result<u64> {
    (holder.held, holder.held_stdout) = (None, None);
    Ok(0)
}

/// Does what the child waits for work again in the process that has forked it?
fn is_free(holder: &mut Worker<'_>, _: Arguments) -> Result<u64> {
    Ok((holder.lock.try_lock().is_ok() && holder.pool.get().is_none_or(|pool| work_in(pool) == DONE)).into())
}

fn sleeps_on(forker: &mut Worker<'_>, _: Arguments) -> Result<u64> {
    Ok(forker.child.take().context("a child")?.sleeps_for_ever()?.into())
}

fn hold_lock(holder: &mut Worker<'_>, _: Arguments) -> Result<u64> {
    holder.held = holder.lock.lock().ok();
    Ok(0)
}

fn take_lock(own: &Worker<'_>) -> u8 {
    own.lock.lock().map_or(1, |_| DONE)
}

fn hold_now_and_then(busy: &mut Worker<'_>, [held_ns, period_ns, _]: Arguments) -> Result<u64> {
    loop {
        let start_ns = busy.clock.now_ns();
        let held = busy.lock.lock();
        busy.wait_until(start_ns + held_ns);
        drop(held);
        busy.wait_until(start_ns + period_ns);
    }
}

/// As whoever prints does.
fn hold_stdout(holder: &mut Worker<'_>, _: Arguments) -> Result<u64> {
    holder.held_stdout = Some(stdout().lock());
    Ok(0)
}

fn take_stdout(_: &Worker<'_>) -> u8 {
    drop(stdout().lock());
    DONE
}

/// The same pool for all forks.
fn fill_pool(holder: &mut Worker<'_>, _: Arguments) -> Result<u64> {
    if holder.pool.get().is_none() {
        let _ = holder.pool.set(new_pool()?);
    }
    Ok(0)
}

fn work_in_old_pool(own: &Worker<'_>) -> u8 {
    own.pool.get().map_or(1, work_in)
}

fn work_in_new_pool(_: &Worker<'_>) -> u8 {
    new_pool().map_or(1, |pool| work_in(&pool))
}

/// A pool whose threads have all started: std holds a lock of its own while a thread starts.
fn new_pool() -> io::Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(2).build().map_err(io::Error::other)?;
    pool.broadcast(|_| ());
    Ok(pool)
}

fn work_in(pool: &ThreadPool) -> u8 {
    pool.install(|| black_box(DONE))
}

fn allocate_on_and_on(_: &mut Worker<'_>, _: Arguments) -> Result<u64> {
    loop {
        allocate();
        yield_now();
    }
}

/// Small and large blocks, as one heap and as a mapping of their own.
fn allocate() -> u8 {
    let blocks = [1_usize, 100, 10_000, 1_000_000].map(|size| black_box(vec![1_u8; size]).len());
    if blocks.iter().sum::<usize>() == 1_010_101 { DONE } else { 1 }
}

/// The new program is this one; to print its help, it takes the lock of its own stdout.
fn run_a_program(forker: &mut Worker<'_>, _: Arguments) -> Result<u64> {
    forker.watch(Watched::start(Command::new("/proc/self/exe").arg("--help").stdout(Stdio::null()))?)
}
