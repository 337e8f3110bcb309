//! Workers, as threads of one process or as a process each, that are handed a task as a function, and answer.
//!
//! So whoever sets up an experiment with several parties tells it from top to bottom, in one function: there is no list
//! of orders with a number each, and no other half that obeys them.
//!
//! ```
//! use process_demo::crew::{Crew, Kind, Reply};
//! use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
//!
//! // Five workers have a count: the threads have one together, each process has a copy of its own.
//! let totals = [Kind::Threads, Kind::Processes].map(|kind| {
//!     let total = AtomicU64::new(0);
//!     let mut crew = Crew::of(kind, 5, || Ok(&total)).unwrap();
//!     let add = |total: &mut &AtomicU64, [more, ..]: [u64; 3]| Ok(total.fetch_add(more, Relaxed) + more);
//!     let first = [0, 1, 2, 3, 4].map(|worker| crew.ask(worker, add, [10, 0, 0]).unwrap());
//!     (first, crew.ask_all(|total, _| Ok(total.load(Relaxed)), [0; 3]).unwrap())
//! });
//! assert_eq!(totals[0], ([10, 20, 30, 40, 50].map(Reply::Done), vec![Reply::Done(50); 5]));
//! assert_eq!(totals[1], ([10; 5].map(Reply::Done), vec![Reply::Done(10); 5]));
//! ```
//!
//! Everybody may be told to do something before anybody is heard. What sleeps meanwhile is seen in its system call; a
//! worker that waits for its next task is not taken for one that sleeps in a read of its own.
//!
//! ```
//! use nix::{libc, unistd::Pid};
//! use process_demo::asleep::{look_until, sleeps_in};
//! use process_demo::crew::{Crew, Kind, Progress, Reply};
//! use shared::measure::SystemClock;
//! use std::io::{Read, Write};
//!
//! for kind in [Kind::Threads, Kind::Processes] {
//!     let (from, mut to) = std::io::pipe().unwrap();
//!     let mut crew = Crew::of(kind, 2, || Ok(&from)).unwrap();
//!     crew.tell(0, |from, [bytes, ..]| Ok(from.read(&mut vec![0; bytes as usize])? as u64), [3, 0, 0]);
//!     crew.tell(1, |_, [one, two, three]| Ok(one + two + three), [1, 2, 3]);
//!     assert_eq!(crew.hear(1).unwrap(), Reply::Done(6)); // Although the other one has not answered.
//!     if crew.sleeps_in(1, libc::SYS_read).is_some() { // Else this kernel does not show it.
//!         let asleep = crew.until_asleep_in(0, libc::SYS_read, SystemClock).unwrap();
//!         assert!(matches!(asleep, Progress::Asleep(_)));
//!         assert_eq!(crew.sleeps_in(0, libc::SYS_futex), Some(false));
//!         let waits = || Ok::<_, ()>((sleeps_in(crew.tid(1), libc::SYS_read) == Some(true)).then_some(()));
//!         assert_eq!(look_until(SystemClock, waits), Ok(Some(())));
//!         assert_eq!(crew.sleeps_in(1, libc::SYS_read), Some(false)); // For its next task, so this does not count.
//!     }
//!     to.write_all(b"abc").unwrap();
//!     assert_eq!(crew.hear(0).unwrap(), Reply::Done(3));
//! }
//! ```
//!
//! Where it is not known beforehand in which call a task will sleep, or whether it answers at all:
//!
//! ```
//! use nix::libc;
//! use process_demo::crew::{Crew, Kind, Reply};
//! use shared::measure::SystemClock;
//! use std::io::Read;
//! use std::time::Duration;
//!
//! for kind in [Kind::Threads, Kind::Processes] {
//!     let (from, _to) = std::io::pipe().unwrap();
//!     let mut crew = Crew::of(kind, 1, || Ok(&from)).unwrap();
//!     crew.tell(0, |_, _| Ok(7), [0; 3]);
//!     assert_eq!(crew.hear_or_see_asleep(0, SystemClock).ok(), Some(Ok(Reply::Done(7))));
//!     if crew.sleeps_in(0, libc::SYS_read).is_some() { // Else this kernel does not show it.
//!         crew.tell(0, |from, _| Ok(from.read(&mut [0])? as u64), [0; 3]);
//!         let asleep = crew.hear_or_see_asleep(0, SystemClock).unwrap().unwrap_err();
//!         assert_eq!(asleep.call.unwrap().number, libc::SYS_read);
//!         assert_eq!(crew.hear_within(0, Duration::from_millis(1)).unwrap(), None);
//!         assert_eq!(crew.hear_or_see_asleep(0, SystemClock).unwrap(), Err(asleep)); // Not woken since.
//!     }
//! }
//! ```
//!
//! A worker may end in the middle of a task. Whoever then asks it is told so, and dropping the crew ends the rest.
//!
//! ```
//! use nix::{errno::Errno, sys::signal::{Signal, kill, raise}};
//! use process_demo::child::Exit;
//! use process_demo::crew::{Crew, Kind, Reply};
//!
//! let mut pids = Vec::new();
//! for (kind, after_a_panic) in [(Kind::Threads, Reply::Left), (Kind::Processes, Reply::Gone(Exit::Code(101)))] {
//!     let mut crew = Crew::of(kind, 3, || Ok(std::panic::set_hook(Box::new(|_| ())))).unwrap();
//!     assert_eq!([(); 2].map(|()| crew.ask(0, |_, _| panic!(), [0; 3]).unwrap()), [after_a_panic.clone(), after_a_panic]);
//!     assert_eq!(crew.ask(1, |_, _| Ok(7), [0; 3]).unwrap(), Reply::Done(7)); // The others go on.
//!     let killed = Reply::Gone(Exit::Signal(Signal::SIGKILL));
//!     assert_eq!(crew.ask(1, |_, _| Ok(raise(Signal::SIGKILL).map(|()| 0)?), [0; 3]).unwrap(), killed);
//!     match kind {
//!         Kind::Threads => assert_eq!(crew.ask(2, |_, _| Ok(0), [0; 3]).unwrap(), killed), // All are gone with it.
//!         Kind::Processes => pids.extend(crew.pid(2)),
//!     }
//!     crew.tell(2, |_, _| loop { std::hint::spin_loop() }, [0; 3]); // It ends all the same.
//! }
//! assert_eq!(kill(pids[0], None), Err(Errno::ESRCH)); // Ended, and waited for.
//! ```
//!
//! An error comes back with its number, so that what a machine refuses can be told from what went wrong.
//!
//! ```
//! use anyhow::Context;
//! use nix::errno::Errno;
//! use process_demo::crew::{Crew, Kind};
//!
//! for kind in [Kind::Threads, Kind::Processes] {
//!     let mut crew = Crew::of(kind, 1, || Ok(())).unwrap();
//!     let reply = crew.ask(0, |_, _| Err(Errno::ENOSPC).context("filling it"), [0; 3]).unwrap();
//!     let error = reply.value().unwrap_err();
//!     assert_eq!(format!("{error:#}"), "filling it: ENOSPC: No space left on device");
//!     assert!(shared::refused(&error).is_some());
//!     assert_eq!(crew.ask(0, |_, _| anyhow::bail!("no"), [0; 3]).unwrap().value().unwrap_err().to_string(), "no");
//!     let strange = crew.ask(0, |_, _| Err(std::io::Error::from_raw_os_error(524).into()), [0; 3]).unwrap();
//!     assert!(strange.value().unwrap_err().to_string().contains("524")); // nix has no name for it.
//!     let refused = Crew::of(kind, 2, || Err::<(), _>(Errno::EMFILE.into())).err().unwrap();
//!     assert!(shared::refused(&refused).is_some());
//! }
//! ```

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, Builder};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, gettid};
use shared::measure::SystemClock;

use crate::asleep::{Activity, Sleep, activity_of, look_until};
use crate::child::{self, Child, Exit};

/// What the workers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Threads of one process, which is not the maker's: so a thread may crash it, and the maker may go on forking.
    Threads,
    /// A process each.
    Processes,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Threads => "threads",
            Kind::Processes => "processes",
        })
    }
}

/// What a worker is to do with what is its own; a closure that captures nothing will do.
pub type Task<W> = fn(&mut W, Arguments) -> Result<u64>;

/// What a task is given; anything but numbers goes into what is the worker's own.
pub type Arguments = [u64; 3];

/// For a task that takes no arguments.
pub const NOTHING: Arguments = [0; 3];

/// What came of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Its value.
    Done(u64),
    /// Its error.
    Failed {
        /// What the error says, but for its number.
        says: String,
        /// Its number; unknown if it has none.
        errno: Errno,
    },
    /// The worker was a thread, and has panicked; its process lives.
    Left,
    /// The worker's process has ended, like this.
    Gone(Exit),
}

impl Reply {
    /// The value of a task that has none but a value to give.
    ///
    /// # Errors
    /// Whatever else the reply is; the error of a task keeps its number.
    pub fn value(self) -> Result<u64> {
        match self {
            Reply::Done(value) => Ok(value),
            Reply::Failed { says, errno: Errno::UnknownErrno } => Err(anyhow!(says)),
            Reply::Failed { says, errno } if says.is_empty() => Err(errno.into()),
            Reply::Failed { says, errno } => Err(errno).context(says),
            Reply::Left => Err(anyhow!("a worker has panicked")),
            Reply::Gone(exit) => Err(anyhow!("a worker's process has ended: {exit}")),
        }
    }
}

/// What a worker does that was told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It sleeps in the system call that was asked for.
    Asleep(Sleep),
    /// It has answered, or has ended: to hear it takes no waiting.
    Over,
    /// It sleeps, but the kernel does not show where.
    Unknown(Errno),
}

/// Workers that wait for tasks. Dropping this ends them at once, whatever they do, and waits for their processes; they
/// end with the thread that made them, too.
pub struct Crew<W> {
    workers: Vec<Worker>,
    /// The one that has all the threads, or one for each worker.
    processes: Vec<Process>,
    /// How many processes of it were seen to dump core.
    pub dumps: usize,
    own: PhantomData<fn(&mut W)>,
}

struct Worker {
    line: File,
    tid: Pid,
    /// The number of the line's other end, where the worker has it.
    descriptor: u64,
    has_left: bool,
}

enum Process {
    Running(Child),
    Ended(Exit),
}

impl<W> Crew<W> {
    /// So many workers, all of them alive; each has made what is its own, where it works. What `enlist` borrows is there
    /// as a copy, also for threads, which are another process's: ask a worker for what has become of it.
    ///
    /// Only a process with one thread can make them, for it forks: processes first, then threads. A task must leave no
    /// child behind that outlives its worker: it would keep the worker's line open, and nobody would hear of the end.
    ///
    /// # Errors
    /// If a worker could not be started (EAGAIN, ENOMEM, EMFILE), and what `enlist` fails with.
    pub fn of(kind: Kind, workers: usize, enlist: impl Fn() -> Result<W> + Sync) -> Result<Crew<W>> {
        let mut crew = Crew { workers: Vec::new(), processes: Vec::new(), dumps: 0, own: PhantomData };
        match kind {
            Kind::Threads => {
                let lines = (0..workers).map(|_| crew.open_line()).collect::<Result<Vec<_>>>()?;
                crew.add_process(|| serve_by_threads(lines, &enlist))?;
            }
            Kind::Processes => {
                for _ in 0..workers {
                    // It goes with the closure: no sibling has it too, so it ends with its worker.
                    let line = crew.open_line()?;
                    crew.add_process(|| serve(&line, &enlist))?;
                }
            }
        }
        for worker in 0..workers {
            let tid = crew.hear(worker)?.value().context("starting a worker")?;
            let descriptor = crew.hear(worker)?.value()?;
            let known = &mut crew.workers[worker];
            (known.tid, known.descriptor) = (Pid::from_raw(tid as i32), descriptor);
        }
        Ok(crew)
    }

    fn open_line(&mut self) -> Result<File> {
        let (line, its_line) = UnixStream::pair().context("a socket pair")?;
        // Files are read and written by the plain calls, which is what a filter of system calls lets through.
        let [line, its_line] = [line, its_line].map(|end| File::from(OwnedFd::from(end)));
        self.workers.push(Worker { line, tid: Pid::from_raw(0), descriptor: 0, has_left: false });
        Ok(its_line)
    }

    fn add_process(&mut self, work: impl FnOnce()) -> Result<()> {
        let lines = &mut self.workers;
        let work = || {
            lines.clear(); // Only its maker has the other end of a line: so it ends for whoever outlives its maker.
            work();
            0
        };
        // SAFETY: of what exists twice now, the child uses its line, and what `enlist` lends it by shared reference. It
        // drops its copies of the lines' other ends, which are files, and leaves by `_exit`: so it never drops, and thus
        // never gives back, what its maker holds in shared memory.
        let child = unsafe { child::fork(work) }.context("forking a worker")?;
        self.processes.push(Process::Running(child));
        Ok(())
    }

    /// Has a worker do this, and waits for what comes of it.
    ///
    /// # Errors
    /// If the end of its process cannot be waited for; the task's own error is a reply.
    pub fn ask(&mut self, worker: usize, task: Task<W>, arguments: Arguments) -> Result<Reply> {
        self.tell(worker, task, arguments);
        self.hear(worker)
    }

    /// Has all workers do this at the same time, and waits for what comes of it with each.
    ///
    /// # Errors
    /// As for `ask`.
    pub fn ask_all(&mut self, task: Task<W>, arguments: Arguments) -> Result<Vec<Reply>> {
        (0..self.workers.len()).for_each(|worker| self.tell(worker, task, arguments));
        (0..self.workers.len()).map(|worker| self.hear(worker)).collect()
    }

    /// Has a worker do this, and does not wait for it. Each task that was told is to be heard once, in the same order.
    pub fn tell(&mut self, worker: usize, task: Task<W>, [one, two, three]: Arguments) {
        let words = [(task as *const ()).expose_provenance() as u64, one, two, three];
        let _ = send(&self.workers[worker].line, words); // It fails if the worker has ended; that is heard then.
    }

    /// What came of the first task that it was told and not heard of; waits as long as that takes. Where it may take for
    /// ever, use [`hear_within`](Self::hear_within).
    ///
    /// # Errors
    /// If the end of its process cannot be waited for.
    pub fn hear(&mut self, worker: usize) -> Result<Reply> {
        let Worker { line, has_left, .. } = &mut self.workers[worker];
        if *has_left {
            return Ok(Reply::Left);
        }
        let Ok(reply) = receive_reply(line) else { return Ok(Reply::Gone(self.end_of(worker)?)) };
        *has_left = reply == Reply::Left;
        Ok(reply)
    }

    /// The same, if it comes within that time.
    ///
    /// # Errors
    /// As for `hear`; and for a time of more than 24 days.
    pub fn hear_within(&mut self, worker: usize, time: Duration) -> Result<Option<Reply>> {
        let is_over = self.is_over_within(worker, time.try_into().context("a time that poll(2) can wait")?)?;
        is_over.then(|| self.hear(worker)).transpose()
    }

    fn is_over_within(&self, worker: usize, time: PollTimeout) -> nix::Result<bool> {
        let Worker { line, has_left, .. } = &self.workers[worker];
        Ok(*has_left || poll(&mut [PollFd::new(line.as_fd(), PollFlags::POLLIN)], time)? > 0)
    }

    /// Does it sleep in this system call, such as `libc::SYS_futex`? None if the kernel does not show it. The wait for
    /// its next task is no such sleep.
    pub fn sleeps_in(&self, worker: usize, call: i64) -> Option<bool> {
        let sleep = self.sleep_of(worker).ok()?;
        sleep.map_or(Some(false), |sleep| Some(sleep.call.ok()?.number == call))
    }

    /// Waits until what it was told sleeps in this system call, or is over.
    ///
    /// # Errors
    /// If it comes to neither within ten seconds.
    pub fn until_asleep_in(&self, worker: usize, call: i64, clock: SystemClock) -> Result<Progress> {
        self.look_until_asleep(worker, |sleep, _| sleep.call.is_ok_and(|shown| shown.number == call), clock)
    }

    /// What came of the first task that it was told and not heard of; or its sleep in the middle of that, in whatever
    /// system call, seen at two looks as one and the same. It may be a wait for a lock that lasts a moment: of a futex,
    /// the call's first argument says which word it is; `switches` tells a later sleep from this one.
    ///
    /// # Errors
    /// As for `hear` and `until_asleep_in`; and where the kernel does not show in which call it sleeps.
    pub fn hear_or_see_asleep(&mut self, worker: usize, clock: SystemClock) -> Result<Result<Reply, Sleep>> {
        match self.look_until_asleep(worker, |sleep, before| before == Some(sleep), clock)? {
            Progress::Asleep(sleep) => Ok(Err(sleep)),
            Progress::Over => self.hear(worker).map(Ok),
            Progress::Unknown(errno) => Err(errno).context("seeing a worker asleep"),
        }
    }

    /// Until it is such a sleep, beside the one that was seen at the look before.
    fn look_until_asleep(
        &self,
        worker: usize,
        is_such: impl Fn(Sleep, Option<Sleep>) -> bool,
        clock: SystemClock,
    ) -> Result<Progress> {
        let mut last = None;
        let look = || -> Result<_> {
            if self.is_over(worker)? {
                return Ok(Some(Progress::Over));
            }
            let before = std::mem::replace(&mut last, self.sleep_of(worker)?);
            Ok(last.and_then(|sleep| match sleep.call {
                Ok(_) => is_such(sleep, before).then_some(Progress::Asleep(sleep)),
                Err(errno) => Some(Progress::Unknown(errno)),
            }))
        };
        look_until(clock, look)?.context("a worker neither slept nor answered within ten seconds")
    }

    /// Whether it has answered what it was told, or has ended: then to hear it takes no waiting.
    ///
    /// # Errors
    /// If the kernel cannot look (ENOMEM).
    pub fn is_over(&self, worker: usize) -> Result<bool> {
        Ok(self.is_over_within(worker, PollTimeout::ZERO)?)
    }

    /// None while it is awake, has ended, or waits for its next task.
    fn sleep_of(&self, worker: usize) -> io::Result<Option<Sleep>> {
        let Worker { tid, descriptor, .. } = self.workers[worker];
        let Activity::Asleep(sleep) = activity_of(tid)? else { return Ok(None) };
        let is_idle = sleep.call.is_ok_and(|call| (call.number, call.arguments[0]) == (libc::SYS_read, descriptor));
        Ok((!is_idle).then_some(sleep))
    }

    /// What the kernel schedules: the worker's thread, which is the first of its process where each has one.
    pub fn tid(&self, worker: usize) -> Pid {
        self.workers[worker].tid
    }

    /// The process of a worker; none once its end was heard of.
    pub fn pid(&self, worker: usize) -> Option<Pid> {
        match &self.processes[self.process_of(worker)] {
            Process::Running(child) => Some(child.pid()),
            Process::Ended(_) => None,
        }
    }

    /// Waits for its process, the first time.
    fn end_of(&mut self, worker: usize) -> Result<Exit> {
        let index = self.process_of(worker);
        if let Process::Running(child) = &self.processes[index] {
            // Only a look at one that is not yet waited for tells of a core dump.
            let look = waitid(Id::Pid(child.pid()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).context("waiting")?;
            self.dumps += usize::from(matches!(look, WaitStatus::Signaled(.., true)));
        }
        let exit = match self.processes.remove(index) {
            Process::Running(child) => child.wait().context("waiting for a worker")?,
            Process::Ended(exit) => exit,
        };
        self.processes.insert(index, Process::Ended(exit));
        Ok(exit)
    }

    fn process_of(&self, worker: usize) -> usize {
        worker.min(self.processes.len() - 1)
    }
}

fn serve_by_threads<W>(lines: Vec<File>, enlist: &(impl Fn() -> Result<W> + Sync)) {
    thread::scope(|scope| {
        for line in &lines {
            let life = || {
                if catch_unwind(AssertUnwindSafe(|| serve(line, enlist))).is_err() {
                    let _ = send(line, [LEFT, 0, 0]);
                }
            };
            if let Err(error) = Builder::new().spawn_scoped(scope, life) {
                send_reply(line, Err(error.into()));
            }
        }
    });
}

/// A worker's life: task after task, until one ends it or its maker does.
fn serve<W>(line: &File, enlist: &impl Fn() -> Result<W>) {
    let mut own = match enlist() {
        Ok(own) => own,
        Err(error) => return send_reply(line, Err(error)),
    };
    for word in [gettid().as_raw(), line.as_raw_fd()] {
        send_reply(line, Ok(word as u64));
    }
    while let Ok([task, arguments @ ..]) = receive::<4>(line) {
        let task = std::ptr::with_exposed_provenance::<()>(task as usize);
        // SAFETY: `Crew<W>::tell` alone writes to this line, and it wrote the address of a `Task<W>`. This is a thread
        // of a process that was forked from the one that wrote it, and has become no other program since: a fork copies
        // the memory with the program in it, so every function is at the same address in both.
        let task = unsafe { std::mem::transmute::<*const (), Task<W>>(task) };
        send_reply(line, task(&mut own, arguments));
    }
}

const DONE: u64 = 0; // What a reply says first.
const FAILED: u64 = 1;
const LEFT: u64 = 2;

fn send_reply(mut line: &File, outcome: Result<u64>) {
    let _ = match outcome {
        Ok(value) => send(line, [DONE, value, 0]),
        Err(error) => {
            let errno = error.chain().find_map(errno_of);
            let rest = error.chain().filter(|cause| errno_of(*cause).is_none());
            let says = rest.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            let words = [FAILED, errno.unwrap_or(Errno::UnknownErrno) as u64, says.len() as u64];
            send(line, words).and_then(|()| line.write_all(says.as_bytes()))
        }
    };
}

fn errno_of(cause: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    let by_std = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    let errno = by_std.map(Errno::from_raw).or_else(|| cause.downcast_ref::<Errno>().copied());
    errno.filter(|errno| *errno != Errno::UnknownErrno) // It says its number then.
}

fn receive_reply(mut line: &File) -> io::Result<Reply> {
    Ok(match receive::<3>(line)? {
        [DONE, value, _] => Reply::Done(value),
        [FAILED, errno, length] => {
            let mut says = vec![0; length as usize];
            line.read_exact(&mut says)?;
            let says = String::from_utf8_lossy(&says).into_owned();
            Reply::Failed { says, errno: Errno::from_raw(errno as i32) }
        }
        _ => Reply::Left,
    })
}

fn send<const WORDS: usize>(mut line: &File, words: [u64; WORDS]) -> io::Result<()> {
    line.write_all(words.map(u64::to_ne_bytes).as_flattened())
}

fn receive<const WORDS: usize>(mut line: &File) -> io::Result<[u64; WORDS]> {
    let mut words = [[0; 8]; WORDS];
    line.read_exact(words.as_flattened_mut())?;
    Ok(words.map(u64::from_ne_bytes))
}
