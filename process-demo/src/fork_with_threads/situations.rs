//! What are the other threads doing at the fork, and what does the child try?

use std::ffi::CStr;
use std::hint::{black_box, spin_loop};
use std::io::{self, StdoutLock, stdout};
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::{LockResult, Mutex, MutexGuard, OnceLock};
use std::thread::yield_now;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::libc;
use nix::sys::wait::WaitStatus;
use process_demo::crew::{Arguments, Crew, Kind, NOTHING};
use process_demo::pidfd::PidFd;
use rayon::{ThreadPool, ThreadPoolBuilder};
use shared::measure::SystemClock;

use super::watched::Watched;

pub const ROLE: &str = "take-stdout";
const ROLE_IN_C: &CStr = c"take-stdout";
const DONE: u8 = 42;
const ASLEEP: u64 = 256; // No exit code.

/// What the threads of a process do that forks: one forks, one holds something meanwhile, one is busy.
pub struct Situation {
    pub child: &'static str,
    pub other: &'static str,
    /// What the busy thread does from the start, until the process is ended.
    pub meanwhile: Act,
    /// What the holder takes before each fork; it lets go after it.
    pub take: Act,
    /// Gives the exit code of the child, or that it sleeps for ever.
    pub fork: Act,
    /// In the process that forks: is what the child waits for there again? Gives one if it is.
    pub is_free: Act,
}

/// What a thread is told to do.
type Act = fn(&mut Party<'_>, Arguments) -> Result<u64>;

/// One of the threads: what they share, and what is its own.
pub struct Party<'s> {
    clock: SystemClock,
    lock: &'s Mutex<()>,
    pool: &'s OnceLock<ThreadPool>,
    held: Option<LockResult<MutexGuard<'s, ()>>>,
    held_stdout: Option<StdoutLock<'static>>,
    /// One that sleeps for ever.
    child: Option<Watched>,
}

/// Nobody holds anything, and the child takes a lock.
const PLAIN: Situation = Situation {
    child: "takes a mutex",
    other: "does not hold it",
    meanwhile: |_, _| Ok(0),
    take: |_, _| Ok(0),
    fork: |forker, _| forker.watch_child(|own| own.lock.lock().map_or(1, |_| DONE)),
    is_free: |_, _| Ok(1),
};

pub const SITUATIONS: [Situation; 8] = [
    Situation {
        other: "holds it",
        take: |holder, _| {
            holder.held = Some(holder.lock.lock());
            Ok(0)
        },
        is_free: |holder, _| Ok(holder.lock.try_lock().is_ok().into()),
        ..PLAIN
    },
    Situation {
        child: "takes the lock of stdout",
        other: "holds it", // As whoever prints does.
        take: hold_stdout,
        fork: |forker, _| forker.watch_child(|_| take_stdout()),
        ..PLAIN
    },
    Situation {
        child: "uses its parent's rayon pool",
        other: "is in the pool",
        take: fill_pool,
        fork: |forker, _| forker.watch_child(|own| own.pool.get().map_or(1, work_in)),
        is_free: |holder, _| Ok((holder.pool.get().map(work_in) == Some(DONE)).into()),
        ..PLAIN
    },
    PLAIN,
    Situation {
        child: "makes its own rayon pool",
        other: "is in an idle pool",
        take: fill_pool,
        fork: |forker, _| forker.watch_child(|_| new_pool().map_or(1, |pool| work_in(&pool))),
        ..PLAIN
    },
    Situation {
        child: "allocates memory",
        other: "allocates too",
        meanwhile: |_, _| loop {
            allocate();
            yield_now();
        },
        fork: |forker, _| forker.watch_child(|_| allocate()),
        ..PLAIN
    },
    Situation {
        child: "runs a program by exec",
        other: "holds stdout's lock",
        take: hold_stdout,
        fork: |forker, _| forker.watch_child(|_| become_a_program()),
        ..PLAIN
    },
    Situation {
        child: "runs a program by Command",
        other: "holds stdout's lock",
        take: hold_stdout,
        fork: |_, _| run_a_program(),
        ..PLAIN
    },
];

/// By luck: the busy thread takes the lock once in each period, and holds it for a share of that.
pub const NOW_AND_THEN: Situation = Situation {
    meanwhile: |busy, [held_ns, period_ns, _]| loop {
        let start_ns = busy.clock.now_ns();
        let held = busy.lock.lock();
        busy.wait_until(start_ns + held_ns);
        drop(held);
        busy.wait_until(start_ns + period_ns);
    },
    ..PLAIN
};

/// How often it was tried, and what became of the children.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub tried: u32,
    /// Slept for ever, each with one thread only.
    pub asleep: u32,
    /// Did what they were to do, and ended.
    pub done: u32,
    /// Of those asleep: still so when, in the process that forked them, what they wait for was free again.
    pub still_asleep: u32,
}

/// Forks so many times, in a process that exists for that alone, and has threads.
pub fn fork_in(situation: &Situation, times: u32, clock: SystemClock, busy_with: Arguments) -> Result<Tally> {
    const FORKER: usize = 0;
    const HOLDER: usize = 1;
    const BUSY: usize = 2;
    let (lock, pool) = (Mutex::new(()), OnceLock::new());
    let party = || Ok(Party { clock, lock: &lock, pool: &pool, held: None, held_stdout: None, child: None });
    let mut crew = Crew::of(Kind::Threads, 3, party)?;
    let let_go: Act = |holder, _| {
        (holder.held, holder.held_stdout) = (None, None);
        Ok(0)
    };
    let sleeps_on: Act = |forker, _| Ok(forker.child.take().context("a child")?.sleeps_for_ever()?.into());
    crew.tell(BUSY, situation.meanwhile, busy_with); // Nobody waits for it: it ends with the others.
    let mut tally = Tally { tried: times, ..Tally::default() };
    for _ in 0..times {
        let mut ask = |worker, act| crew.ask(worker, act, NOTHING)?.value().context("in a process that forks");
        ask(HOLDER, situation.take)?;
        let fate = ask(FORKER, situation.fork)?;
        ask(HOLDER, let_go)?;
        if fate == ASLEEP {
            let seen = [ask(HOLDER, situation.is_free)?, ask(FORKER, sleeps_on)?];
            tally.asleep += 1;
            tally.still_asleep += u32::from(seen == [1, 1]);
        }
        tally.done += u32::from(fate == u64::from(DONE));
    }
    Ok(tally)
}

impl Party<'_> {
    fn watch_child(&mut self, work: fn(&Party<'_>) -> u8) -> Result<u64> {
        // SAFETY: the child only tries what its situation is about; nothing of that panics, as no lock is poisoned.
        let child = unsafe { Watched::fork(|| work(self)) }?;
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

fn hold_stdout(holder: &mut Party<'_>, _: Arguments) -> Result<u64> {
    holder.held_stdout = Some(stdout().lock());
    Ok(0)
}

/// What the new program does, too: it takes the lock of its own stdout.
pub fn take_stdout() -> u8 {
    drop(stdout().lock());
    DONE
}

/// The same pool for all forks; it works where it was made.
fn fill_pool(holder: &mut Party<'_>, _: Arguments) -> Result<u64> {
    if holder.pool.get().is_none() {
        let _ = holder.pool.set(new_pool()?);
    }
    let works = holder.pool.get().map(work_in) == Some(DONE);
    works.then_some(0).context("the pool does not work in its own process")
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

/// Small and large blocks, as one heap and as a mapping of their own.
fn allocate() -> u8 {
    let blocks = [1_usize, 100, 10_000, 1_000_000].map(|size| black_box(vec![1_u8; size]).len());
    if blocks.iter().sum::<usize>() == 1_010_101 { DONE } else { 1 }
}

fn become_a_program() -> u8 {
    let arguments = [c"process-demo".as_ptr(), c"--role".as_ptr(), ROLE_IN_C.as_ptr(), ptr::null()];
    // SAFETY: each argument ends with a zero and outlives the call. (nix's execv would allocate.)
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), arguments.as_ptr()) };
    1 // Only if it failed.
}

fn run_a_program() -> Result<u64> {
    let mut program = Command::new("/proc/self/exe");
    program.args(["--role", ROLE]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = program.spawn()?;
    let end = PidFd::of_child(&child).and_then(|pidfd| pidfd.wait_for(Duration::from_secs(10)));
    if !matches!(end, Ok(Some(_))) {
        child.kill()?;
        child.wait()?;
    }
    Ok(if let Some(WaitStatus::Exited(_, code)) = end? { code as u64 } else { 1 })
}
