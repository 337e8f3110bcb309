//! A small server in six models: how does the client's process set it up, ask it, and end it?

pub mod answer;
pub mod client;
pub mod models;
mod request;

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::panic;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;
use process_demo::child::{self, Child};
use process_demo::resident::Resident;
use shared::measure::SystemClock;
use shared::{Cell, Column, Parameter, ParameterKind, Stage, Table, spare_bytes};

use answer::{Site, Work};
use client::{Connection, Outcome};
use models::Model;
pub use request::ready;

/// How a server is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub workers: usize,
    pub work: Work,
    /// Loaded before the first worker is made.
    pub preload_bytes: usize,
}

pub const PRELOAD: Parameter = number("preload_mib", "MiB", "loaded before any worker is made", 16.0, 0.0, 4096.0);

pub const fn number(
    key: &'static str,
    unit: &'static str,
    says: &'static str,
    default: f64,
    low: f64,
    high: f64,
) -> Parameter {
    Parameter { key, says, kind: ParameterKind::Number { unit, default, low, high } }
}

/// A table of a first column of words and others, each with its unit.
pub fn table(title: impl Into<String>, first: &str, columns: &[(&str, &str)], rows: Vec<Vec<Cell>>) -> Table {
    let values = columns.iter().map(|(name, unit)| Column::value(*name, *unit));
    Table { title: title.into(), columns: [Column::label(first)].into_iter().chain(values).collect(), rows }
}

impl Setup {
    /// Nothing happens by chance, and no request takes time.
    pub fn calm(stage: &mut Stage, workers: usize) -> Setup {
        let wanted_bytes = stage.setting("preload_mib") as u64 * (1 << 20);
        let preload_bytes = wanted_bytes.min(spare_bytes());
        if preload_bytes < wanted_bytes {
            let mib = preload_bytes >> 20;
            stage.note(format!("Memory is short here: only {mib} MiB are preloaded."));
        }
        Setup { workers, work: Work::NONE, preload_bytes: preload_bytes as usize }
    }
}

/// A refusal, if this process may not open so many descriptors and some more.
pub fn has_descriptors_for(connections: usize) -> Result<()> {
    let needed = connections as u64 + 64;
    let (allowed, _) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of descriptors")?;
    if allowed >= needed {
        return Ok(());
    }
    Err(Errno::EMFILE).with_context(|| format!("{allowed} descriptors are allowed, and {needed} needed"))
}

/// A running server: a process, and the family that it has made. Dropping it ends them all.
pub struct Server {
    pub model: Model,
    pub address: SocketAddr,
    process: Option<Child>,
    stop: PipeWriter,
    news: PipeReader,
}

/// Only a bound: what is waited for is certain to come, even on a busy machine.
pub fn patience_end_ns() -> u64 {
    SystemClock.now_ns() + 20_000_000_000
}

impl Server {
    pub fn start(model: Model, setup: &Setup) -> Result<Server> {
        let listeners = model.bind().context("a listening socket")?;
        let address = listeners.address();
        let (stopped, stop) = io::pipe().context("a pipe for the stop")?;
        let (news, teller) = io::pipe().context("a pipe for news")?;
        let site = Site { work: setup.work, keeps: model.keeps(), news: teller };
        let serve = || {
            panic::set_hook(Box::new(|_| {})); // The crashes here are on purpose: nobody need read of them.
            let preload = NonZeroUsize::new(setup.preload_bytes).map(Resident::new).transpose();
            let served = preload.and_then(|_kept| model.serve(listeners, setup.workers, &site, stopped.as_fd()));
            site.tell_if_refused(served)
        };
        // SAFETY: the child uses pipes, sockets and memory of its own; nothing here is in shared memory.
        let process = unsafe { child::fork(serve) }.context("forking a server")?;
        drop(site); // Its pipe above all: if the server dies, the news end.
        let server = Server { model, address, process: Some(process), stop, news };
        ensure!(ready(&[server.news.as_fd()], patience_end_ns())? == [true], "the server did not start within 20 s");
        read_news(&server.news)?; // It is up.
        Ok(server)
    }

    pub fn pid(&self) -> Pid {
        self.process.as_ref().map_or(Pid::from_raw(0), Child::pid)
    }

    pub fn connect(&self) -> Result<Connection> {
        Connection::open(self.address).context("connecting to the server")
    }

    /// Waits until one of the connections has something, and tells which, or until that moment; fails once this machine
    /// refuses the server something.
    pub fn watch<'a>(
        &self,
        connections: impl IntoIterator<Item = &'a Connection>,
        deadline_ns: u64,
    ) -> Result<Vec<bool>> {
        let sources = connections.into_iter().map(|connection| connection.as_fd()).chain([self.news.as_fd()]);
        let mut ready = ready(&sources.collect::<Vec<_>>(), deadline_ns)?;
        if ready.pop() == Some(true) {
            read_news(&self.news)?;
        }
        Ok(ready)
    }

    /// Fails if this machine has refused the server something, which is known a little after a connection's end.
    fn why_lost(&self) -> Result<()> {
        self.watch([], SystemClock.now_ns() + 1_000_000_000).map(drop)
    }

    /// Has one request answered, while nothing is to fail.
    pub fn ask(&self, connection: &mut Connection, id: u64) -> Result<()> {
        connection.ask(id);
        let deadline_ns = patience_end_ns();
        while connection.outcome() == Outcome::NotYet && SystemClock.now_ns() < deadline_ns {
            self.watch([&*connection], deadline_ns)?;
        }
        match connection.outcome() {
            Outcome::Answered(_) => Ok(()),
            outcome => {
                self.why_lost()?;
                bail!("a request before any failure ended as {outcome:?}")
            }
        }
    }

    /// Opens connections until so many have a request in flight, each with another worker; the further ones wait in queues,
    /// where the kernel deals by hash. A worker that has a request in flight takes no other.
    pub fn hold(&self, workers: usize) -> Result<(Vec<Connection>, Vec<Connection>)> {
        const MOST: u64 = 1000; // Dealt by hash, the chance to miss one of 64 workers is one in a million.
        let (mut held, mut waiting): (Vec<Connection>, Vec<Connection>) = (Vec::new(), Vec::new());
        for id in 1..=MOST {
            let mut connection = self.connect()?;
            connection.hold(id);
            waiting.push(connection);
            let soon_ns = SystemClock.now_ns() + 1_000_000 * (1 + id / 16); // A busy machine needs more patience.
            self.watch(&waiting, if self.model.deals_by_hash() { soon_ns } else { patience_end_ns() })?;
            held.extend(waiting.extract_if(.., |connection| connection.holder().is_some()));
            if held.len() == workers {
                break;
            }
            if !self.model.deals_by_hash() && !waiting.is_empty() {
                self.why_lost()?;
                break;
            }
        }
        Ok((held, waiting))
    }
}

fn read_news(mut news: &PipeReader) -> Result<()> {
    let mut bytes = [0; 4];
    news.read_exact(&mut bytes).context("the server is gone")?;
    match i32::from_ne_bytes(bytes) {
        0 => Ok(()),
        code => Err(Errno::from_raw(code)).context("the server's process"),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends and reaps its workers before it ends itself: killed at once, it would leave them to a stranger to reap.
        let _ = self.stop.write_all(&[0]);
        let _ = self.process.take().map(Child::wait);
    }
}
