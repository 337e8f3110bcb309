//! Which ways are there to serve many connections with threads or processes?

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use process_demo::connections::{self, Bounds, Counters};
use process_demo::page::Page;
use process_demo::prefork::{self, Event, Listeners, Listening, Worker};

use super::forking;
use super::handler::{Desk, Keeps, Report, Visit, What};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    ThreadPerConnection,
    ThreadPool,
    Prefork,
    PreforkReusePort,
    BlockingPrefork,
    ProcessPerConnection,
    ProcessPerRequest,
}

impl Model {
    pub const ALL: [Model; 7] = [
        Model::ThreadPerConnection,
        Model::ThreadPool,
        Model::Prefork,
        Model::PreforkReusePort,
        Model::BlockingPrefork,
        Model::ProcessPerConnection,
        Model::ProcessPerRequest,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Model::ThreadPerConnection => "thread per connection",
            Model::ThreadPool => "thread pool",
            Model::Prefork => "prefork",
            Model::PreforkReusePort => "prefork, reuseport",
            Model::BlockingPrefork => "blocking prefork",
            Model::ProcessPerConnection => "process per connection",
            Model::ProcessPerRequest => "process per request",
        }
    }

    /// Whose turn it is when a new connection comes.
    pub fn deals(self) -> Deals {
        match self {
            Model::ThreadPool | Model::Prefork => Deals::WhoeverIsFree,
            Model::PreforkReusePort => Deals::ByHash,
            Model::BlockingPrefork => Deals::OneToEach,
            Model::ThreadPerConnection | Model::ProcessPerConnection => Deals::ANewOne,
            Model::ProcessPerRequest => Deals::ANewOneForEachRequest,
        }
    }

    /// How many start before the first connection comes.
    pub fn started(self, workers: usize) -> usize {
        match self {
            Model::Prefork | Model::PreforkReusePort | Model::BlockingPrefork => workers,
            Model::ThreadPerConnection | Model::ThreadPool => 1, // The process whose threads they are.
            Model::ProcessPerConnection | Model::ProcessPerRequest => 0,
        }
    }
}

/// How connections come to workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deals {
    /// One of those that wait for it; a worker holds many.
    WhoeverIsFree,
    /// The one that the kernel chooses by the connection's addresses, free or not; a worker holds many.
    ByHash,
    /// One that is free, and it serves nobody else until the connection closes.
    OneToEach,
    ANewOne,
    ANewOneForEachRequest,
}

/// Where connections come in.
pub enum Door {
    /// Served by workers that stay.
    Workers(Listeners),
    /// Served by whoever is made for it.
    Maker(TcpListener),
}

impl Door {
    /// At a free port of this machine's own address.
    pub fn open(model: Model) -> io::Result<(Door, SocketAddr)> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        if matches!(model, Model::ProcessPerConnection | Model::ProcessPerRequest) {
            let listener = TcpListener::bind(any)?;
            let address = listener.local_addr()?;
            return Ok((Door::Maker(listener), address));
        }
        let by_hash = model == Model::PreforkReusePort;
        let listeners = Listeners::bind(any, if by_hash { Listening::PerWorker } else { Listening::Shared })?;
        let address = listeners.address();
        Ok((Door::Workers(listeners), address))
    }
}

/// The server's process: serves until `stop` has a byte. Puts the CPU time of its ended children into `ended_us`.
pub fn serve(
    model: Model,
    door: Door,
    workers: usize,
    desk: &Desk,
    ended_us: &Page,
    stop: BorrowedFd<'_>,
) -> io::Result<()> {
    let keeps = if model == Model::ProcessPerRequest { Keeps::Nothing } else { Keeps::AsTheClientLikes };
    match door {
        Door::Maker(listener) => forking::serve(&listener, desk, keeps, &|| note_cpu(ended_us), stop),
        Door::Workers(listeners) => serve_by_workers(model, listeners, workers, desk, ended_us, stop),
    }
}

fn serve_by_workers(
    model: Model,
    listeners: Listeners,
    workers: usize,
    desk: &Desk,
    ended_us: &Page,
    stop: BorrowedFd<'_>,
) -> io::Result<()> {
    let work = |worker: Worker| {
        let result = match model {
            Model::ThreadPerConnection => thread_per_connection(&worker.listener, desk),
            Model::ThreadPool => pool(&worker, workers, desk),
            Model::BlockingPrefork => one_at_a_time(&worker, desk),
            _ => multiplex(worker.listener.try_clone(), worker.stop.as_fd(), worker.number, desk),
        };
        if let Err(error) = &result {
            desk.tell_refusal(error);
        }
        u8::from(result.is_err())
    };
    let tell = |event| match event {
        Event::Started { number, pid } => tell_of(desk, What::Started, number, pid),
        Event::Ended { number, pid, .. } => {
            note_cpu(ended_us);
            tell_of(desk, What::Ended, number, pid);
        }
        Event::NotStarted { .. } | Event::Stopping => {}
    };
    // Whoever asks for the stop waits for no answer any more, so the workers need not finish.
    let at_once = Duration::ZERO;
    // SAFETY: the workers use pipes and sockets; of the shared page they touch nothing.
    unsafe { prefork::serve(listeners, model.started(workers), at_once, stop, work, tell) }?;
    Ok(())
}

fn tell_of(desk: &Desk, what: What, number: usize, pid: nix::unistd::Pid) {
    Report { what, number: number as u32, pid: pid.as_raw() as u32 }.send(&desk.reporter);
}

fn note_cpu(ended_us: &Page) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) {
        let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        ended_us.word().store(us as u64, Relaxed);
    }
}

/// Long enough that no idle connection of an experiment is closed by a time-out.
pub fn bounds() -> Bounds {
    let long = Duration::from_secs(120);
    Bounds { idle: long, request: long, ..Bounds::default() }
}

/// One event loop.
fn multiplex(listener: io::Result<TcpListener>, stop: BorrowedFd<'_>, number: usize, desk: &Desk) -> io::Result<()> {
    let new_visit = |_| Visit::new(desk, number, Keeps::AsTheClientLikes);
    connections::serve(listener?, stop, &bounds(), &Counters::default(), new_visit).map(drop)
}

/// As many threads, each with an event loop of its own on the one listener.
fn pool(worker: &Worker, threads: usize, desk: &Desk) -> io::Result<()> {
    let run = |number| {
        // A panic ends this loop, and closes what was on it; the thread begins another.
        while catch_unwind(AssertUnwindSafe(|| {
            multiplex(worker.listener.try_clone(), worker.stop.as_fd(), number, desk)
        }))
        .is_err()
        {}
    };
    thread::scope(|scope| {
        let others: io::Result<Vec<_>> =
            (1..threads).map(|number| thread::Builder::new().spawn_scoped(scope, move || run(number))).collect();
        run(0);
        others.map(drop)
    })
}

fn thread_per_connection(listener: &TcpListener, desk: &Desk) -> io::Result<()> {
    thread::scope(|scope| {
        for number in 0.. {
            let (stream, _) = listener.accept()?;
            let serve = move || {
                let mut visit = Visit::new(desk, number, Keeps::AsTheClientLikes);
                let _ = connections::serve_one(&stream, &bounds(), &mut visit); // A client that is gone is no failure.
            };
            // Without room for a thread the connection is closed, and the others are served on.
            let _ = thread::Builder::new().spawn_scoped(scope, serve);
        }
        Ok(())
    })
}

/// The classic: accept one, serve it until it closes, accept the next.
fn one_at_a_time(worker: &Worker, desk: &Desk) -> io::Result<()> {
    loop {
        let (stream, _) = worker.listener.accept()?;
        let mut visit = Visit::new(desk, worker.number, Keeps::AsTheClientLikes);
        let _ = connections::serve_one(&stream, &bounds(), &mut visit); // A client that is gone is no failure.
    }
}
