//! How does one thread put many connections under load, and measure from when each request was meant to start?

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use shared::measure::SystemClock;

use super::client::{Connection, Outcome};

/// When the next request is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// On each connection as soon as the last one is answered: the server's capacity.
    Closed,
    /// So many per second, whether or not the server keeps up; a late one counts from when it was due.
    Open { per_s: f64 },
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
    /// Connections that never got an answer.
    pub starved: usize,
    /// From the intended start to the answer, of those answered.
    pub latencies_ns: Vec<u64>,
    pub elapsed_ns: u64,
    /// Answers by worker: its number and its process.
    pub by_worker: HashMap<(u32, u32), u64>,
    /// The connections as they were at the end.
    pub open: Vec<Connection>,
}

impl Seen {
    pub fn per_s(&self) -> f64 {
        self.right as f64 * 1e9 / self.elapsed_ns.max(1) as f64
    }

    /// The share of the worker that answered most.
    pub fn busiest(&self) -> Option<f64> {
        let most = self.by_worker.values().max()?;
        Some(*most as f64 / self.right.max(1) as f64)
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

/// Keeps so many connections under load for a time; they stay open as long as what is returned.
pub fn put(
    clock: SystemClock,
    address: SocketAddr,
    connections: usize,
    pace: Pace,
    duration: Duration,
) -> Result<Seen> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("an epoll")?;
    let slots = (0..connections).map(|_| Slot { connection: None, asked: None, answers: 0 }).collect();
    let (start_ns, seen) = (clock.now_ns(), Seen::default());
    let mut load =
        Load { clock, address, epoll, slots, idle: (0..connections).collect(), refused: Vec::new(), next_id: 1, seen };
    match pace {
        Pace::Closed => load.closed(start_ns, duration)?,
        Pace::Open { per_s } => load.open(start_ns, per_s, duration)?,
    }
    load.seen.starved = load.slots.iter().filter(|slot| slot.answers == 0).count();
    load.seen.open = load.slots.into_iter().filter_map(|slot| slot.connection).collect();
    Ok(load.seen)
}

struct Load {
    clock: SystemClock,
    address: SocketAddr,
    epoll: Epoll,
    slots: Vec<Slot>,
    idle: VecDeque<usize>,
    /// Slots whose connection was refused: they try again a little later.
    refused: Vec<usize>,
    next_id: u64,
    seen: Seen,
}

struct Slot {
    connection: Option<Connection>,
    /// The request on its way, and when it was meant to start.
    asked: Option<(u64, u64)>,
    answers: u64,
}

const TIMER: u64 = u64::MAX;
const PATIENCE_NS: u64 = 10_000_000_000; // Only a bound.

impl Load {
    fn closed(&mut self, start_ns: u64, duration: Duration) -> Result<()> {
        let end_ns = start_ns + duration.as_nanos() as u64;
        loop {
            let now_ns = self.clock.now_ns();
            // On a busy machine it may take longer until there is anything to count.
            if now_ns >= end_ns && (self.seen.right > 0 || now_ns >= end_ns + PATIENCE_NS) {
                self.seen.elapsed_ns = now_ns - start_ns;
                return Ok(());
            }
            while let Some(slot) = self.idle.pop_front() {
                self.ask(slot, self.clock.now_ns())?;
            }
            self.hear(end_ns.max(now_ns + 1_000_000))?;
        }
    }

    fn open(&mut self, start_ns: u64, per_s: f64, duration: Duration) -> Result<()> {
        let timer = ticking(per_s)?;
        self.epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER)).context("watching the timer")?;
        let all = (duration.as_secs_f64() * per_s) as u64;
        let due_ns = |number: u64| start_ns + (number as f64 * 1e9 / per_s) as u64;
        let end_ns = due_ns(all);
        let patience_end_ns = end_ns + duration.as_nanos() as u64 / 2;
        let (mut due, mut sent) = (0, 0);
        loop {
            let now_ns = self.clock.now_ns();
            while due < all && due_ns(due) <= now_ns {
                due += 1;
            }
            // Those that find no free connection wait here, and their time counts.
            while sent < due
                && let Some(slot) = self.idle.pop_front()
            {
                self.ask(slot, due_ns(sent))?;
                sent += 1;
            }
            let answered = self.seen.right + self.seen.wrong + self.seen.lost;
            if answered == all || now_ns >= patience_end_ns {
                self.seen.unanswered = all - answered;
                self.seen.elapsed_ns = now_ns - start_ns;
                return Ok(());
            }
            if due == all {
                let _ = timer.unset(); // What is left is answers; fails for no valid timer.
            }
            if self.hear(patience_end_ns)? {
                let _ = nix::unistd::read(&timer, &mut [0; 8]); // How often it has ticked: the clock knows better.
            }
        }
    }

    /// Sends the next request on this connection, which it opens if need be.
    fn ask(&mut self, slot: usize, intended_ns: u64) -> Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        let place = &mut self.slots[slot];
        let connection = match &mut place.connection {
            Some(connection) => connection,
            empty => {
                let connection = match Connection::open(self.address) {
                    Ok(connection) => connection,
                    // Between the death of the last worker and the start of the next, nobody may listen.
                    Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
                        self.seen.lost += 1;
                        self.refused.push(slot);
                        return Ok(());
                    }
                    Err(error) => return Err(error).context("connecting to the server"),
                };
                let event = EpollEvent::new(EpollFlags::EPOLLIN, slot as u64);
                self.epoll.add(&connection, event).context("watching a connection")?;
                empty.insert(connection)
            }
        };
        place.asked = Some((id, intended_ns));
        if !connection.ask(&format!("/task/{id}")) {
            self.lose(slot);
        }
        Ok(())
    }

    /// Waits for answers until then, and takes those that have come; tells whether the timer has ticked.
    fn hear(&mut self, until_ns: u64) -> Result<bool> {
        let left_ms = until_ns.saturating_sub(self.clock.now_ns()).div_ceil(1_000_000);
        let left_ms = if self.refused.is_empty() { left_ms } else { left_ms.min(1) };
        let mut events = [EpollEvent::empty(); 64];
        let timeout = EpollTimeout::try_from(left_ms).unwrap_or(EpollTimeout::MAX);
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error).context("waiting for answers"),
        };
        let mut ticked = false;
        for event in &events[..count] {
            match event.data() {
                TIMER => ticked = true,
                slot => self.take(slot as usize),
            }
        }
        self.idle.extend(self.refused.drain(..));
        Ok(ticked)
    }

    fn take(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        let Some(connection) = &mut place.connection else { return };
        let Some((id, intended_ns)) = place.asked else {
            return place.connection = None; // An idle connection that the server has closed.
        };
        match connection.outcome(id) {
            Outcome::NotYet => return,
            Outcome::Lost => return self.lose(slot),
            Outcome::Wrong => {
                self.seen.wrong += 1;
                place.connection = None;
            }
            Outcome::Answered(reply) => {
                self.seen.right += 1;
                self.seen.latencies_ns.push(self.clock.now_ns() - intended_ns);
                *self.seen.by_worker.entry((reply.worker, reply.pid)).or_default() += 1;
                place.answers += 1;
                if reply.closes {
                    place.connection = None;
                }
            }
        }
        place.asked = None;
        self.idle.push_back(slot);
    }

    fn lose(&mut self, slot: usize) {
        self.seen.lost += 1;
        (self.slots[slot].connection, self.slots[slot].asked) = (None, None);
        self.idle.push_back(slot);
    }
}

/// Wakes so often: a time-out of epoll counts in milliseconds, which is too coarse.
fn ticking(per_s: f64) -> Result<TimerFd> {
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK);
    let timer = timer.context("a timer")?;
    let interval = TimeSpec::from_duration(Duration::from_secs_f64(1.0 / per_s).max(Duration::from_micros(20)));
    timer.set(Expiration::Interval(interval), TimerSetTimeFlags::empty()).context("setting the timer")?;
    Ok(timer)
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
