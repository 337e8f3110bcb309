//! How does the client's process start a server, ask about it, and end it?

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::panic;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;
use process_demo::child::{self, Child};
use process_demo::memory_of;
use process_demo::page::Page;
use process_demo::resident::Resident;
use shared::measure::{Clock, SystemClock};

use super::handler::{Desk, GoOn, Report, What, Work};
use super::models::{self, Door, Model};

/// How a server is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub workers: usize,
    pub work: Work,
    /// Loaded before the first worker is made.
    pub preload_bytes: usize,
}

/// A running server: a process, and the family that it has made. Dropping it ends them all.
pub struct Server {
    process: Option<Child>,
    pub address: SocketAddr,
    stop: PipeWriter,
    reports: PipeReader,
    gates: Vec<PipeWriter>,
    ended_us: Page,
    /// Those workers that were started and have not ended, by number.
    pub workers: BTreeMap<u32, Pid>,
}

/// A refusal, if this process may not open as many descriptors as all that is shown here takes at most at once: the
/// client's connections, per worker those that wait in queues and stay idle, and what was inherited.
pub fn has_descriptors_for(connections: usize, workers: usize) -> Result<()> {
    let needed = (connections + 24 * workers + 64) as u64;
    let (allowed, _) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of descriptors")?;
    if allowed >= needed {
        return Ok(());
    }
    Err(Errno::EMFILE).with_context(|| format!("{allowed} descriptors are allowed, and {needed} needed"))
}

const PATIENCE_MS: u16 = 20_000; // Only a bound: what is waited for is certain to come, even on a busy machine.

impl Server {
    pub fn start(model: Model, setup: &Setup) -> Result<Server> {
        let (door, address) = Door::open(model).context("a listening socket")?;
        let (stopped, stop) = io::pipe().context("a pipe for the stop")?;
        let (reports, reporter) = io::pipe().context("a pipe for reports")?;
        let gates: io::Result<Vec<_>> = (0..setup.workers).map(|_| io::pipe()).collect();
        let (gates, openers) = gates.context("pipes for the gates")?.into_iter().unzip();
        let ended_us = Page::shared_by_fork().context("a shared page")?;
        let desk = Desk { work: setup.work, reporter, gates };
        let body = || {
            panic::set_hook(Box::new(|_| {})); // The crashes here are on purpose: nobody need read of them.
            let preload = NonZeroUsize::new(setup.preload_bytes).map(Resident::new).transpose();
            let served =
                preload.and_then(|_kept| models::serve(model, door, setup.workers, &desk, &ended_us, stopped.as_fd()));
            if let Err(error) = &served {
                desk.tell_refusal(error);
            }
            u8::from(served.is_err())
        };
        // SAFETY: of the one shared page the child stores to a single word; no guard or lock is in it.
        let process = unsafe { child::fork(body) }.context("forking a server")?;
        drop(desk); // Its reporter above all: if the server dies, the reports end.
        let workers = BTreeMap::new();
        let mut server = Server { process: Some(process), address, stop, reports, gates: openers, ended_us, workers };
        while server.workers.len() < model.started(setup.workers) {
            server.next_report()?;
        }
        Ok(server)
    }

    fn next_report(&mut self) -> Result<Report> {
        let mut watched = [PollFd::new(self.reports.as_fd(), PollFlags::POLLIN)];
        if poll(&mut watched, PollTimeout::from(PATIENCE_MS))? == 0 {
            bail!("the server has reported nothing for {} s", PATIENCE_MS / 1000);
        }
        let mut bytes = [0; Report::BYTES];
        self.reports.read_exact(&mut bytes).context("the server is gone")?;
        let report = Report::from_bytes(bytes);
        let pid = Pid::from_raw(report.pid as i32);
        match report.what {
            What::Started => drop(self.workers.insert(report.number, pid)),
            What::Ended => drop(self.workers.remove(&report.number)),
            What::Refused => return Err(Errno::from_raw(report.number as i32)).context("the server's process"),
            What::Held => {}
        }
        Ok(report)
    }

    /// Fails if the machine has refused something to the server meanwhile.
    pub fn is_well(&mut self) -> Result<()> {
        loop {
            let mut watched = [PollFd::new(self.reports.as_fd(), PollFlags::POLLIN)];
            if poll(&mut watched, PollTimeout::ZERO)? == 0 {
                return Ok(());
            }
            self.next_report()?;
        }
    }

    /// Waits until a request is held at this gate; returns the process that has it.
    pub fn held(&mut self, gate: usize) -> Result<Pid> {
        loop {
            let report = self.next_report()?;
            if report.what == What::Held && report.number as usize == gate {
                return Ok(Pid::from_raw(report.pid as i32));
            }
        }
    }

    /// Waits for the next request that is held anywhere, for so long at most: its gate and its process.
    pub fn next_held(&mut self, patience_ms: u16) -> Result<Option<(usize, Pid)>> {
        loop {
            let mut watched = [PollFd::new(self.reports.as_fd(), PollFlags::POLLIN)];
            if poll(&mut watched, PollTimeout::from(patience_ms))? == 0 {
                return Ok(None);
            }
            let report = self.next_report()?;
            if report.what == What::Held {
                return Ok(Some((report.number as usize, Pid::from_raw(report.pid as i32))));
            }
        }
    }

    /// Lets the request that is held at this gate, or the next one that comes to it, go on.
    pub fn open_gate(&mut self, gate: usize, go_on: GoOn) -> Result<()> {
        self.gates[gate].write_all(&[go_on as u8]).context("opening a gate")
    }

    fn pid(&self) -> Pid {
        self.process.as_ref().map_or(Pid::from_raw(0), Child::pid)
    }

    /// The server's process, its children, theirs, and so on.
    pub fn family(&self) -> Vec<Pid> {
        let mut family = vec![self.pid()];
        let mut seen = 0;
        while let Some(pid) = family.get(seen) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
            seen += 1;
        }
        family
    }

    /// CPU time that the family has used so far, those included that have ended; none if it cannot be read.
    pub fn cpu_ns(&self, clock: SystemClock) -> Option<u64> {
        let one = |pid: Pid| Some(clock.cpu_ns(&[pid])?.saturating_sub(clock.cpu_ns(&[])?));
        let first = one(self.pid())?;
        let others: u64 = self.family().into_iter().skip(1).filter_map(one).sum(); // One may have ended meanwhile.
        Some(first + others + self.ended_us.word().load(Relaxed) * 1000)
    }

    /// PSS of the whole family; none if the kernel does not tell.
    pub fn pss_bytes(&self) -> Option<u64> {
        let first = memory_of::of(self.pid()).ok()?;
        // A child may have ended meanwhile: then it has no memory.
        let others = self.family().into_iter().skip(1).filter_map(|pid| memory_of::of(pid).ok());
        Some(first.pss_bytes + others.map(|memory| memory.pss_bytes).sum::<u64>())
    }

    pub fn processes(&self) -> usize {
        self.family().len()
    }

    /// Threads of all its processes together.
    pub fn threads(&self) -> usize {
        let count = |pid: Pid| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        self.family().into_iter().map(count).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends and reaps its workers before it ends itself: killed at once, it would leave them to a stranger to reap.
        let _ = self.stop.write_all(&[0]);
        let _ = self.process.take().map(Child::wait);
    }
}
