//! Six models of a server that blocks: who takes a connection, and who answers a request?

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, Builder};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use process_demo::child::{self, Child};
use process_demo::prefork::{self, Event, Listeners, Listening, Worker};

use super::answer::{self, Site};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    ThreadPerConnection,
    ThreadPool,
    Prefork,
    PreforkReusePort,
    ProcessPerConnection,
    ProcessPerRequest,
}

use Model::{PreforkReusePort, ProcessPerConnection, ProcessPerRequest, ThreadPerConnection, ThreadPool};

impl Model {
    pub const ALL: [Model; 6] =
        [ThreadPerConnection, ThreadPool, Model::Prefork, PreforkReusePort, ProcessPerConnection, ProcessPerRequest];

    pub fn label(self) -> &'static str {
        match self {
            ThreadPerConnection => "thread per connection",
            ThreadPool => "thread pool",
            Model::Prefork => "prefork",
            PreforkReusePort => "prefork, reuseport",
            ProcessPerConnection => "process per connection",
            ProcessPerRequest => "process per request",
        }
    }

    /// So many workers serve a connection each until it closes; a further one waits.
    pub fn has_workers(self) -> bool {
        matches!(self, ThreadPool | Model::Prefork | PreforkReusePort)
    }

    /// The kernel chooses the worker by the connection's addresses, free or not.
    pub fn deals_by_hash(self) -> bool {
        self == PreforkReusePort
    }

    /// Whether a connection may have a second request.
    pub fn keeps(self) -> bool {
        self != ProcessPerRequest
    }

    /// At a free port of this machine's own address.
    pub fn bind(self) -> io::Result<Listeners> {
        let listening = if self.deals_by_hash() { Listening::PerWorker } else { Listening::Shared };
        Listeners::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), listening)
    }

    /// The server's process: serves until `stop` has a byte, and replaces each of its own processes that dies.
    pub fn serve(self, listeners: Listeners, workers: usize, site: &Site, stop: BorrowedFd<'_>) -> io::Result<()> {
        let processes = if matches!(self, Model::Prefork | PreforkReusePort) { workers } else { 1 };
        let work = |worker: Worker| {
            site.tell_if_refused(match self {
                ThreadPerConnection => a_thread_for_each(&worker.listener, site),
                ThreadPool => pool(&worker.listener, workers, site),
                Model::Prefork | PreforkReusePort => one_after_the_other(&worker.listener, site),
                ProcessPerConnection | ProcessPerRequest => a_process_for_each(&worker, site),
            })
        };
        let mut started = 0;
        let tell = |event| match event {
            Event::Started { .. } => {
                started += 1;
                if started == processes {
                    site.tell(0);
                }
            }
            Event::NotStarted { error, .. } => _ = site.tell_if_refused(Err::<(), _>(error)),
            Event::Ended { .. } | Event::Stopping => {}
        };
        // Whoever asks for the stop waits for no answer any more; only one that has children must end them itself.
        let has_children = matches!(self, ProcessPerConnection | ProcessPerRequest);
        let drain = if has_children { Duration::from_secs(20) } else { Duration::ZERO };
        // SAFETY: the workers use pipes and sockets; nothing here is in shared memory.
        unsafe { prefork::serve(listeners, processes, drain, stop, work, tell) }.map(drop)
    }
}

fn a_thread_for_each(listener: &TcpListener, site: &Site) -> io::Result<()> {
    thread::scope(|scope| {
        loop {
            let (stream, _) = listener.accept()?;
            // Without room for a thread the connection is closed, and the others are served on.
            site.tell_if_refused(Builder::new().spawn_scoped(scope, move || answer::serve(&stream, site)));
        }
    })
}

fn pool(listener: &TcpListener, threads: usize, site: &Site) -> io::Result<()> {
    // A panic closes its own connection; the thread goes on.
    let serve = || {
        loop {
            if let Ok(result) = catch_unwind(AssertUnwindSafe(|| one_after_the_other(listener, site))) {
                return result;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            site.tell_if_refused(Builder::new().spawn_scoped(scope, serve));
        }
        serve()
    })
}

/// The classic: accept one, serve it until it closes, accept the next.
fn one_after_the_other(listener: &TcpListener, site: &Site) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let _ = answer::serve(&stream, site); // A client that is gone is no failure.
    }
}

fn a_process_for_each(worker: &Worker, site: &Site) -> io::Result<()> {
    let mut children = HashMap::new();
    loop {
        let mut watched = [worker.stop.as_fd(), worker.listener.as_fd()].map(|it| PollFd::new(it, PollFlags::POLLIN));
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        if watched[0].any().unwrap_or(true) {
            return Ok(()); // Those that are left are ended and reaped by their guards.
        }
        let (stream, _): (TcpStream, _) = worker.listener.accept()?;
        reap(&mut children)?;
        // SAFETY: the child uses its connection and a pipe; nothing here is in shared memory.
        let child = unsafe { child::fork(move || u8::from(answer::serve(&stream, site).is_err())) };
        // Without room for a process the connection is closed, and the others are served on.
        site.tell_if_refused(child.map(|child| children.insert(child.pid(), child)));
    }
}

/// Looks who has ended without taking it, so that each child's guard can.
fn reap(children: &mut HashMap<Pid, Child>) -> io::Result<()> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) = waitid(Id::All, look) {
        let Some(child) = children.remove(&pid) else { break };
        child.wait()?;
    }
    Ok(())
}
