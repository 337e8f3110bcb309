//! What of its parent's does a new task share? Six observations, each made by the parent after the task has acted.

use std::fs::File;
use std::os::fd::{BorrowedFd, IntoRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};
use std::{array, env};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::wait::waitpid;
use nix::unistd::{chdir, getpid, gettid};
use process_demo::crew::{Crew, Kind, NOTHING, Reply, Task};
use process_demo::page::Page;
use process_demo::{child, task};

/// What is observed, in the order of `Shared`.
pub const OBSERVED: [&str; 6] = ["memory", "descriptors", "directory", "handlers", "pid", "waitpid"];

/// True where the task shares it with its maker: its change is the maker's too, its pid is the maker's, no child is there
/// to be waited for.
pub type Shared = [bool; OBSERVED.len()];

/// How the task is made.
#[derive(Clone, Copy)]
pub enum MadeBy {
    Fork,
    Clone(CloneFlags),
    StdThread,
}

/// Makes a task like this, in a process of its own, since the task changes what its maker is; or says why the kernel refused.
pub fn observe(how: MadeBy) -> Result<Result<Shared, Errno>> {
    let page = Page::shared_by_fork().context("mapping a page")?;
    let told = page.word();
    let mut maker = Crew::of(Kind::Processes, 1, || {
        chdir("/")?;
        let descriptor = File::open("/dev/null")?.into_raw_fd();
        Ok(Maker { how, variable: AtomicU64::new(0), descriptor, told })
    })?;
    // The first of what is observed is the lowest bit.
    let make: Task<Maker<'_>> =
        |maker, _| Ok(maker.make()?.iter().rev().fold(0, |bits, &shared| bits << 1 | u64::from(shared)));
    match maker.ask(0, make, NOTHING)? {
        Reply::Failed { errno, .. } => Ok(Err(errno)),
        reply => reply.value().map(|bits| Ok(array::from_fn(|at| bits >> at & 1 == 1))),
    }
}

/// What the maker has, for the task to change.
struct Maker<'p> {
    how: MadeBy,
    variable: AtomicU64,
    descriptor: RawFd,
    /// The one thing that every task shares: by it the task tells how far it came, and which pid it sees.
    told: &'p AtomicU64,
}

impl Maker<'_> {
    fn make(&self) -> Result<Shared> {
        let is_child = match self.how {
            MadeBy::Fork => {
                // SAFETY: what the two share is a page of atomics.
                let task = unsafe { child::fork(|| self.act()) }?;
                task.wait().is_ok()
            }
            MadeBy::Clone(flags) => {
                // SAFETY: the task makes system calls and stores to atomics, and this process has one thread.
                let task = unsafe { task::run(flags, || self.act()) }?;
                waitpid(task, None).is_ok()
            }
            MadeBy::StdThread => {
                let act = || {
                    self.act();
                    gettid()
                };
                let task = thread::scope(|scope| Builder::new().spawn_scoped(scope, act).map(|task| task.join()))?;
                waitpid(task.unwrap(), None).is_ok()
            }
        };
        Ok(self.look(is_child)?)
    }

    /// The task's whole life. It may run on its maker's thread-locals: so no library, only the kernel is called.
    fn act(&self) -> u8 {
        self.variable.store(CHANGED, Relaxed); // Its end, which the maker waits for, orders the stores.
        // SAFETY: nobody uses the descriptor but this, once; the name ends with a zero; no handler of ours is replaced.
        let (done, pid) = unsafe {
            let closed = libc::close(self.descriptor) == 0;
            let moved = libc::chdir(c"/proc".as_ptr()) == 0;
            let ignored = libc::signal(libc::SIGUSR1, libc::SIG_IGN) != libc::SIG_ERR;
            (closed && moved && ignored, libc::getpid())
        };
        self.told.store(if done { pid as u64 } else { 0 }, Relaxed);
        0
    }

    fn look(&self, is_child: bool) -> nix::Result<Shared> {
        let pid = self.told.load(Relaxed);
        if pid == 0 {
            return Err(Errno::ECANCELED); // It could not act: what it shares was not seen.
        }
        // SAFETY: borrowed to ask whether it is open.
        let descriptor = fcntl(unsafe { BorrowedFd::borrow_raw(self.descriptor) }, FcntlArg::F_GETFD);
        // SAFETY: SIGUSR1's own default is put back; no handler of ours is replaced.
        let handler = unsafe { libc::signal(libc::SIGUSR1, libc::SIG_DFL) };
        Ok([
            self.variable.load(Relaxed) == CHANGED,
            descriptor == Err(Errno::EBADF),
            env::current_dir().is_ok_and(|directory| directory.ends_with("proc")),
            handler == libc::SIG_IGN,
            pid == getpid().as_raw() as u64,
            !is_child,
        ])
    }
}

const CHANGED: u64 = 1;
