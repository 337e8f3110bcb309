//! What does a worker do, be it a thread or a process?

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::thread::sleep;
use std::time::Duration;

use nix::unistd::gettid;
use shared::measure::SystemClock;

/// Where all work: threads borrow it, and a forked process has a copy of it with the same pipes.
pub struct Bench {
    pub reporter: PipeWriter,
    pub gate: PipeReader,
    pub task: Duration,
    /// One clock for all processes of the machine.
    pub clock: SystemClock,
}

impl Bench {
    /// Reports the start, waits at the gate, takes its time, and reports the end.
    #[expect(clippy::disallowed_methods, reason = "the example's worker takes two seconds and does nothing else")]
    pub fn work(&self, kind: &str, number: usize) -> io::Result<()> {
        self.report(kind, number, "started")?;
        (&self.gate).read_exact(&mut [0])?; // It opens when all have reported their start.
        sleep(self.task);
        self.report(kind, number, "finished")
    }

    fn report(&self, kind: &str, number: usize, what: &str) -> io::Result<()> {
        let (pid, tid, at_ns) = (std::process::id(), gettid(), self.clock.now_ns());
        // One write of less than PIPE_BUF bytes: lines of different workers never mix, and keep their order.
        (&self.reporter).write_all(format!("{kind} {number} {pid} {tid} {at_ns} {what}\n").as_bytes())
    }
}

/// What a worker reported.
pub struct Event {
    pub kind: String,
    pub number: usize,
    pub pid: u32,
    pub tid: u32,
    pub at_ns: u64,
    pub what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    Started,
    Finished,
}

impl Event {
    pub fn read(line: &str) -> Option<Event> {
        let mut words = line.split(' ');
        Some(Event {
            kind: words.next()?.to_owned(),
            number: words.next()?.parse().ok()?,
            pid: words.next()?.parse().ok()?,
            tid: words.next()?.parse().ok()?,
            at_ns: words.next()?.parse().ok()?,
            what: match words.next()? {
                "started" => What::Started,
                "finished" => What::Finished,
                _ => return None,
            },
        })
    }

    /// As the timeline names the worker too.
    pub fn name(&self) -> String {
        format!("{} {}", self.kind, self.number)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { kind, number, pid, tid, .. } = self;
        let what = if self.what == What::Started { "started" } else { "finished" };
        write!(f, "Worker {number} {what} ({kind}, pid {pid}, tid {tid})")
    }
}
