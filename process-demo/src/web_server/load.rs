//! How do many clients put a server under load, and measure from when each request was meant to start?

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};
use std::time::Duration;

use anyhow::{Context, Result};
use shared::measure::SystemClock;

use crate::server::client::{Connection, Outcome};
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
pub struct Load {
    /// From the intended start to the right answer; infinite where none came while there was patience.
    pub latencies_ns: Vec<f64>,
    pub wrong: usize,
    /// Clients that never got an answer.
    pub starved: usize,
    pub elapsed_ns: u64,
}

impl Load {
    /// Has so many clients ask for a time, each one request at a time. Gives the connections as they were at the end, too.
    pub fn put(server: &Server, clients: usize, pace: Pace, duration: Duration) -> Result<(Load, Vec<Connection>)> {
        let (start_ns, duration_ns) = (SystemClock.now_ns(), duration.as_nanos() as u64);
        let (sent, is_answering) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = Clients { server, pace, start_ns, duration_ns, sent, is_answering };
        let (mut all, mut all_open) = (Load::default(), Vec::new());
        thread::scope(|scope| {
            let start = |_| Builder::new().spawn_scoped(scope, || shared.ask()).context("a thread of the client");
            for client in (0..clients).map(start).collect::<Result<Vec<_>>>()? {
                let (one, open) = client.join().unwrap()?;
                all.starved += usize::from(one.right() == 0);
                all.latencies_ns.extend(one.latencies_ns);
                all.wrong += one.wrong;
                all_open.extend(open); // None is closed before all clients are done.
            }
            server.watch([], 0)?; // Fails if something was refused meanwhile.
            all.elapsed_ns = SystemClock.now_ns() - start_ns;
            Ok((all, all_open))
        })
    }

    pub fn right(&self) -> usize {
        self.latencies_ns.iter().filter(|latency_ns| latency_ns.is_finite()).count()
    }

    pub fn per_s(&self) -> f64 {
        self.right() as f64 * 1e9 / self.elapsed_ns.max(1) as f64
    }
}

/// What the clients have in common.
struct Clients<'a> {
    server: &'a Server,
    pace: Pace,
    start_ns: u64,
    duration_ns: u64,
    sent: AtomicU64,
    /// Somebody has had an answer.
    is_answering: AtomicBool,
}

impl Clients<'_> {
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
            Pace::Closed if self.is_answering.load(Relaxed) => 0,
            Pace::Closed => PATIENCE_NS,
        };
        self.start_ns + self.duration_ns + more_ns
    }

    /// One client's requests.
    fn ask(&self) -> Result<(Load, Option<Connection>)> {
        let (mut own, mut open) = (Load::default(), None);
        while let Some(due_ns) = self.due_ns() {
            ready(&[], due_ns)?; // Nothing can be: it waits for its time.
            let mut connection = open.take().map_or_else(|| self.server.connect(), Ok)?;
            match self.pace {
                Pace::Closed => connection.ask(due_ns),
                Pace::Paced { .. } => connection.ask_once(due_ns),
            }
            let mut outcome = Outcome::NotYet;
            while outcome == Outcome::NotYet && SystemClock.now_ns() < self.end_ns() {
                outcome = connection.wait(self.end_ns().min(SystemClock.now_ns() + 10_000_000));
            }
            let is_answered = matches!(outcome, Outcome::Answered(_));
            if is_answered {
                self.is_answering.store(true, Relaxed); // It only says how long to wait.
            }
            own.wrong += usize::from(outcome == Outcome::Wrong);
            own.latencies_ns.push(if is_answered { (SystemClock.now_ns() - due_ns) as f64 } else { f64::INFINITY });
            let goes_on = is_answered && self.pace == Pace::Closed && self.server.model.keeps();
            open = (goes_on || outcome == Outcome::NotYet).then_some(connection);
        }
        Ok((own, open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_request_is_no_answer_and_later_than_any() {
        let load = Load { latencies_ns: vec![3.0, f64::INFINITY, 1.0], elapsed_ns: 2_000_000_000, ..Load::default() };
        assert_eq!((load.right(), load.per_s()), (2, 1.0));
        assert_eq!(shared::stats::p99(&load.latencies_ns), f64::INFINITY);
    }
}
