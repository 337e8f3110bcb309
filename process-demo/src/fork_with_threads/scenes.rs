//! What are the other threads doing at the fork, and what does the child try?

use std::ffi::CString;
use std::hint::black_box;
use std::io::{self, stdout};
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, yield_now};
use std::time::Duration;

use crossbeam_channel::bounded;
use nix::libc;
use nix::sys::wait::WaitStatus;
use process_demo::pidfd::PidFd;
use rayon::{ThreadPool, ThreadPoolBuilder};
use shared::measure::SystemClock;

use super::victim::Tally;
use super::watch::{self, Fate, Watched};

pub const ROLE: &str = "take-stdout";
pub const DONE: u8 = 42;

/// What the new program does: it takes the lock of its own stdout.
pub fn take_stdout() -> u8 {
    drop(stdout().lock());
    DONE
}

/// Each child takes a lock of ours while another thread holds it.
pub fn held_lock(clock: SystemClock, times: u32) -> io::Result<Tally> {
    let lock = Mutex::new(0);
    let hold = |release: &mut dyn FnMut()| {
        let _held = lock.lock();
        release();
    };
    // SAFETY: the child tries the lock; nothing of that panics, as the lock is never poisoned.
    let child = || unsafe { watch::fork(|| lock.lock().map_or(1, |_| DONE)) };
    beside_holder(clock, times, hold, child, || lock.try_lock().is_ok())
}

/// Each child takes the same lock, which nobody holds, though there is another thread.
pub fn free_lock(clock: SystemClock, times: u32) -> io::Result<Tally> {
    let lock = Mutex::new(0);
    // SAFETY: as for the lock that is held.
    let child = || unsafe { watch::fork(|| lock.lock().map_or(1, |_| DONE)) };
    beside_holder(clock, times, |release| release(), child, || true)
}

/// Each child takes the lock of std's own stdout while another thread holds it, as whoever prints does.
pub fn held_stdout(clock: SystemClock, times: u32) -> io::Result<Tally> {
    let hold = |release: &mut dyn FnMut()| {
        let _held = stdout().lock();
        release();
    };
    // SAFETY: the child tries the lock and prints nothing.
    let child = || unsafe { watch::fork(take_stdout) };
    beside_holder(clock, times, hold, child, || true)
}

/// Each child becomes another program at once, while another thread holds the lock of stdout; the program takes its own.
pub fn exec_at_once(clock: SystemClock, times: u32) -> io::Result<Tally> {
    let hold = |release: &mut dyn FnMut()| {
        let _held = stdout().lock();
        release();
    };
    let role = CString::new(ROLE)?;
    let arguments = [c"process-demo".as_ptr(), c"--role".as_ptr(), role.as_ptr(), ptr::null()];
    let become_it = || {
        // SAFETY: each argument ends with a zero and outlives the call. (nix's execv would allocate.)
        unsafe { libc::execv(c"/proc/self/exe".as_ptr(), arguments.as_ptr()) };
        1 // Only if it failed.
    };
    // SAFETY: the child only calls execv, which is async-signal-safe.
    let child = || unsafe { watch::fork(become_it) };
    beside_holder(clock, times, hold, child, || true)
}

/// Forks so many times while another thread is inside `hold`; then has it let go, and looks again.
fn beside_holder(
    clock: SystemClock,
    times: u32,
    hold: impl Fn(&mut dyn FnMut()) + Send,
    child: impl Fn() -> io::Result<Watched>,
    is_free: impl Fn() -> bool,
) -> io::Result<Tally> {
    thread::scope(|scope| {
        let (take, taken) = (bounded::<()>(0), bounded::<()>(0));
        let (let_go, gone) = (bounded::<()>(0), bounded::<()>(0));
        let (asked, tell) = (take.1, taken.0);
        let (asked_to_let_go, tell_gone) = (let_go.1, gone.0);
        let holder = move || {
            // Every error here means that the forking thread has given up.
            while asked.recv().is_ok() {
                hold(&mut || _ = tell.send(()).map(|()| asked_to_let_go.recv()));
                let _ = tell_gone.send(());
            }
        };
        thread::Builder::new().spawn_scoped(scope, holder)?;
        let over = |_| io::Error::other("the other thread is gone");
        let mut tally = Tally::default();
        for _ in 0..times {
            take.0.send(()).map_err(|_| io::Error::other("the other thread is gone"))?;
            taken.1.recv().map_err(over)?; // From here on it holds, until it is asked.
            let mut child = child()?;
            let fate = child.fate(clock)?;
            let_go.0.send(()).map_err(|_| io::Error::other("the other thread is gone"))?;
            gone.1.recv().map_err(over)?;
            let still = fate == Fate::Asleep && is_free() && child.sleeps_for_ever()?;
            tally.count(fate, still);
        }
        Ok(tally)
    })
}

impl Tally {
    fn count(&mut self, fate: Fate, still_asleep: bool) {
        self.tried += 1;
        self.asleep += u32::from(fate == Fate::Asleep);
        self.done += u32::from(fate == Fate::Ended(DONE));
        self.still_asleep += u32::from(still_asleep);
    }
}

/// Each child takes a lock that another thread takes and releases all the time, held for this share of each period.
pub fn by_luck(clock: SystemClock, times: u32, held_ns: u64, period_ns: u64) -> io::Result<Tally> {
    let lock = Mutex::new(0);
    let over = AtomicBool::new(false);
    let busy_until = |end_ns| {
        while clock.now_ns() < end_ns {
            std::hint::spin_loop();
        }
    };
    thread::scope(|scope| {
        let now_and_then = || {
            while !over.load(Relaxed) {
                let start_ns = clock.now_ns();
                let held = lock.lock();
                busy_until(start_ns + held_ns);
                drop(held);
                busy_until(start_ns + period_ns);
            }
        };
        thread::Builder::new().spawn_scoped(scope, now_and_then)?;
        // SAFETY: as for the lock that is held.
        let child = || unsafe { watch::fork(|| lock.lock().map_or(1, |_| DONE)) };
        let tally = watch_all(clock, times, child);
        over.store(true, Relaxed); // Publishes nothing: the scope's join does.
        tally
    })
}

/// Each child allocates memory while other threads do nothing else.
pub fn allocation(clock: SystemClock, times: u32) -> io::Result<Tally> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let all_the_time = || {
            while !over.load(Relaxed) {
                allocate();
                yield_now();
            }
        };
        let others: io::Result<Vec<_>> =
            (0..2).map(|_| thread::Builder::new().spawn_scoped(scope, all_the_time)).collect();
        // SAFETY: the child tries to allocate; a refused allocation would abort it.
        let tally = others.and_then(|_| watch_all(clock, times, || unsafe { watch::fork(allocate) }));
        over.store(true, Relaxed); // Publishes nothing: the scope's join does.
        tally
    })
}

/// Small and large blocks, as one heap and as a mapping of their own.
fn allocate() -> u8 {
    let blocks = [1_usize, 100, 10_000, 1_000_000].map(|size| black_box(vec![1_u8; size]).len());
    if blocks.iter().sum::<usize>() == 1_010_101 { DONE } else { 1 }
}

/// Each child uses a pool of threads that was made before the fork.
pub fn pool_of_the_maker(clock: SystemClock, times: u32) -> io::Result<Tally> {
    let pool = pool()?;
    let works = || pool.install(|| black_box(DONE)) == DONE;
    if !works() {
        return Err(io::Error::other("the pool does not work in its own process"));
    }
    // SAFETY: the child tries to use the pool.
    let mut tally = watch_all(clock, times, || unsafe { watch::fork(|| pool.install(|| black_box(DONE))) })?;
    tally.still_asleep = if works() { tally.asleep } else { 0 };
    Ok(tally)
}

/// Each child makes a pool of its own, though its maker has one.
pub fn pool_of_its_own(clock: SystemClock, times: u32) -> io::Result<Tally> {
    let _makers = pool()?;
    // SAFETY: the child tries to make threads and to use them.
    let child = || unsafe { watch::fork(|| pool().map_or(1, |pool| pool.install(|| black_box(DONE)))) };
    watch_all(clock, times, child)
}

/// A pool whose threads have all started: std holds a lock of its own while a thread starts.
fn pool() -> io::Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(2).build().map_err(io::Error::other)?;
    pool.broadcast(|_| ());
    Ok(pool)
}

fn watch_all(clock: SystemClock, times: u32, child: impl Fn() -> io::Result<Watched>) -> io::Result<Tally> {
    let mut tally = Tally::default();
    for _ in 0..times {
        let fate = child()?.fate(clock)?;
        tally.count(fate, false);
    }
    Ok(tally)
}

/// Starts the program by std's `Command` while this thread's sibling holds the lock of stdout.
pub fn command(times: u32) -> io::Result<Tally> {
    thread::scope(|scope| {
        let (tell, taken) = bounded::<()>(0);
        let (stay, leave) = bounded::<()>(0);
        let holder = move || {
            let _held = stdout().lock();
            let _ = tell.send(());
            let _ = leave.recv(); // Until the other end is dropped.
        };
        thread::Builder::new().spawn_scoped(scope, holder)?;
        taken.recv().map_err(io::Error::other)?;
        let mut tally = Tally::default();
        for _ in 0..times {
            tally.tried += 1;
            tally.done += u32::from(run_program()?);
        }
        drop(stay);
        Ok(tally)
    })
}

/// Whether it did what it is to do.
fn run_program() -> io::Result<bool> {
    let mut program = Command::new("/proc/self/exe");
    program.args(["--role", ROLE]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = program.spawn()?;
    let end = PidFd::of_child(&child).and_then(|pidfd| pidfd.wait_for(Duration::from_secs(10)));
    if !matches!(end, Ok(Some(_))) {
        child.kill()?;
        child.wait()?;
    }
    Ok(matches!(end?, Some(WaitStatus::Exited(_, code)) if code == i32::from(DONE)))
}
