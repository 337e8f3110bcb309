//! A listener served by several worker processes, which are replaced when they die, whatever kills them.
//!
//! Needs: nix 0.31 (net, poll, process, signal, socket)
//! Runs on: Linux
//! Instead: hyper or axum on tokio for one process with threads; this one outlives what ends a process.
//!
//! A worker that crashes takes only what was on it along; the others serve on, and on a shared listener not even those
//! who wait in its queue notice. The parent itself serves nobody: it sleeps until a worker ends or somebody says stop.
//!
//! What it does not do: notice a worker that hangs, limit what it takes, or run beside a second thread, which is
//! refused. A worker that changes its user outlives its killed parent. Programs that a worker starts have SIGTERM
//! blocked.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::os::fd::AsFd;
//! use std::os::unix::{net::UnixStream, process::ExitStatusExt};
//! use std::time::Duration;
//! use nix::libc;
//!
//! // One connection gets an answer; the next one is a request that crashes.
//! let worker = |worker: Worker| {
//!     let (mut client, _) = worker.listener.accept().unwrap();
//!     client.write_all(&[worker.number as u8]).unwrap();
//!     worker.listener.accept().unwrap();
//!     std::process::abort()
//! };
//!
//! let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), Listening::Shared).unwrap();
//! let address = listeners.address();
//! let (mut stop, stopped) = UnixStream::pair().unwrap();
//! let (mut starts, mut crashes) = (0, 0);
//! let tell = |event| match event {
//!     Event::Started { number, .. } => {
//!         let mut answer = [9];
//!         TcpStream::connect(address).unwrap().read_exact(&mut answer).unwrap();
//!         assert_eq!(answer, [number as u8]);
//!         starts += 1;
//!         if starts < 3 { TcpStream::connect(address).unwrap(); } else { stop.write_all(b"!").unwrap(); }
//!     }
//!     Event::Ended { exit, .. } => crashes += usize::from(exit.signal() == Some(libc::SIGABRT)),
//!     _ => {}
//! };
//! // SAFETY: nothing alive here owns anything in shared memory.
//! let killed = unsafe { serve(listeners, 1, Duration::ZERO, stopped.as_fd(), worker, tell) }.unwrap();
//! assert_eq!((starts, crashes, killed), (3, 2, 1)); // The last one waited for a connection, and not for the stop.
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::mem::forget;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, getpid, getppid};

/// Who has the queue of connections that nobody has accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// One queue for all workers. It outlives each of them, so nobody in it is lost when one dies, and a busy worker
    /// leaves its share to the others.
    Shared,
    /// Each worker has a queue of its own (`SO_REUSEPORT`, see `socket(7)`), and the kernel deals the connections out. No
    /// worker is woken in vain; but who waits behind a busy one waits, and when a worker dies, its queue is reset. (A
    /// parent that kept each queue open, as nginx does, would have them wait for the replacement.)
    PerWorker,
}

/// An address that is listened on, or is about to be.
#[derive(Debug)]
pub struct Listeners {
    address: SocketAddr,
    listening: Listening,
    socket: Option<TcpListener>, // Not listening if each worker has its own: the address stays ours while none does.
}

impl Listeners {
    /// Takes the address; port 0 takes a free one. With [`Listening::Shared`] connections are queued from now on, else
    /// from the start of the first worker.
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL, EACCES: as `bind(2)` says.
    pub fn bind(address: SocketAddr, listening: Listening) -> io::Result<Listeners> {
        let socket = bound(address, Listening::Shared)?; // Without SO_REUSEPORT, so that another server's address is refused.
        if listening == Listening::Shared {
            listen(&socket, Backlog::MAXALLOWABLE)?;
        }
        let socket = TcpListener::from(socket);
        Ok(Listeners { address: socket.local_addr()?, listening, socket: Some(socket) })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The listener itself, for a server that does without worker processes; none if each was to have its own.
    pub fn into_shared(self) -> Option<TcpListener> {
        if self.listening == Listening::Shared { self.socket } else { None }
    }

    /// For a worker's process; the copy here is to be closed. As long as there is one, the kernel goes on dealing
    /// connections out to it, alive or dead.
    fn of_a_worker(&self) -> io::Result<TcpListener> {
        match (self.listening, &self.socket) {
            (Listening::Shared, Some(socket)) => socket.try_clone(),
            _ => {
                let socket = bound(self.address, Listening::PerWorker)?;
                listen(&socket, Backlog::MAXALLOWABLE)?;
                Ok(TcpListener::from(socket))
            }
        }
    }
}

/// What a worker process has to work with.
#[derive(Debug)]
pub struct Worker {
    /// 0 and up; the replacement of a worker has its number.
    pub number: usize,
    /// Its own copy: closed when this is dropped.
    pub listener: TcpListener,
    /// Readable when the worker shall finish what it has begun and end, because SIGTERM has come from the parent (or from
    /// anybody else, after which it is replaced). The signal is blocked; a worker that ignores it is killed in the end.
    pub stop: SignalFd,
}

/// What happens to the workers. `number` is a worker's, `pid` the process that it is or was.
#[derive(Debug)]
#[allow(missing_docs)] // Of the fields: what they are stands above, or with the variant.
pub enum Event {
    /// A worker was started.
    Started { number: usize, pid: Pid },
    /// A worker has ended, and was reaped; its replacement is started after this wait: `None` once the stop has begun.
    Ended { number: usize, pid: Pid, exit: ExitStatus, again_in: Option<Duration> },
    /// A worker could not be started, as no process or no listener was to be had; it is tried again after this wait.
    NotStarted { number: usize, error: io::Error, again_in: Duration },
    /// Somebody has asked for the end; each worker is told to finish.
    Stopping,
}

/// Runs so many workers, each a process, and replaces each that ends, until `stop` becomes readable: a signal's
/// descriptor, or a pipe that somebody writes to (to close it would not do: the workers have copies of both ends). Then
/// it closes its listener, sends each worker SIGTERM, and waits until all have ended or `drain` has passed
/// (`Duration::MAX`: for ever); returns how many had to be killed then.
///
/// `worker` runs in each worker process and its value is the exit code, 101 if it panics. `tell` runs here and should be
/// quick: no worker is replaced meanwhile. A worker that dies at once is started again at once the first time; if that
/// dies at once too, after 10 ms, then twice as long each time, up to a second.
///
/// The workers are killed as soon as the thread that called this ends, so none is left when this process is killed. They
/// leave by `_exit`: no destructor of the caller's values runs in them. What `worker` captures is theirs as a copy.
/// Signals that the caller has blocked stay blocked in them. Until this returns, SIGCHLD is blocked in this thread; from
/// now on it has its default disposition in this process: who inherited that it is ignored would never learn how a child
/// ended.
///
/// # Errors
/// Refused if this process has a second thread. At the start whatever `fork(2)` and `bind(2)` refuse: no worker is left
/// then. Later refusals are told and tried again. ECHILD, if another part of the program has reaped a worker.
///
/// # Safety
/// Every value alive now exists in each worker too. None of those that `worker` touches may own something in memory that
/// stays shared between them: the guard of a lock in a shared mapping, say, would unlock it twice.
pub unsafe fn serve(
    listeners: Listeners,
    workers: usize,
    drain: Duration,
    stop: BorrowedFd<'_>,
    worker: impl FnMut(Worker) -> u8,
    tell: impl FnMut(Event),
) -> io::Result<usize> {
    let mut family = Family::new(listeners, workers, worker, tell)?;
    for number in 0..workers {
        family.start(number)?;
    }
    while !family.is_stopping {
        if family.wait(Some(stop), None)? {
            family.stop();
        }
        family.attend_all()?;
    }
    let mut drain_end = Instant::now().checked_add(drain);
    let mut killed = 0;
    while !family.running().is_empty() {
        family.wait(None, drain_end)?;
        family.attend_all()?;
        if drain_end.take_if(|at| *at <= Instant::now()).is_some() {
            killed = family.running().len();
            family.send(Signal::SIGKILL);
        }
    }
    Ok(killed)
}

const AT_ONCE: Duration = Duration::from_millis(50); // Far more than a start takes, so it died of what it did first.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const MOST_WAIT: Duration = Duration::from_secs(1);
const FLAGS: SfdFlags = SfdFlags::SFD_CLOEXEC.union(SfdFlags::SFD_NONBLOCK);

struct Family<W, T> {
    listeners: Listeners,
    slots: Vec<Slot>,
    worker: W,
    tell: T,
    ends: SignalFd, // Of workers: SIGCHLD.
    mask_before: SigSet,
    parent: Pid,
    is_stopping: bool,
}

struct Slot {
    state: State,
    deaths_at_once: u32,
}

#[derive(Clone, Copy)]
enum State {
    Due(Instant),
    Running { pid: Pid, since: Instant },
    Empty,
}

impl<W: FnMut(Worker) -> u8, T: FnMut(Event)> Family<W, T> {
    fn new(listeners: Listeners, workers: usize, worker: W, tell: T) -> io::Result<Family<W, T>> {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default disposition runs no code of this process.
        unsafe { sigaction(Signal::SIGCHLD, &default) }?;
        let child = SigSet::from(Signal::SIGCHLD);
        let ends = SignalFd::with_flags(&child, FLAGS)?;
        let mask_before = child.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let slots = (0..workers).map(|_| Slot { state: State::Empty, deaths_at_once: 0 }).collect();
        Ok(Family { listeners, slots, worker, tell, ends, mask_before, parent: getpid(), is_stopping: false })
    }

    fn start(&mut self, number: usize) -> io::Result<()> {
        wait_until_alone()?;
        let listener = self.listeners.of_a_worker()?; // It listens before anybody is told.
        let mask = SigSet::from(Signal::SIGTERM).thread_swap_mask(SigmaskHow::SIG_BLOCK)?; // It may come before the child is ready.
        // SAFETY: this thread is the only one, so no lock is held by a thread that the child will not have; the caller
        // of `serve` answers for what the worker touches.
        let forked = unsafe { nix::unistd::fork() };
        if let Ok(ForkResult::Child) = forked {
            self.live(number, listener);
        }
        mask.thread_set_mask()?;
        if let ForkResult::Parent { child: pid } = forked? {
            self.slots[number].state = State::Running { pid, since: Instant::now() };
            (self.tell)(Event::Started { number, pid });
        }
        Ok(())
    }

    /// A worker's life, in its own process.
    fn live(&mut self, number: usize, listener: TcpListener) -> ! {
        self.listeners.socket = None; // The worker's copy is the only one here: it can close it.
        let stop = self.stop_of_worker();
        let value = stop.map_or(PANICKED, |stop| value_of(|| (self.worker)(Worker { number, listener, stop })));
        // SAFETY: `_exit` ends the process without running anything of it.
        unsafe { libc::_exit(value.into()) }
    }

    fn stop_of_worker(&self) -> io::Result<SignalFd> {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the request was made; then this process has another one by now.
        if getppid() != self.parent {
            return Err(Errno::ESRCH.into());
        }
        SigSet::from_iter(self.mask_before.iter().chain([Signal::SIGTERM])).thread_set_mask()?;
        Ok(SignalFd::with_flags(&SigSet::from(Signal::SIGTERM), FLAGS)?)
    }

    /// Sleeps until a worker ends, something is due, or there is a word on `stop`, which it tells.
    fn wait(&self, stop: Option<BorrowedFd<'_>>, until: Option<Instant>) -> io::Result<bool> {
        let due = self.slots.iter().filter_map(|slot| if let State::Due(at) = slot.state { Some(at) } else { None });
        let time = due.chain(until).min().map(|at| at.saturating_duration_since(Instant::now()).into());
        let mut watched = vec![PollFd::new(self.ends.as_fd(), PollFlags::POLLIN)];
        watched.extend(stop.map(|stop| PollFd::new(stop, PollFlags::POLLIN)));
        match ppoll(&mut watched, time, None) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        while self.ends.read_signal()?.is_some() {} // One may stand for several ends: each worker is asked for.
        Ok(watched[1..].iter().any(|stop| stop.any().unwrap_or(true)))
    }

    fn attend_all(&mut self) -> io::Result<()> {
        for number in 0..self.slots.len() {
            match self.slots[number].state {
                State::Running { pid, since } => {
                    let Some(exit) = exit_of(pid).transpose() else { continue };
                    let slot = &mut self.slots[number];
                    slot.state = State::Empty; // Whoever has reaped it, its number may be another's from now on.
                    let exit = exit?;
                    let again_in = (!self.is_stopping).then(|| slot.postpone(since.elapsed() < AT_ONCE));
                    (self.tell)(Event::Ended { number, pid, exit, again_in });
                }
                State::Due(at) if at <= Instant::now() => {
                    if let Err(error) = self.start(number) {
                        let again_in = self.slots[number].postpone(true);
                        (self.tell)(Event::NotStarted { number, error, again_in });
                    }
                }
                State::Due(_) | State::Empty => {}
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        (self.tell)(Event::Stopping);
        self.listeners.socket = None; // When the workers have closed theirs, a new client is refused at once.
        for slot in &mut self.slots {
            if let State::Due(_) = slot.state {
                slot.state = State::Empty;
            }
        }
        self.send(Signal::SIGTERM);
    }
}

impl<W, T> Family<W, T> {
    fn running(&self) -> Vec<Pid> {
        let pid = |slot: &Slot| if let State::Running { pid, .. } = slot.state { Some(pid) } else { None };
        self.slots.iter().filter_map(pid).collect()
    }

    fn send(&self, signal: Signal) {
        for pid in self.running() {
            let _ = kill(pid, signal); // Not reaped yet, so the number is still its own.
        }
    }
}

impl<W, T> Drop for Family<W, T> {
    fn drop(&mut self) {
        self.send(Signal::SIGKILL);
        for pid in self.running() {
            while waitpid(pid, None) == Err(Errno::EINTR) {}
        }
        let _ = self.mask_before.thread_set_mask();
    }
}

impl Slot {
    fn postpone(&mut self, at_once: bool) -> Duration {
        self.deaths_at_once = if at_once { self.deaths_at_once + 1 } else { 0 };
        let wait = match self.deaths_at_once {
            0 | 1 => Duration::ZERO,
            deaths => (FIRST_WAIT * (1 << (deaths - 2).min(16))).min(MOST_WAIT),
        };
        self.state = State::Due(Instant::now() + wait);
        wait
    }
}

fn bound(address: SocketAddr, listening: Listening) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?; // The last server's closed connections do not bar its successor.
    if listening != Listening::Shared {
        setsockopt(&socket, sockopt::ReusePort, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}

const PANICKED: u8 = 101; // What a Rust program exits with when its main thread panics.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_dies_at_once_again_and_again_waits_longer_and_longer() {
        let mut slot = Slot { state: State::Empty, deaths_at_once: 0 };
        let waits_ms = |slot: &mut Slot, times| (0..times).map(|_| slot.postpone(true).as_millis()).collect::<Vec<_>>();
        assert_eq!(waits_ms(&mut slot, 9), [0, 10, 20, 40, 80, 160, 320, 640, 1000]);
        assert_eq!(waits_ms(&mut slot, 100), [1000; 100]);
        assert_eq!(slot.postpone(false), Duration::ZERO); // It ran well for a while: it starts afresh.
        assert_eq!(waits_ms(&mut slot, 3), [0, 10, 20]);
    }

    #[test]
    fn an_address_in_use_is_refused() {
        for listening in [Listening::Shared, Listening::PerWorker] {
            let others = TcpListener::bind("127.0.0.1:0").unwrap();
            let error = Listeners::bind(others.local_addr().unwrap(), listening).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{listening:?}");
        }
    }
}

/// A test has several threads and may not fork, but an example is a process of its own.
///
/// Who waits in the queue of a worker that dies:
#[doc = concat!("```\nuse ", module_path!(), "::*;")]
/// use nix::sys::signal::{Signal, kill};
/// use std::cell::Cell;
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// for (listening, survives) in [(Listening::Shared, true), (Listening::PerWorker, false)] {
///     let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), listening).unwrap();
///     let address = listeners.address();
///     let (mut stop, stopped) = UnixStream::pair().unwrap();
///     let starts = Cell::new(0);
///     let worker = |worker: Worker| {
///         while starts.get() == 0 { nix::unistd::pause() } // The first accepts nobody.
///         worker.listener.accept().unwrap().0.write_all(b"hello").unwrap();
///         0
///     };
///     let mut queued = None;
///     let tell = |event| match event {
///         Event::Started { pid, .. } if starts.replace(starts.get() + 1) == 0 => {
///             let waiting = TcpStream::connect(address).unwrap();
///             waiting.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
///             queued = Some(waiting);
///             kill(pid, Signal::SIGKILL).unwrap();
///         }
///         Event::Started { .. } if starts.get() == 2 => {
///             let mut answer = String::new();
///             let was_answered = queued.take().unwrap().read_to_string(&mut answer).is_ok();
///             assert_eq!((was_answered, answer == "hello"), (survives, survives), "{listening:?}");
///             stop.write_all(b"!").unwrap();
///         }
///         _ => {}
///     };
///     // SAFETY: nothing alive here owns anything in shared memory.
///     unsafe { serve(listeners, 1, Duration::ZERO, stopped.as_fd(), worker, tell) }.unwrap();
///     assert!(starts.get() >= 2);
///     TcpStream::connect(address).unwrap_err(); // Nobody listens any more.
/// }
/// ```
///
/// A worker that is told to stop may finish, and one that dies meanwhile, here by a real-time signal, is not replaced;
/// that whoever started this program ignores SIGCHLD changes nothing:
#[doc = concat!("```\nuse ", module_path!(), "::*;")]
/// use nix::libc;
/// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
/// use nix::sys::signal::{SigHandler, Signal, kill, signal};
/// use std::io::Write;
/// use std::os::fd::AsFd;
/// use std::os::unix::{net::UnixStream, process::ExitStatusExt};
/// use std::time::Duration;
///
/// // SAFETY: no handler runs.
/// unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
/// let worker = |worker: Worker| {
///     poll(&mut [PollFd::new(worker.stop.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
///     if worker.number == 1 {
///         // SAFETY: it ends this process, for which nobody has a handler.
///         unsafe { libc::raise(libc::SIGRTMIN()) };
///     }
///     7
/// };
/// let listeners = Listeners::bind("[::1]:0".parse().unwrap(), Listening::Shared)
///     .or_else(|_| Listeners::bind("127.0.0.1:0".parse().unwrap(), Listening::Shared))
///     .unwrap();
/// let (mut stop, stopped) = UnixStream::pair().unwrap();
/// let (mut running, mut ends) = (0, Vec::new());
/// let tell = |event| match event {
///     Event::Started { pid, .. } => {
///         running += 1;
///         match running {
///             3 => kill(pid, Signal::SIGTERM).unwrap(), // By a stranger: it finishes, and is replaced.
///             4 => stop.write_all(b"!").unwrap(),
///             _ => {}
///         }
///     }
///     Event::Ended { number, exit, again_in, .. } => ends.push((number, exit.code().or(exit.signal()), again_in)),
///     _ => {}
/// };
/// // SAFETY: nothing alive here owns anything in shared memory.
/// let killed = unsafe { serve(listeners, 3, Duration::MAX, stopped.as_fd(), worker, tell) }.unwrap();
/// assert_eq!(killed, 0);
/// assert_eq!(ends.remove(0), (2, Some(7), Some(Duration::ZERO)));
/// ends.sort();
/// assert_eq!(ends, [(0, Some(7), None), (1, Some(libc::SIGRTMIN()), None), (2, Some(7), None)]);
/// ```
///
/// Workers do not outlive their parent, however it dies:
#[doc = concat!("```\nuse ", module_path!(), "::*;")]
/// use nix::sys::signal::{Signal, kill};
/// use nix::sys::wait::waitpid;
/// use nix::unistd::{ForkResult, fork, pause};
/// use std::io::{Read, Write};
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// let (mut ours, theirs) = UnixStream::pair().unwrap();
/// // SAFETY: this is the only thread, and the child only serves.
/// match unsafe { fork() }.unwrap() {
///     ForkResult::Child => {
///         drop(ours);
///         let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), Listening::PerWorker).unwrap();
///         let (_stop, stopped) = UnixStream::pair().unwrap();
///         let worker = |_| loop { (&theirs).write_all(b"x").unwrap(); pause() };
///         // SAFETY: nothing alive here owns anything in shared memory.
///         let _ = unsafe { serve(listeners, 3, Duration::ZERO, stopped.as_fd(), worker, drop) };
///     }
///     ForkResult::Parent { child } => {
///         drop(theirs);
///         ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
///         ours.read_exact(&mut [0; 3]).unwrap(); // All three are up.
///         kill(child, Signal::SIGKILL).unwrap();
///         waitpid(child, None).unwrap();
///         assert_eq!(ours.read(&mut [0]).unwrap(), 0); // The end comes when nobody has the other side: all are gone.
///     }
/// }
/// ```
#[cfg(doctest)]
struct Facts;
