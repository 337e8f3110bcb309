//! A listener served by several worker processes, which are replaced when they die, whatever kills them.
//!
//! Needs: nix 0.31 (net, poll, process, signal, socket)
//! Runs on: Linux 5.3 or newer
//! Instead: hyper or axum on tokio for one process with threads; this one outlives what ends a process.
//!
//! A worker that crashes takes only what was on it along; the others serve on, and on a shared listener not even those
//! who wait in its queue notice. The parent itself serves nobody: it sleeps until a worker ends or somebody says stop.
//!
//! What it does not do: notice a worker that hangs, limit what it takes, or run beside a second thread, which is
//! refused. A worker that is ended by a real-time signal ends the whole server, by an error, as any worker does where
//! SIGCHLD is ignored. A worker that changes its user outlives its killed parent. Programs that a worker starts have
//! SIGTERM blocked. `Duration::MAX` to drain panics.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::os::fd::AsFd;
//! use std::os::unix::net::UnixStream;
//! use std::time::Duration;
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
//!     Event::Ended { exit, .. } => crashes += usize::from(exit.to_string() == "ended by SIGABRT"),
//!     _ => {}
//! };
//! // SAFETY: nothing alive here owns anything in shared memory.
//! let killed = unsafe { serve(listeners, 1, Duration::ZERO, stopped.as_fd(), worker, tell) }.unwrap();
//! assert_eq!((starts, crashes, killed), (3, 2, 1)); // The last one waited for a connection, and not for the stop.
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::mem::{ManuallyDrop, forget};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use std::{fmt, fs, io, thread};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getpid, getppid};

/// Who has the queue of connections that nobody has accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// One queue for all workers. It outlives each of them, so nobody in it is lost when one dies, and a busy worker
    /// leaves its share to the others.
    Shared,
    /// Each worker has a queue of its own (`SO_REUSEPORT`, see `socket(7)`), and the kernel deals the connections out. No
    /// worker is woken in vain; but who waits behind a busy one waits, and when a worker dies, its queue is reset.
    PerWorker,
    /// As `PerWorker`, but the parent keeps each queue open: who waits in a dead worker's waits for its replacement. The
    /// kernel deals connections out to it meanwhile, so a worker that cannot start leaves them waiting.
    PerWorkerKept,
}

/// An address that is listened on, or is about to be.
#[derive(Debug)]
pub struct Listeners {
    address: SocketAddr,
    listening: Listening,
    shared: Option<TcpListener>,
    reserved: Option<OwnedFd>, // Bound, and not listening: the address stays ours while no worker listens.
}

impl Listeners {
    /// Takes the address; port 0 takes a free one. With [`Listening::Shared`] connections are queued from now on, else
    /// from the start of the first worker.
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL, EACCES: as `bind(2)` says.
    pub fn bind(address: SocketAddr, listening: Listening) -> io::Result<Listeners> {
        let socket = bound(address, Listening::Shared)?; // Without SO_REUSEPORT, so that another server's address is refused.
        let mut listeners = Listeners { address, listening, shared: None, reserved: None };
        if listening == Listening::Shared {
            listen(&socket, Backlog::MAXALLOWABLE)?;
            let listener = TcpListener::from(socket);
            listeners.address = listener.local_addr()?;
            listeners.shared = Some(listener);
        } else {
            let socket = TcpListener::from(socket); // Only to ask it for its address.
            listeners.address = socket.local_addr()?;
            listeners.reserved = Some(socket.into());
        }
        Ok(listeners)
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn of_its_own(&self) -> io::Result<TcpListener> {
        let socket = bound(self.address, Listening::PerWorker)?;
        listen(&socket, Backlog::MAXALLOWABLE)?;
        Ok(TcpListener::from(socket))
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

/// What happens to the workers.
#[derive(Debug)]
pub enum Event {
    /// A worker was started.
    Started {
        /// Its number.
        number: usize,
        /// Its process.
        pid: Pid,
    },
    /// A worker has ended, and was reaped.
    Ended {
        /// Its number.
        number: usize,
        /// The process that it was.
        pid: Pid,
        /// How it ended.
        exit: Exit,
        /// When its replacement will be started; `None` once the stop has begun.
        again_in: Option<Duration>,
    },
    /// A worker could not be started: no process or no listener was to be had.
    NotStarted {
        /// Its number.
        number: usize,
        /// Why.
        error: io::Error,
        /// When it will be tried again.
        again_in: Duration,
    },
    /// Somebody has asked for the end; each worker is told to finish.
    Stopping,
}

/// Runs so many workers, each a process, and replaces each that ends, until `stop` becomes readable: a signal's
/// descriptor, or a pipe that somebody writes to (to close it would not do: the workers have copies of both ends). Then
/// it closes its listener, sends each worker SIGTERM, and waits until all have ended or `drain` has passed; returns how
/// many had to be killed then.
///
/// `worker` runs in each worker process and its value is the exit code, 101 if it panics. `tell` runs here and should be
/// quick: no worker is replaced meanwhile. A worker that dies at once is started again at once the first time; if that
/// dies at once too, after 10 ms, then twice as long each time, up to a second.
///
/// The workers are killed as soon as the thread that called this ends, so none is left when this process is killed. They
/// leave by `_exit`: no destructor of the caller's values runs in them. What `worker` captures is theirs as a copy.
/// Signals that the caller has blocked stay blocked in them.
///
/// # Errors
/// Refused if this process has a second thread. At the start whatever `fork(2)`, `bind(2)` and `pidfd_open(2)` refuse:
/// no worker is left then. Later refusals are told and tried again.
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
    let slots = (0..workers).map(|_| Slot { running: None, due: None, deaths_at_once: 0, kept: None }).collect();
    let mut family = Family { listeners, slots, worker, tell };
    for number in 0..workers {
        family.start(number)?;
    }
    loop {
        let due = family.slots.iter().filter_map(|slot| slot.due).min();
        let (ended, has_stop) = family.wait(Some(stop), due)?;
        if has_stop {
            return family.stop(drain);
        }
        for number in ended {
            family.bury(number)?;
        }
        for number in 0..workers {
            if family.slots[number].due.is_some_and(|due| due <= Instant::now()) {
                family.start_again(number);
            }
        }
    }
}

const AT_ONCE: Duration = Duration::from_millis(50); // Far more than a start takes, so it died of what it did first.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const MOST_WAIT: Duration = Duration::from_secs(1);

struct Family<W, T> {
    listeners: Listeners,
    slots: Vec<Slot>,
    worker: W,
    tell: T,
}

struct Slot {
    running: Option<Running>,
    due: Option<Instant>, // When it shall be started again.
    deaths_at_once: u32,
    kept: Option<TcpListener>,
}

struct Running {
    process: Unreaped,
    pidfd: OwnedFd, // Readable once the process has ended.
    since: Instant,
}

/// A process that has not been waited for, so its number is its own; dropping this kills and reaps it.
struct Unreaped(Pid);

impl Unreaped {
    fn kill(&self, signal: Signal) {
        let _ = kill(self.0, signal); // One that has ended does not notice.
    }

    fn reap(self) -> io::Result<Exit> {
        let process = ManuallyDrop::new(self); // Once reaped, its number may be another's: nothing must kill that.
        reap(process.0)
    }
}

impl Drop for Unreaped {
    fn drop(&mut self) {
        self.kill(Signal::SIGKILL);
        let _ = reap(self.0);
    }
}

impl<W: FnMut(Worker) -> u8, T: FnMut(Event)> Family<W, T> {
    fn start(&mut self, number: usize) -> io::Result<()> {
        let listener = match self.listeners.listening {
            Listening::Shared => None,
            // Made here, so that it listens before anybody is told; the copy here closes at the end of this function. As
            // long as there is one, the kernel goes on dealing connections out to it, alive or dead.
            Listening::PerWorker => Some(self.listeners.of_its_own()?),
            Listening::PerWorkerKept => {
                if self.slots[number].kept.is_none() {
                    self.slots[number].kept = Some(self.listeners.of_its_own()?);
                }
                None
            }
        };
        let running = self.fork(number, listener)?;
        let pid = running.process.0;
        self.slots[number].running = Some(running);
        self.slots[number].due = None;
        (self.tell)(Event::Started { number, pid });
        Ok(())
    }

    fn fork(&mut self, number: usize, listener: Option<TcpListener>) -> io::Result<Running> {
        wait_until_alone()?;
        let parent = getpid();
        let mut term = SigSet::empty();
        term.add(Signal::SIGTERM);
        let mask_before = term.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?; // It may be sent before the child is ready.
        // SAFETY: this thread is the only one, so no lock is held by a thread that the child will not have; the caller
        // of `serve` answers for what the worker touches.
        let forked = unsafe { nix::unistd::fork() };
        if let Ok(ForkResult::Child) = forked {
            // The parent may have died before the request was made; then the child has another parent by now.
            let watched = set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == parent;
            let value = if watched { value_of(|| self.work(number, listener, &term)) } else { PANICKED };
            // SAFETY: `_exit` ends the process without running anything of it.
            unsafe { libc::_exit(value.into()) }
        }
        mask_before.thread_set_mask()?;
        let ForkResult::Parent { child: pid } = forked? else { unreachable!("the child has left") };
        let process = Unreaped(pid);
        Ok(Running { pidfd: open_pidfd(pid)?, process, since: Instant::now() })
    }

    /// In the child. What it takes out of `self` is its own copy; the parent's stays where it is.
    fn work(&mut self, number: usize, own: Option<TcpListener>, term: &SigSet) -> u8 {
        let listener = own.or_else(|| self.slots[number].kept.take()).or_else(|| self.listeners.shared.take());
        for slot in &mut self.slots {
            slot.kept = None; // Else another's queue would stay open, with nobody to serve it, when that one stops.
        }
        let stop = SignalFd::with_flags(term, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        match (listener, stop) {
            (Some(listener), Ok(stop)) => (self.worker)(Worker { number, listener, stop }),
            _ => PANICKED,
        }
    }

    /// Tells of a worker's end, and when the next one is due.
    fn bury(&mut self, number: usize) -> io::Result<()> {
        let Some((pid, exit, lived)) = self.slots[number].ended()? else { return Ok(()) };
        let again_in = self.slots[number].postpone(lived < AT_ONCE);
        (self.tell)(Event::Ended { number, pid, exit, again_in: Some(again_in) });
        Ok(())
    }

    fn start_again(&mut self, number: usize) {
        if let Err(error) = self.start(number) {
            let again_in = self.slots[number].postpone(true);
            (self.tell)(Event::NotStarted { number, error, again_in });
        }
    }

    fn stop(&mut self, drain: Duration) -> io::Result<usize> {
        let deadline = Instant::now() + drain;
        (self.tell)(Event::Stopping);
        self.listeners.shared = None; // When the workers have closed theirs, a new client is refused at once.
        for slot in &mut self.slots {
            (slot.kept, slot.due) = (None, None);
            if let Some(running) = &slot.running {
                running.process.kill(Signal::SIGTERM);
            }
        }
        let mut killed = 0;
        while self.slots.iter().any(|slot| slot.running.is_some()) {
            let (mut ended, _) = self.wait(None, Some(deadline))?;
            if ended.is_empty() && Instant::now() >= deadline {
                ended = (0..self.slots.len()).filter(|number| self.slots[*number].running.is_some()).collect();
                killed += ended.len();
            }
            for number in ended {
                if let Some(running) = &self.slots[number].running {
                    running.process.kill(Signal::SIGKILL);
                }
                if let Some((pid, exit, _)) = self.slots[number].ended()? {
                    (self.tell)(Event::Ended { number, pid, exit, again_in: None });
                }
            }
        }
        Ok(killed)
    }

    /// Waits for the end of workers, for a word on `stop`, or for the time; tells which workers have ended and whether
    /// there was a word.
    fn wait(&self, stop: Option<BorrowedFd<'_>>, until: Option<Instant>) -> io::Result<(Vec<usize>, bool)> {
        let running =
            || self.slots.iter().enumerate().filter_map(|(number, slot)| Some((number, slot.running.as_ref()?)));
        let mut watched: Vec<PollFd<'_>> =
            running().map(|(_, one)| PollFd::new(one.pidfd.as_fd(), PollFlags::POLLIN)).collect();
        watched.extend(stop.map(|stop| PollFd::new(stop, PollFlags::POLLIN)));
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match poll(&mut watched, left.map_or(PollTimeout::NONE, whole_milliseconds)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok((Vec::new(), false)),
            Err(error) => return Err(error.into()),
        }
        let is_ready = |one: &PollFd<'_>| one.any().unwrap_or(true);
        let ended = running().zip(&watched).filter(|(_, one)| is_ready(one)).map(|((number, _), _)| number).collect();
        Ok((ended, stop.is_some() && watched.last().is_some_and(is_ready)))
    }
}

impl Slot {
    /// Reaps the worker, waiting for its end if need be: which it was, how it ended, how long it lived.
    fn ended(&mut self) -> io::Result<Option<(Pid, Exit, Duration)>> {
        let Some(Running { process, since, .. }) = self.running.take() else { return Ok(None) };
        let (pid, lived) = (process.0, since.elapsed());
        Ok(Some((pid, process.reap()?, lived)))
    }

    fn postpone(&mut self, at_once: bool) -> Duration {
        self.deaths_at_once = if at_once { self.deaths_at_once + 1 } else { 0 };
        let wait = match self.deaths_at_once {
            0 | 1 => Duration::ZERO,
            deaths => (FIRST_WAIT * (1 << (deaths - 2).min(16))).min(MOST_WAIT),
        };
        self.due = Some(Instant::now() + wait);
        wait
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code, 0 to 255.
    Code(i32),
    /// By a signal.
    Signal(Signal),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "ended by {signal}"),
        }
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

/// A descriptor that becomes readable when the child has ended; nix has no call for it. The child is not reaped yet, so
/// the number is its own.
fn open_pidfd(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: it takes two numbers and touches no memory.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let descriptor = Errno::result(descriptor)?;
    // SAFETY: the kernel has just made it (close-on-exec, as always), and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

/// Rounded up, so that a wait never ends before its time and then spins.
fn whole_milliseconds(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
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
        if threads_of_this_process()? == 1 {
            return Ok(());
        }
        thread::yield_now(); // Lets an ending thread finish, on one CPU too.
    }
    Err(io::Error::other("fork refused: this process has a second thread, which the child would not have"))
}

fn threads_of_this_process() -> io::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let count = status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok());
    count.ok_or_else(|| io::Error::other("/proc/self/status does not say how many threads there are"))
}

fn reap(pid: Pid) -> io::Result<Exit> {
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Exit::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Exit::Signal(signal)),
            Ok(_) | Err(Errno::EINTR) => {} // A tracer would see stops; a handler may interrupt the wait.
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_dies_at_once_again_and_again_waits_longer_and_longer() {
        let mut slot = Slot { running: None, due: None, deaths_at_once: 0, kept: None };
        let waits_ms = |slot: &mut Slot, times| (0..times).map(|_| slot.postpone(true).as_millis()).collect::<Vec<_>>();
        assert_eq!(waits_ms(&mut slot, 9), [0, 10, 20, 40, 80, 160, 320, 640, 1000]);
        assert_eq!(waits_ms(&mut slot, 100), [1000; 100]);
        assert_eq!(slot.postpone(false), Duration::ZERO); // It ran well for a while: it starts afresh.
        assert_eq!(waits_ms(&mut slot, 3), [0, 10, 20]);
    }

    #[test]
    fn an_address_in_use_is_refused() {
        for listening in [Listening::Shared, Listening::PerWorker, Listening::PerWorkerKept] {
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
/// for (listening, survives) in
///     [(Listening::Shared, true), (Listening::PerWorker, false), (Listening::PerWorkerKept, true)]
/// {
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
/// A worker that is told to stop may finish, and one that dies meanwhile is not replaced:
#[doc = concat!("```\nuse ", module_path!(), "::*;")]
/// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
/// use nix::sys::signal::{Signal, kill};
/// use std::io::Write;
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// let worker = |worker: Worker| {
///     poll(&mut [PollFd::new(worker.stop.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
///     if worker.number == 1 { std::process::abort() }
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
///     Event::Ended { number, exit, again_in, .. } => ends.push((number, exit.to_string(), again_in)),
///     _ => {}
/// };
/// // SAFETY: nothing alive here owns anything in shared memory.
/// let killed = unsafe { serve(listeners, 3, Duration::from_secs(600), stopped.as_fd(), worker, tell) }.unwrap();
/// assert_eq!(killed, 0);
/// assert_eq!(ends.remove(0), (2, "exit code 7".to_owned(), Some(Duration::ZERO)));
/// ends.sort();
/// let (code, abort) = ("exit code 7".to_owned(), "ended by SIGABRT".to_owned());
/// assert_eq!(ends, [(0, code.clone(), None), (1, abort, None), (2, code, None)]);
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
