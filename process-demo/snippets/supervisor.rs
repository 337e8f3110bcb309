//! A supervisor of worker processes: it replaces one that crashes or hangs, and ends them all in good order on SIGTERM.
//!
//! Needs: nix 0.31 (mman, poll, process, signal)
//! Runs on: Linux
//! Instead: std::process::Command under systemd (Restart=, WatchdogSec=) for whole programs; this one forks.
//!
//! Each worker has a slot; if it ends otherwise than by exit code 0, a new one takes its slot and nobody else notices
//! (one for one, as in Erlang). The supervisor starts no thread, prints nothing and never sleeps for a while: it waits
//! in one `ppoll(2)` for the end of a child, for SIGTERM, or for the next thing that is due. A worker shows that it does
//! not hang by a word in shared memory, which costs it one store; the supervisor looks at these words four times within
//! the time allowed, and that is all it does while everybody is well.
//!
//! What it does not do: save what a worker had in hand when it ended. Note it down outside of the worker (in shared
//! memory, in a file, at the client), have the next one in the slot do it, and bear that it is done twice. It runs
//! beside no second thread, which is refused, and limits or ends nothing that a worker itself starts. A worker that
//! changes its user outlives its killed parent. Programs that a worker starts have SIGTERM and SIGINT blocked. As
//! process 1 it does not reap orphans.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
//! use nix::sys::signal::{Signal, raise};
//!
//! let serve = |worker: &Worker<'_>| {
//!     if worker.slot() == 0 {
//!         return 1; // Fails at once, whenever it is started.
//!     }
//!     while worker.goes_on() {
//!         // Waits for work; here, for nothing but the request to stop.
//!         worker.rest();
//!         let _ = poll(&mut [PollFd::new(worker.stop_request(), PollFlags::POLLIN)], PollTimeout::NONE);
//!     }
//!     0
//! };
//! let policy = Policy { most_restarts: 2, first_wait: std::time::Duration::from_millis(5), ..Policy::default() };
//! // SAFETY: nothing alive here owns anything in shared memory.
//! let mut supervisor = unsafe { Supervisor::new(policy, &[WhenParentDies::End; 2], serve) }.unwrap();
//! let mut log = Vec::new();
//! while let Some(event) = supervisor.next_event().unwrap() {
//!     if let Event::GaveUp { .. } = event {
//!         raise(Signal::SIGTERM).unwrap(); // As `kill`, systemd or docker would.
//!     }
//!     log.push(event);
//! }
//! let count = |what: fn(&Event) -> bool| log.iter().filter(|event| what(event)).count();
//! assert_eq!(count(|event| matches!(event, Event::Started { slot: 0, .. })), 3); // Once, and twice again.
//! assert_eq!(count(|event| matches!(event, Event::Started { slot: 1, .. })), 1);
//! assert_eq!(count(|event| matches!(event, Event::GaveUp { slot: 0, restarts: 2 })), 1);
//! assert_eq!(count(|event| matches!(event, Event::Ended { slot: 1, exit, .. } if exit.success())), 1);
//! assert_eq!(count(|event| matches!(event, Event::Hung { .. })), 0);
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::collections::VecDeque;
use std::mem::forget;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use std::{fmt, fs, io, thread};

use nix::errno::Errno;
use nix::libc::{self, c_void};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, getpid, getppid};

/// How patient to be. `Duration::MAX` means for ever.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// A worker that has neither beaten nor rested for so long is killed; this is seen a quarter later at most.
    pub hung_after: Duration,
    /// One slot's first restart within `window` is at once, the second after so long, each further one after twice the
    /// last wait, up to 10 s.
    pub first_wait: Duration,
    /// One slot is restarted so often within `window`; at the next failure it is given up.
    pub most_restarts: usize,
    /// How long a restart counts.
    pub window: Duration,
    /// Who has not ended so long after the request to stop is killed.
    pub drain_within: Duration,
}

impl Default for Policy {
    /// For workers that serve people: hung after 10 s, waits from 100 ms, at most 10 restarts in a minute, 10 s to drain.
    fn default() -> Policy {
        Policy {
            hung_after: Duration::from_secs(10),
            first_wait: Duration::from_millis(100),
            most_restarts: 10,
            window: Duration::from_secs(60),
            drain_within: Duration::from_secs(10),
        }
    }
}

/// What becomes of a worker when its parent dies, by SIGKILL for instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenParentDies {
    /// The kernel kills it at once, when the thread that forked it ends (`PR_SET_PDEATHSIG`, prctl(2)).
    End,
    /// It runs on without a supervisor, and is reaped by init or by the nearest subreaper.
    RunOn,
}

/// What has happened. `slot` is a worker's index in the list given to `Supervisor::new`, `pid` the process in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Of the fields: what they are stands above, or with the variant.
pub enum Event {
    /// A worker runs.
    Started { slot: usize, pid: Pid },
    /// The kernel made no process: the error is as `fork(2)` says. A restart is planned as after a crash.
    NotStarted { slot: usize, error: Errno },
    /// A worker has missed its heartbeat, or has not ended in time after the request to stop, and was sent SIGKILL; that it
    /// `Ended` comes next.
    Hung { slot: usize, pid: Pid },
    /// A worker has ended and is reaped. With success, its slot stays empty: it has done all its work, or somebody else
    /// has asked it to stop.
    Ended { slot: usize, pid: Pid, exit: ExitStatus },
    /// The next worker of this slot is started after this wait, counted from now.
    Restarting { slot: usize, wait: Duration },
    /// The slot has failed again after so many restarts within the window, and stays empty; the others go on.
    GaveUp { slot: usize, restarts: usize },
    /// Every worker was asked to stop, and none is started any more.
    Draining,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Started { slot, pid } => write!(f, "worker {slot} runs (pid {pid})"),
            Event::NotStarted { slot, error } => write!(f, "worker {slot} could not be started: {}", error.desc()),
            Event::Hung { slot, pid } => write!(f, "worker {slot} hangs and is killed (pid {pid})"),
            Event::Ended { slot, pid, exit } => write!(f, "worker {slot} ended, {exit} (pid {pid})"),
            Event::Restarting { slot, wait: Duration::ZERO } => write!(f, "worker {slot} is started again at once"),
            Event::Restarting { slot, wait } => write!(f, "worker {slot} is started again in {wait:.1?}"),
            Event::GaveUp { slot, restarts } => write!(f, "worker {slot} is given up after {restarts} restarts"),
            Event::Draining => write!(f, "every worker is asked to stop"),
        }
    }
}

/// What a worker has of its supervisor.
///
#[doc = concat!("```\nuse ", module_path!(), "::*;")]
/// // Who neither beats nor rests is taken for hung.
/// let hang = |_: &Worker<'_>| loop {
///     nix::unistd::pause();
/// };
/// let hung_after = std::time::Duration::from_millis(20);
/// let policy = Policy { hung_after, most_restarts: 0, ..Policy::default() };
/// // SAFETY: nothing alive here owns anything in shared memory.
/// let mut supervisor = unsafe { Supervisor::new(policy, &[WhenParentDies::End], hang) }.unwrap();
/// let mut log = std::iter::from_fn(|| supervisor.next_event().unwrap()).map(|event| event.to_string());
/// assert!(log.next().unwrap().starts_with("worker 0 runs"));
/// assert!(log.next().unwrap().starts_with("worker 0 hangs and is killed"));
/// assert!(log.next().unwrap().contains("signal: 9 (SIGKILL)"));
/// assert_eq!(log.next().unwrap(), "worker 0 is given up after 0 restarts");
/// assert_eq!(log.next(), None);
/// ```
pub struct Worker<'a> {
    slot: usize,
    heart: &'a Heart,
    stops: SignalFd,
}

impl Worker<'_> {
    /// Which of the workers this is; its replacement has the same.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// To be asked between two tasks: beats, and says whether to take another one. False once the worker got SIGTERM or
    /// SIGINT, from the supervisor or from anybody; it should return then. Costs one `poll(2)`, which never blocks.
    pub fn goes_on(&self) -> bool {
        self.beat();
        let mut asked = [PollFd::new(self.stop_request(), PollFlags::POLLIN)];
        poll(&mut asked, PollTimeout::ZERO) != Ok(1)
    }

    /// Shows that the worker does not hang; for the inside of a long task. Costs one store.
    pub fn beat(&self) {
        self.heart.word().store(0, Relaxed); // It publishes nothing but itself.
    }

    /// Says that the worker is about to wait for work, for as long as it takes; the next beat ends the rest.
    pub fn rest(&self) {
        self.heart.word().store(RESTING, Relaxed);
    }

    /// Readable once the worker is asked to stop: to be polled beside what it waits for. Reading it is for nobody.
    pub fn stop_request(&self) -> BorrowedFd<'_> {
        self.stops.as_fd()
    }
}

/// Makes the workers, watches them and replaces them. Dropping it kills and reaps those declared to `End` with their
/// parent; those declared to `RunOn` do, and this process is to wait for them if it lives longer than they.
pub struct Supervisor<'a> {
    work: Box<dyn Fn(&Worker<'_>) -> u8 + 'a>,
    policy: Policy,
    slots: Vec<Slot>,
    signals: SignalFd,
    mask_before: SigSet,
    parent: Pid,
    next_look: Option<Instant>,
    is_draining: bool,
    drain_end: Option<Instant>,
    events: VecDeque<Event>,
}

impl<'a> Supervisor<'a> {
    /// Prepares as many slots as there are declarations; the first `next_event` starts the workers.
    ///
    /// Each worker runs `work` in a process of its own and exits with its value: 0 if it has done all it had to, or was
    /// asked to stop; anything else is a failure, as is a panic (101). It leaves by `_exit`: no destructor of the
    /// parent's values runs in it.
    ///
    /// Until the drop, SIGTERM, SIGINT and SIGCHLD are blocked in this thread, since they are read here; the workers
    /// have SIGTERM and SIGINT blocked as well, and see them by `Worker::goes_on`. From now on SIGCHLD has its default
    /// disposition in this process: who inherited that it is ignored would never learn how a child ended.
    ///
    /// # Errors
    /// EMFILE, ENOMEM.
    ///
    /// # Safety
    /// Every value alive at a fork exists twice afterwards, and this forks in `next_event` as long as it lives. None
    /// of those that `work` touches may own something in memory that stays shared between the two: the guard of a lock
    /// in a shared mapping, say, would unlock it twice.
    pub unsafe fn new(
        policy: Policy,
        declared: &[WhenParentDies],
        work: impl Fn(&Worker<'_>) -> u8 + 'a,
    ) -> io::Result<Supervisor<'a>> {
        let read_here: SigSet = STOPS.into_iter().chain([Signal::SIGCHLD]).collect();
        let signals = SignalFd::with_flags(&read_here, FLAGS)?;
        let slots = declared.iter().map(|when_parent_dies| Slot::new(*when_parent_dies)).collect::<io::Result<_>>()?;
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default disposition runs no code of this process.
        unsafe { sigaction(Signal::SIGCHLD, &default) }?;
        let mask_before = read_here.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Supervisor {
            work: Box::new(work),
            policy,
            slots,
            signals,
            mask_before,
            parent: getpid(),
            next_look: Instant::now().checked_add(policy.hung_after / LOOKS_IN_TIME),
            is_draining: false,
            drain_end: None,
            events: VecDeque::new(),
        })
    }

    /// Blocks until something has happened, and tells it; nothing once every slot is empty for good. Between two calls
    /// nobody is supervised, so call it again at once.
    ///
    /// # Errors
    /// Refused if this process has a second thread when a worker is to be made. ECHILD, if another part of the program
    /// has reaped a worker.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        while self.events.is_empty() && self.slots.iter().any(|slot| slot.state != State::Empty) {
            self.wait()?;
            while let Some(signal) = self.signals.read_signal()? {
                if signal.ssi_signo != Signal::SIGCHLD as u32 {
                    self.drain();
                }
            }
            for index in 0..self.slots.len() {
                self.attend(index)?; // One SIGCHLD may stand for several ends: this asks for each worker.
            }
            self.kill_who_hangs();
        }
        Ok(self.events.pop_front())
    }

    /// Asks every worker to stop, as SIGTERM or SIGINT to this process does; returns at once. Those that have not ended
    /// within `Policy::drain_within` are killed. A second request changes nothing.
    ///
    #[doc = concat!("```\nuse ", module_path!(), "::*;")]
    /// let deaf = |_: &Worker<'_>| loop {
    ///     nix::unistd::pause(); // SIGTERM is blocked in a worker: this never asks for it.
    /// };
    /// let policy = Policy { drain_within: std::time::Duration::from_millis(20), ..Policy::default() };
    /// // SAFETY: nothing alive here owns anything in shared memory.
    /// let mut supervisor = unsafe { Supervisor::new(policy, &[WhenParentDies::End], deaf) }.unwrap();
    /// assert!(matches!(supervisor.next_event().unwrap(), Some(Event::Started { .. })));
    /// let asked = std::time::Instant::now();
    /// supervisor.drain();
    /// let log: Vec<_> = std::iter::from_fn(|| supervisor.next_event().unwrap()).collect();
    /// assert!(matches!(log[..], [Event::Draining, Event::Hung { .. }, Event::Ended { .. }]));
    /// assert!(asked.elapsed() < policy.hung_after); // It was killed as late, not for its missing heartbeat.
    /// ```
    pub fn drain(&mut self) {
        if self.is_draining {
            return;
        }
        self.is_draining = true;
        self.drain_end = Instant::now().checked_add(self.policy.drain_within);
        for slot in &mut self.slots {
            match slot.state {
                State::Running(pid) => _ = kill(pid, Signal::SIGTERM), // Not reaped yet: it is still its own.
                State::Due(_) | State::Empty => slot.state = State::Empty,
            }
        }
        self.events.push_back(Event::Draining);
    }

    /// Sleeps until a signal comes or something is due.
    fn wait(&self) -> io::Result<()> {
        let due = self.slots.iter().filter_map(|slot| if let State::Due(at) = slot.state { Some(at) } else { None });
        let next = due.chain(self.next_look).chain(self.drain_end).min();
        let time = next.map(|at| at.saturating_duration_since(Instant::now()).into());
        match ppoll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], time, None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()), // The caller looks at everything.
            Err(error) => Err(error.into()),
        }
    }

    /// Reaps a slot's worker if it has ended, or starts it if it is due.
    fn attend(&mut self, index: usize) -> io::Result<()> {
        match self.slots[index].state {
            State::Running(pid) => {
                let Some(exit) = exit_of(pid).transpose() else { return Ok(()) };
                self.slots[index].state = State::Empty; // Whoever has reaped it, its number may be another's from now on.
                let exit = exit?;
                self.events.push_back(Event::Ended { slot: index, pid, exit });
                if !exit.success() {
                    self.plan_restart(index);
                }
            }
            State::Due(at) if at <= Instant::now() => self.start(index)?,
            State::Due(_) | State::Empty => {}
        }
        Ok(())
    }

    fn plan_restart(&mut self, index: usize) {
        if self.is_draining {
            return;
        }
        let slot = &mut self.slots[index];
        let now = Instant::now();
        self.events.push_back(match slot.next_wait(now, &self.policy) {
            Some(wait) => {
                slot.state = now.checked_add(wait).map_or(State::Empty, State::Due);
                Event::Restarting { slot: index, wait }
            }
            None => Event::GaveUp { slot: index, restarts: slot.restarts.len() },
        });
    }

    fn kill_who_hangs(&mut self) {
        let now = Instant::now();
        let looks = self.next_look.is_some_and(|at| at <= now);
        let drain_ends = self.drain_end.take_if(|at| *at <= now).is_some();
        for (index, slot) in self.slots.iter().enumerate() {
            let State::Running(pid) = slot.state else { continue };
            if drain_ends || looks && slot.heart.has_stopped() {
                let _ = kill(pid, Signal::SIGKILL); // Not reaped yet, so the number is still its own.
                self.events.push_back(Event::Hung { slot: index, pid });
            }
        }
        if looks {
            self.next_look = now.checked_add(self.policy.hung_after / LOOKS_IN_TIME);
        }
    }

    fn start(&mut self, index: usize) -> io::Result<()> {
        wait_until_alone()?;
        self.slots[index].heart.word().store(0, Relaxed); // The last worker may have ended in its rest.
        // SAFETY: this thread is the only one, so no lock is held by a thread that the child will not have.
        match unsafe { nix::unistd::fork() } {
            Ok(ForkResult::Child) => self.live(index),
            Ok(ForkResult::Parent { child: pid }) => {
                self.slots[index].state = State::Running(pid);
                self.events.push_back(Event::Started { slot: index, pid });
            }
            Err(error) => {
                self.slots[index].state = State::Empty;
                self.events.push_back(Event::NotStarted { slot: index, error });
                self.plan_restart(index);
            }
        }
        Ok(())
    }

    /// A worker's life, in its own process.
    fn live(&self, index: usize) -> ! {
        let value = self.worker(index).map_or(PANICKED, |worker| value_of(|| (self.work)(&worker)));
        // SAFETY: `_exit` ends the process without running anything of it.
        unsafe { libc::_exit(value.into()) }
    }

    fn worker(&self, slot: usize) -> io::Result<Worker<'_>> {
        let Slot { when_parent_dies, heart, .. } = &self.slots[slot];
        if *when_parent_dies == WhenParentDies::End {
            set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the request was made; then this process has another one by now.
            if getppid() != self.parent {
                return Err(Errno::ESRCH.into());
            }
        }
        let stops = SignalFd::with_flags(&SigSet::from_iter(STOPS), FLAGS)?;
        SigSet::from_iter(self.mask_before.iter().chain(STOPS)).thread_set_mask()?;
        Ok(Worker { slot, heart, stops })
    }
}

impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        // A child of the parent has a copy of this; its drop must not end anybody.
        if getpid() != self.parent {
            return;
        }
        for slot in self.slots.iter().filter(|slot| slot.when_parent_dies == WhenParentDies::End) {
            let State::Running(pid) = slot.state else { continue };
            let _ = kill(pid, Signal::SIGKILL); // Not reaped yet, so the number is still its own.
            while waitpid(pid, None) == Err(Errno::EINTR) {}
        }
        let _ = self.mask_before.thread_set_mask();
    }
}

const STOPS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT]; // From a service manager, and from Ctrl-C.
const FLAGS: SfdFlags = SfdFlags::SFD_CLOEXEC.union(SfdFlags::SFD_NONBLOCK);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const LOOKS_IN_TIME: u32 = 4; // Within the time after which a worker counts as hung.
const RESTING: u32 = u32::MAX; // In a worker's word; any other value counts the looks since its last beat.
const PANICKED: u8 = 101; // What a Rust program exits with when its main thread panics.

struct Slot {
    when_parent_dies: WhenParentDies,
    heart: Heart,
    state: State,
    /// When each restart was planned that still counts.
    restarts: Vec<Instant>,
}

#[derive(PartialEq)]
enum State {
    Due(Instant),
    Running(Pid),
    Empty,
}

impl Slot {
    fn new(when_parent_dies: WhenParentDies) -> io::Result<Slot> {
        let (heart, state) = (Heart::new()?, State::Due(Instant::now()));
        Ok(Slot { when_parent_dies, heart, state, restarts: Vec::new() })
    }

    /// How long to wait before the next restart; none if there were too many.
    fn next_wait(&mut self, now: Instant, policy: &Policy) -> Option<Duration> {
        self.restarts.retain(|at| now.duration_since(*at) < policy.window);
        let restarts = self.restarts.len();
        if restarts >= policy.most_restarts {
            return None;
        }
        self.restarts.push(now);
        let Some(doublings) = restarts.checked_sub(1) else { return Some(Duration::ZERO) };
        let times = 2_u32.saturating_pow(doublings.try_into().unwrap_or(u32::MAX));
        Some(policy.first_wait.saturating_mul(times).min(LONGEST_WAIT))
    }
}

/// A worker's word, on a page of its own that stays shared after a fork: no worker slows another by its beats.
struct Heart(NonNull<c_void>);

impl Heart {
    const BYTES: NonZeroUsize = NonZeroUsize::new(size_of::<AtomicU32>()).unwrap(); // The kernel rounds up to a page.

    fn new() -> io::Result<Heart> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        Ok(Heart(unsafe { mmap_anonymous(None, Heart::BYTES, access, MapFlags::MAP_SHARED) }?))
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped as long as `self` lives, zeroed at first, and used by atomics only.
        unsafe { self.0.cast().as_ref() }
    }

    /// A look at the word. True at one look, the one that finds the worker hung. Looks are counted, not time: if all were
    /// stopped for a while, by Ctrl-Z for instance, nobody has missed more than one.
    fn has_stopped(&self) -> bool {
        let missed = self.word().load(Relaxed);
        // It fails if the worker beats or rests at this very moment: then it is well.
        let counted = missed != RESTING && self.word().compare_exchange(missed, missed + 1, Relaxed, Relaxed).is_ok();
        counted && missed == LOOKS_IN_TIME
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the mapping any more, and nobody else unmaps it in this process.
        let _ = unsafe { munmap(self.0, Heart::BYTES.get()) };
    }
}

/// Reaps the child if it has ended. (Not by nix, which knows no end by a real-time signal.)
fn exit_of(pid: Pid) -> io::Result<Option<ExitStatus>> {
    let mut status = 0;
    // SAFETY: the kernel writes one number, to a place of this function's own.
    let reaped = unsafe { libc::waitpid(pid.as_raw(), &mut status, libc::WNOHANG) };
    match Errno::result(reaped)? {
        0 => Ok(None),
        _ => Ok(Some(ExitStatus::from_raw(status))),
    }
}

fn value_of(work: impl FnOnce() -> u8) -> u8 {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        forget(payload); // Dropping it could panic again, up into frames that belong to the parent.
        PANICKED
    })
}

const LOOKS: u32 = 10_000; // Some tenths of a second: far longer than the kernel needs to put a joined thread away.

fn wait_until_alone() -> io::Result<()> {
    for _ in 0..LOOKS {
        if fs::read_dir("/proc/self/task")?.count() == 1 {
            return Ok(());
        }
        thread::yield_now(); // Lets an ending thread finish, on one CPU too.
    }
    Err(io::Error::other("fork refused: this process has a second thread, which the child would not have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PATIENT: Policy = Policy {
        hung_after: Duration::MAX,
        first_wait: MS,
        most_restarts: 6,
        window: Duration::from_millis(1000),
        drain_within: Duration::MAX,
    };

    #[test]
    fn the_first_restart_is_at_once_and_each_further_one_waits_twice_as_long_up_to_the_longest() {
        let (mut slot, now) = (Slot::new(WhenParentDies::End).unwrap(), Instant::now());
        let policy = Policy { first_wait: Duration::from_secs(2), ..PATIENT };
        let waits: Vec<_> = (0..7).map(|_| slot.next_wait(now, &policy)).collect();
        let s = |count| Some(Duration::from_secs(count));
        assert_eq!(waits, [s(0), s(2), s(4), s(8), s(10), s(10), None]);
    }

    #[test]
    fn only_the_restarts_within_the_window_count() {
        let (mut slot, start) = (Slot::new(WhenParentDies::End).unwrap(), Instant::now());
        let policy = Policy { most_restarts: 2, ..PATIENT };
        let waits = [0, 999, 999, 1000, 5000].map(|at_ms| slot.next_wait(start + at_ms * MS, &policy));
        assert_eq!(waits, [Some(Duration::ZERO), Some(MS), None, Some(MS), Some(Duration::ZERO)]);
    }

    #[test]
    fn only_who_neither_beats_nor_rests_is_hung_and_that_is_told_once() {
        let heart = Heart::new().unwrap();
        let worker = Worker { slot: 0, heart: &heart, stops: SignalFd::new(&SigSet::empty()).unwrap() };
        let looks = |before: fn(&Worker<'_>)| -> Vec<u32> {
            let hung = |_: &u32| {
                before(&worker);
                heart.has_stopped()
            };
            (1..=12).filter(hung).collect()
        };
        let never: [u32; 0] = [];
        assert_eq!(looks(|worker| worker.beat()), never);
        assert_eq!(looks(|worker| worker.rest()), never);
        assert_eq!(looks(|_| ()), never); // It rests on.
        worker.beat();
        assert_eq!(looks(|_| ()), [5]); // The first look may come right after the beat; then a quarter passes four times.
        worker.beat();
        assert_eq!(looks(|_| ()), [5]);
    }

    #[test]
    fn a_drain_without_workers_is_over_at_once() {
        // SAFETY: there is no worker, hence no fork.
        let mut supervisor = unsafe { Supervisor::new(PATIENT, &[], |_| 0) }.unwrap();
        assert_eq!(supervisor.next_event().unwrap(), None);
        supervisor.drain();
        let told: Vec<_> = std::iter::from_fn(|| supervisor.next_event().unwrap()).collect();
        assert_eq!(told, [Event::Draining]);
    }

    #[test]
    fn a_process_with_a_second_thread_is_refused() {
        // The harness runs this in a thread of its own, beside the main one.
        // SAFETY: the worker, if there were one, would only exit.
        let mut supervisor = unsafe { Supervisor::new(PATIENT, &[WhenParentDies::End], |_| 0) }.unwrap();
        let refused = supervisor.next_event().unwrap_err();
        assert!(refused.to_string().contains("second thread"), "{refused}");
    }
}
