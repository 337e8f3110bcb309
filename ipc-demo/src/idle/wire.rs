//! A sender, a receiver, and one mechanism between them: how late is each message of a series that is sent on time?

use std::hint::spin_loop;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::sys::prctl::set_timerslack;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use nix::unistd::{Pid, gettid};
use process_demo::asleep::look_until;
use process_demo::crew::Kind::{self, Processes, Threads};
use process_demo::crew::{Arguments, Crew};
use process_demo::duel::{Endpoint, Message};
use shared::measure::{Pinning, SystemClock};

use crate::asleep::wait_until_asleep;
use crate::mechanisms::{channels, kernel, memory};

pub struct Mechanism {
    pub name: &'static str,
    /// What the sender and the receiver are.
    pub between: Kind,
    open: fn() -> Result<[Box<dyn Endpoint>; 2]>,
}

pub const SPINNING: &str = "ring, spinning";
pub const ADAPTIVE: &str = "ring, adaptive";
pub const SLEEPING: &str = "ring, sleeping";
pub const FUTEX: &str = "futex";

/// The first three are one ring, and differ in how its reader waits.
pub const MECHANISMS: [Mechanism; 7] = [
    Mechanism { name: SPINNING, between: Processes, open: || boxed(channels::rings_spinning()) },
    Mechanism { name: ADAPTIVE, between: Processes, open: || boxed(channels::rings()) },
    Mechanism { name: SLEEPING, between: Processes, open: || boxed(channels::rings_sleeping()) },
    Mechanism { name: FUTEX, between: Processes, open: || boxed(memory::with(|_, _| Ok(memory::Futex))) },
    Mechanism { name: "pipe", between: Processes, open: || boxed(kernel::pipes()) },
    Mechanism { name: "eventfd", between: Processes, open: || boxed(memory::events()) },
    Mechanism {
        name: "crossbeam",
        between: Threads,
        open: || boxed(channels::crossbeam(|| crossbeam_channel::bounded(memory::SLOTS))),
    },
];

fn boxed(ends: Result<(impl Endpoint, impl Endpoint)>) -> Result<[Box<dyn Endpoint>; 2]> {
    let (ours, theirs) = ends?;
    Ok([Box::new(ours), Box::new(theirs)])
}

impl Mechanism {
    /// Whether the receiver ever gives its CPU back while it waits.
    pub fn sleeps(&self) -> bool {
        self.name != SPINNING
    }

    /// Whether there is time to see the receiver asleep before each message.
    pub fn is_seen_asleep(&self, gap_ns: u64) -> bool {
        self.sleeps() && gap_ns > 2 * LOOK_AHEAD_NS
    }
}

/// What a sender and a receiver have between them. If they are processes, each has a copy, and uses its own half.
struct Wire {
    mechanism: &'static Mechanism,
    sender: Mutex<Half>,
    receiver: Mutex<Half>,
    board: SharedRegion,
    pinning: Pinning,
    clock: SystemClock,
}

struct Half {
    endpoint: Box<dyn Endpoint>,
    /// The number of the next message.
    next: u64,
}

/// What the receiver tells of a series, in memory that both see.
#[repr(C)]
struct Board {
    /// Its thread, from when it begins to wait for the series.
    waiting: AtomicU64,
    /// Messages so far, in all series.
    received: AtomicU64,
    used: [AtomicU64; 3],
    /// Of each message: from just before it was sent, and from when it was due, until the receiver had it.
    late_ns: [[AtomicU64; 2]; LONGEST],
}

const LONGEST: usize = 3_000; // Messages of a series.

/// What came of a series.
pub struct Series {
    pub sent: u64,
    /// What arrived whole, with the number that was next, and not before it was sent.
    pub right: u64,
    /// Messages before which the receiver was seen asleep.
    pub asleep: u64,
    pub from_sent_ns: Vec<f64>,
    pub from_due_ns: Vec<f64>,
    /// What it took until the receiver had all of them.
    pub wall_ns: u64,
    /// Of the receiver: CPU time, and voluntary context switches, one each time that it gave its CPU away to wait.
    pub cpu_ns: u64,
    pub sleeps: u64,
}

const LOOK_AHEAD_NS: u64 = 1_000_000; // Reading /proc takes a few hundredths of this.
pub const IN_FLIGHT: u64 = memory::SLOTS as u64; // As many messages as every mechanism has room for.

/// A sender and a receiver, both asleep until it is their turn.
pub struct Pair {
    wire: Arc<Wire>,
    crew: Crew<Arc<Wire>>,
}

const SENDER: usize = 0;
const RECEIVER: usize = 1;

impl Pair {
    pub fn start(mechanism: &'static Mechanism, pinning: Pinning, clock: SystemClock) -> Result<Pair> {
        let [sender, receiver] = (mechanism.open)()?.map(|endpoint| Mutex::new(Half { endpoint, next: 0 }));
        let board = SharedRegion::new(size_of::<Board>()).context("a region of shared memory")?;
        let wire = Arc::new(Wire { mechanism, sender, receiver, board, pinning, clock });
        Ok(Pair { crew: Crew::of(mechanism.between, 2, || Ok(Arc::clone(&wire)))?, wire })
    }

    /// Has so many messages sent, one after each gap.
    pub fn begin(&mut self, gap_ns: u64, messages: u64) {
        self.crew.tell(RECEIVER, receive, [messages, 0, 0]);
        self.crew.tell(SENDER, send, [messages, gap_ns, 0]);
    }

    /// Waits until they were received.
    pub fn end(&mut self, sent: u64) -> Result<Series> {
        let asleep = self.crew.hear(SENDER)?.value()?; // An error too if the receiver does not get them all.
        let right = self.crew.hear(RECEIVER)?.value()?;
        let board = self.wire.board();
        let late_ns = |from: usize| {
            let all = board.late_ns[..sent as usize].iter();
            all.map(|late_ns| late_ns[from].load(Relaxed) as f64).collect()
        };
        let [wall_ns, cpu_ns, sleeps] = board.used.each_ref().map(|used| used.load(Relaxed));
        let (from_sent_ns, from_due_ns) = (late_ns(0), late_ns(1));
        Ok(Series { sent, right, asleep, from_sent_ns, from_due_ns, wall_ns, cpu_ns, sleeps })
    }
}

impl Wire {
    fn board(&self) -> &Board {
        // SAFETY: the region is as large as this, zeroed, aligned to a page, and lives as long as the reference; atomics
        // may have any value, and be changed by others.
        unsafe { &*self.board.as_ptr().cast::<Board>() }
    }

    /// Waits until the receiver has told something.
    fn told<T>(&self, look: impl Fn(&Board) -> Option<T>) -> Result<T> {
        let look = || anyhow::Ok(look(self.board()));
        look_until(self.clock, look)?.context("the receiver has got nothing for ten seconds")
    }

    /// By an absolute timer, which no interruption or delay before it makes later; not at all if that is over.
    fn sleep_until(&self, until_ns: u64) -> Result<()> {
        let until = TimeSpec::from_duration(Duration::from_nanos(until_ns));
        while self.clock.now_ns() < until_ns {
            match clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &until) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The sender's task: each message is sent when it is due, or at once if that is over. Before how many of them the
/// receiver was seen asleep.
fn send(wire: &mut Arc<Wire>, [messages, gap_ns, _]: Arguments) -> Result<u64> {
    let _pinned = wire.pinning.own.pin()?;
    set_timerslack(1)?; // The kernel else lets this thread's timers be 50 us late, to let several end as one.
    // A timer is late by tens of microseconds; but who spins on the receiver's CPU would keep it from running.
    let spin_ns = if wire.pinning.own == wire.pinning.peer { 0 } else { 100_000 };
    let Half { endpoint, next } = &mut *wire.sender.lock().unwrap();
    endpoint.claim()?;
    let receiver = wire.told(|board| Some(board.waiting.load(Acquire)).filter(|thread| *thread != 0))?;
    let receiver = Pid::from_raw(receiver as i32);
    let begin_ns = wire.clock.now_ns() - gap_ns / 10; // At 10 per second, not to meet a ring that looks each 100 ms.
    let mut asleep = 0;
    for count in 1..=messages {
        let due_ns = begin_ns + count * gap_ns;
        wire.told(|board| (board.received.load(Acquire) + IN_FLIGHT > *next).then_some(()))?;
        if wire.mechanism.is_seen_asleep(gap_ns) {
            wire.sleep_until(due_ns.saturating_sub(LOOK_AHEAD_NS))?;
            asleep += u64::from(wait_until_asleep(receiver, wire.clock)?);
        }
        wire.sleep_until(due_ns.saturating_sub(spin_ns))?;
        while wire.clock.now_ns() < due_ns {
            spin_loop();
        }
        endpoint.send(timed(*next, due_ns, wire.clock.now_ns()))?;
        *next += 1;
    }
    wire.told(|board| (board.received.load(Acquire) == *next).then_some(()))?;
    Ok(asleep)
}

/// The receiver's task; how many messages were right: whole, the next one, and not there before they were sent.
fn receive(wire: &mut Arc<Wire>, [messages, ..]: Arguments) -> Result<u64> {
    let _pinned = wire.pinning.peer.pin()?;
    let Half { endpoint, next } = &mut *wire.receiver.lock().unwrap();
    endpoint.claim()?;
    let board = wire.board();
    let places = board.late_ns.get(..messages as usize).context("a series that is too long")?;
    places.iter().flatten().for_each(|place| place.store(0, Relaxed)); // Now their pages are here.
    let mut right = 0;
    let begin = used_so_far(wire.clock)?;
    board.waiting.store(gettid().as_raw() as u64, Release);
    for [from_sent, from_due] in places {
        let message = endpoint.receive()?;
        let now_ns = wire.clock.now_ns();
        let Message([_, due_ns, sent_ns, ..]) = message;
        from_sent.store(now_ns.saturating_sub(sent_ns), Relaxed);
        from_due.store(now_ns.saturating_sub(due_ns), Relaxed);
        right += u64::from(message == timed(*next, due_ns, sent_ns) && sent_ns <= now_ns);
        *next += 1;
        board.received.store(*next, Release); // From now on its place may be used again.
    }
    let end = used_so_far(wire.clock)?;
    for (place, (end, begin)) in board.used.iter().zip(end.into_iter().zip(begin)) {
        place.store(end - begin, Relaxed);
    }
    board.waiting.store(0, Relaxed);
    Ok(right)
}

/// A message that tells when it was due and when it was sent. The rest follows from these and from its number, so one
/// that was torn, or mixed with another, is told from it.
fn timed(number: u64, due_ns: u64, sent_ns: u64) -> Message {
    let Message(mut words) = Message::numbered(number ^ due_ns.rotate_left(21) ^ sent_ns.rotate_left(42));
    words[..3].copy_from_slice(&[number, due_ns, sent_ns]);
    Message(words)
}

/// The time, and this thread's CPU time and voluntary context switches.
fn used_so_far(clock: SystemClock) -> Result<[u64; 3]> {
    // getrusage(2) would tell the CPU time too, but as of the scheduler's last look: a spinner's is a tick old.
    let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("reading the thread's CPU time")?;
    let sleeps = getrusage(UsageWho::RUSAGE_THREAD).context("counting sleeps")?.voluntary_context_switches();
    Ok([clock.now_ns(), cpu.num_nanoseconds() as u64, sleeps as u64])
}

#[cfg(test)]
mod tests {
    use process_demo::duel::BYTES;

    use super::*;

    #[test]
    fn a_message_arrives_as_itself_or_not_at_all() {
        let message = timed(7, 1_000, 1_001);
        for torn in 0..BYTES {
            let mut bytes = message.to_bytes();
            bytes[torn] ^= 1;
            let other = Message::from_bytes(bytes);
            let Message([_, due_ns, sent_ns, ..]) = other;
            assert_ne!(other, timed(7, due_ns, sent_ns), "byte {torn}");
        }
    }
}
