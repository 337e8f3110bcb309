//! How do many clients put a server under load, and measure from when each request was meant to start?

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};
use std::time::Duration;

use anyhow::{Context, Result};
use shared::measure::SystemClock;

use crate::server::client::{Connection, Holder, Outcome};
use crate::server::{Server, ready};

/// When the next request is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// On each connection as soon as the last one is answered: the server's capacity.
    Closed,
    /// So many per second, each on a connection of its own, whether or not the server keeps up.
    Paced { per_s: f64 },
}

/// What came of it.
#[derive(Default)]
pub struct Seen {
    pub right: u64,
    pub wrong: u64,
    /// Requests whose connection ended before their answer was whole.
    pub lost: u64,
    /// Requests that were due, and never answered while there was patience.
    pub unanswered: u64,
    /// Clients that never got an answer.
    pub starved: usize,
    /// From the intended start to the answer, of those answered.
    pub latencies_ns: Vec<u64>,
    pub elapsed_ns: u64,
    pub by_worker: HashMap<Holder, u64>,
    /// The connections as they were at the end.
    pub open: Vec<Connection>,
}

impl Seen {
    pub fn per_s(&self) -> f64 {
        self.right as f64 * 1e9 / self.elapsed_ns.max(1) as f64
    }

    /// By nearest rank among all that were due, the unanswered as later than any; none if the rank falls on these.
    pub fn percentile_ns(&self, percent: u64) -> Option<f64> {
        let all = self.latencies_ns.len() as u64 + self.unanswered;
        let rank = (all * percent).div_ceil(100).max(1);
        let mut sorted = self.latencies_ns.clone();
        sorted.sort_unstable();
        sorted.get(rank as usize - 1).map(|&ns| ns as f64)
    }
}

/// Has so many clients ask for a time, each one request at a time.
pub fn put(server: &Server, clients: usize, pace: Pace, duration: Duration) -> Result<Seen> {
    let (start_ns, duration_ns) = (SystemClock.now_ns(), duration.as_nanos() as u64);
    let load = Load { server, pace, start_ns, duration_ns, sent: AtomicU64::new(0), seen: Mutex::default() };
    thread::scope(|scope| {
        let start = |_| Builder::new().spawn_scoped(scope, || load.client()).context("a thread of the client");
        let clients = (0..clients).map(start).collect::<Result<Vec<_>>>()?;
        clients.into_iter().try_for_each(|client| client.join().unwrap())
    })?;
    server.watch([], 0)?; // Fails if something was refused meanwhile.
    let elapsed_ns = SystemClock.now_ns() - start_ns;
    Ok(Seen { elapsed_ns, ..load.seen.into_inner().unwrap() })
}

/// What the clients have in common.
struct Load<'a> {
    server: &'a Server,
    pace: Pace,
    start_ns: u64,
    duration_ns: u64,
    sent: AtomicU64,
    seen: Mutex<Seen>,
}

impl Load<'_> {
    /// When the next request is due; none after the last.
    fn due_ns(&self) -> Option<u64> {
        let number = self.sent.fetch_add(1, Relaxed); // Only a count: nothing else is published by it.
        let due_ns = match self.pace {
            Pace::Closed => SystemClock.now_ns(),
            Pace::Paced { per_s } => self.start_ns + (number as f64 * 1e9 / per_s) as u64,
        };
        (due_ns < self.start_ns + self.duration_ns).then_some(due_ns)
    }

    /// Until that moment answers are waited for: with a pace, half as much time again. On a busy machine it may take
    /// longer until there is any.
    fn end_ns(&self) -> u64 {
        const PATIENCE_NS: u64 = 10_000_000_000; // Only a bound.
        let more_ns = match self.pace {
            Pace::Paced { .. } => self.duration_ns / 2,
            Pace::Closed if self.seen.lock().unwrap().right == 0 => PATIENCE_NS,
            Pace::Closed => 0,
        };
        self.start_ns + self.duration_ns + more_ns
    }

    fn client(&self) -> Result<()> {
        let (mut open, mut answers) = (None, 0);
        while let Some(due_ns) = self.due_ns() {
            ready(&[], due_ns)?; // Nothing can be: it waits for its time.
            let mut connection = match open.take().map_or_else(|| Connection::open(self.server.address), Ok) {
                Ok(connection) => connection,
                // Between the death of the last worker and the start of the next, nobody may listen.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
                    self.count(Outcome::Lost, due_ns);
                    ready(&[], SystemClock.now_ns() + 1_000_000)?;
                    continue;
                }
                Err(error) => return Err(error).context("connecting to the server"),
            };
            match self.pace {
                Pace::Closed => connection.ask(due_ns),
                Pace::Paced { .. } => connection.ask_once(due_ns),
            }
            let mut outcome = Outcome::NotYet;
            while outcome == Outcome::NotYet && SystemClock.now_ns() < self.end_ns() {
                outcome = connection.wait(self.end_ns().min(SystemClock.now_ns() + 10_000_000));
            }
            self.count(outcome, due_ns);
            match outcome {
                Outcome::Answered(_) => {
                    answers += 1;
                    open = (self.pace == Pace::Closed && self.server.model.keeps()).then_some(connection);
                }
                Outcome::NotYet => open = Some(connection), // There is no time for another one.
                Outcome::Lost | Outcome::Wrong => {}
            }
        }
        let mut seen = self.seen.lock().unwrap();
        seen.starved += usize::from(answers == 0);
        seen.open.extend(open);
        Ok(())
    }

    fn count(&self, outcome: Outcome, due_ns: u64) {
        let mut seen = self.seen.lock().unwrap();
        match outcome {
            Outcome::Lost => seen.lost += 1,
            Outcome::Wrong => seen.wrong += 1,
            Outcome::NotYet => seen.unanswered += 1,
            Outcome::Answered(by) => {
                seen.right += 1;
                seen.latencies_ns.push(SystemClock.now_ns() - due_ns);
                *seen.by_worker.entry(by).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_request_counts_as_later_than_any() {
        let seen = Seen { latencies_ns: vec![3, 1, 2], unanswered: 1, ..Seen::default() };
        assert_eq!((seen.percentile_ns(50), seen.percentile_ns(75)), (Some(2.0), Some(3.0)));
        assert_eq!(seen.percentile_ns(99), None);
    }
}
