//! How are the workers, threads or processes, started together, counted, weighed and ended?

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use process_demo::child::Child;
use process_demo::memory_of;
use shared::measure::SystemClock;

use super::cache::{self, Found};

/// Where all workers work: threads borrow it, and processes have a copy of it with the same pipes.
pub struct Bench {
    pub workers: usize,
    pub slots: usize,
    pub lookups_each: u64,
    clock: SystemClock,
    reports: PipeReader,
    reporter: PipeWriter,
    gates: Vec<(PipeReader, PipeWriter)>,
}

/// What the workers wait for, one gate after the other. With a single one, a fast worker could come round again and take
/// the byte that a slow one has not taken yet.
#[derive(Clone, Copy)]
enum Gate {
    /// All workers are.
    Ready,
    /// All workers have.
    Finished,
    /// All memory is.
    Weighed,
}

/// What came of it.
pub struct Figures {
    pub lookups: u64,
    pub hits: u64,
    pub right: u64,
    /// Of each lookup, as its worker waits for it.
    pub lookup_ns: f64,
    /// What each worker sees of the counter when all have finished.
    pub counts: Vec<u64>,
    pub pss_bytes: Option<u64>,
}

type Report = [u64; 4];

const PATIENCE_MS: u16 = 60_000; // Only a bound: each worker is certain to report, or its pipe ends.

impl Bench {
    pub fn new(clock: SystemClock, workers: usize, slots: usize, lookups_each: u64) -> Result<Bench> {
        let (reports, reporter) = io::pipe().context("a pipe for reports")?;
        let gates = (0..3).map(|_| io::pipe()).collect::<io::Result<_>>().context("pipes for the gates")?;
        Ok(Bench { workers, slots, lookups_each, clock, reports, reporter, gates })
    }

    /// What a worker does: looks up all its keys, reports, and tells later what the counter says.
    pub fn work(
        &self,
        number: usize,
        look: &mut dyn FnMut(u64) -> io::Result<Found>,
        count: &mut dyn FnMut() -> io::Result<u64>,
    ) -> io::Result<()> {
        self.report([0, 0, 0, count()?])?; // Whoever keeps the counter is ready, once it has answered.
        self.pass(Gate::Ready)?;
        let from_ns = self.clock.now_ns();
        let (mut hits, mut right) = (0, 0);
        for key in cache::keys(number, self.slots, self.lookups_each) {
            let found = look(key)?;
            hits += u64::from(found.was_there);
            right += u64::from(found.is_right);
        }
        self.report([hits, right, self.clock.now_ns() - from_ns, 0])?;
        self.pass(Gate::Finished)?;
        self.report([0, 0, 0, count()?])?;
        self.pass(Gate::Weighed)
    }

    fn pass(&self, gate: Gate) -> io::Result<()> {
        (&self.gates[gate as usize].0).read_exact(&mut [0])
    }

    fn report(&self, report: Report) -> io::Result<()> {
        // One write of less than PIPE_BUF bytes: reports of different workers never mix.
        (&self.reporter).write_all(&report.map(u64::to_ne_bytes).concat())
    }

    /// Leads these processes, which have the workers among them, through it all.
    pub fn watch(&self, family: Vec<Child>) -> Result<Figures> {
        self.hear_all()?;
        self.open(Gate::Ready)?;
        let reports = self.hear_all()?;
        self.open(Gate::Finished)?;
        let counts = self.hear_all()?.into_iter().map(|[.., count]| count).collect();
        let pids: Vec<_> = family.iter().map(Child::pid).collect();
        let pss_bytes = memory_of::of_family(&pids).ok().map(|memory| memory.pss_bytes);
        self.open(Gate::Weighed)?;
        drop(family); // Ends those that have not ended yet.
        let sum = |index: usize| reports.iter().map(|report| report[index]).sum::<u64>();
        let lookups = self.lookups_each * self.workers as u64;
        let lookup_ns = sum(2) as f64 / lookups as f64;
        Ok(Figures { lookups, hits: sum(0), right: sum(1), lookup_ns, counts, pss_bytes })
    }

    /// A byte for each worker.
    fn open(&self, gate: Gate) -> Result<()> {
        (&self.gates[gate as usize].1).write_all(&vec![0; self.workers]).context("opening the gate")
    }

    fn hear_all(&self) -> Result<Vec<Report>> {
        (0..self.workers).map(|_| self.hear()).collect()
    }

    fn hear(&self) -> Result<Report> {
        let mut watched = [PollFd::new(self.reports.as_fd(), PollFlags::POLLIN)];
        if poll(&mut watched, PollTimeout::from(PATIENCE_MS))? == 0 {
            bail!("a worker has reported nothing for {} s", PATIENCE_MS / 1000);
        }
        let mut bytes = [0; size_of::<Report>()];
        (&self.reports).read_exact(&mut bytes).context("hearing from a worker")?;
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
        Ok(std::array::from_fn(|_| words.next().unwrap_or(0)))
    }
}
