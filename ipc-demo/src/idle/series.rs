//! Round after round, pace after pace: each mechanism gets its series of messages in turn, each message when it is due,
//! so that what disturbs one disturbs all.

use std::hint::spin_loop;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipc_demo::pipe_pair::{PipeEnd, pipe_pair};
use nix::errno::Errno;
use nix::sched::sched_getcpu;
use nix::sys::prctl::set_timerslack;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use nix::unistd::{Pid, gettid};
use process_demo::child::{Child, Exit, fork};
use process_demo::crew::Kind;
use shared::measure::{PinTo, Pinning, SystemClock};
use shared::{Effort, refused, stats};

use super::mechanisms::{Message, Opening, ReceiveOne, SLOTS, SendOne, WAYS, Way};
use crate::asleep::wait_until_asleep;

/// How much is sent.
pub struct Plan {
    pub rounds: u64,
    /// Messages per second, and how many make a series; slowest first.
    pub paces: &'static [(u64, u64)],
    /// So long nobody sends anything. No multiple of the 100 ms after which a sleeping ring looks for its peer: the end
    /// is not to meet a receiver that is awake by chance.
    pub silence_ns: u64,
}

/// All receivers, each asleep until it is its turn; or why there is none.
pub struct Receivers {
    pinning: Pinning,
    all: Vec<(Way, Result<Receiver, String>)>,
}

/// One way at one pace.
pub struct Row {
    pub way: Way,
    pub per_second: u64,
    pub figures: Result<Figures, String>,
}

/// What all series of a row gave, but for the messages that are shown apart.
#[derive(Default)]
pub struct Figures {
    pub from_sent_ns: Vec<f64>,
    pub from_due_ns: Vec<f64>,
    /// From sending too, of the first messages, where they come after a longer wait than the others.
    pub first_ns: Vec<f64>,
    /// The median of each round's series.
    pub rounds_ns: Vec<f64>,
    pub receiver: Usage,
    pub sender: Usage,
    /// Counts of all messages, the first ones too.
    pub sent: u64,
    pub right: u64,
    pub impossible: u64,
    pub late: u64,
    /// Messages before which the receiver was seen asleep.
    pub asleep: u64,
    pub series: u64,
    pub seated: u64,
}

/// What one receiver did while nobody sent anything.
pub type Silence = (Way, Usage);

const PAUSE_NS: u64 = 2_000_000; // Before a series: longer than an idle CPU takes to find its deepest sleep.

impl Plan {
    pub fn of(effort: Effort) -> Plan {
        const MS: u64 = 1_000_000;
        match effort {
            Effort::Quick => Plan { rounds: 2, paces: &[(100, 2), (10_000, 60), (100_000, 300)], silence_ns: 330 * MS },
            Effort::Normal => Plan {
                rounds: 12, // The fewest at which one disturbed round leaves a ratio's interval as it is.
                paces: &[(10, 1), (100, 2), (1_000, 10), (10_000, 100), (100_000, 600)],
                silence_ns: 1_050 * MS,
            },
            Effort::Thorough => Plan {
                rounds: 20,
                paces: &[(10, 2), (100, 10), (1_000, 50), (10_000, 500), (100_000, 3_000)],
                silence_ns: 3_050 * MS,
            },
        }
    }

    pub fn slowest(&self) -> u64 {
        self.paces.first().map_or(0, |pace| pace.0)
    }

    pub fn fastest(&self) -> u64 {
        self.paces.last().map_or(0, |pace| pace.0)
    }
}

impl Receivers {
    /// Processes before threads, for a process with threads does not fork.
    pub fn start(pinning: Pinning, clock: SystemClock) -> Result<Receivers> {
        let start = |way: Way| match Receiver::start(way, pinning.peer, clock) {
            Ok(receiver) => Ok((way, Ok(receiver))),
            Err(error) => match refused(&error) {
                Some(why) => Ok((way, Err(why))),
                None => Err(error),
            },
        };
        let all = WAYS.into_iter().map(start).collect::<Result<_>>()?;
        Ok(Receivers { pinning, all })
    }

    /// Sends all series of the plan, after one to each that is not counted.
    pub fn measure(&mut self, plan: &Plan, pacer: Pacer) -> Result<Vec<Row>> {
        let mut rows = self.rows(plan);
        for (way, receiver) in &mut self.all {
            if let Ok(receiver) = receiver {
                let not_counted = &mut Figures::default();
                pacer.run(receiver, series(*way, plan.fastest(), WARM_UP), not_counted).context(way.name())?;
            }
        }
        for round in 0..plan.rounds {
            for &pace in plan.paces {
                // A B, then B A: a drift in time hits all alike.
                let all = 0..self.all.len();
                let order: Vec<usize> = if round % 2 == 0 { all.collect() } else { all.rev().collect() };
                for turn in order {
                    self.take_turn(turn, pace, &mut rows, pacer)?;
                }
            }
        }
        Ok(rows)
    }

    fn take_turn(
        &mut self,
        turn: usize,
        (per_second, messages): (u64, u64),
        rows: &mut [Row],
        pacer: Pacer,
    ) -> Result<()> {
        let (way, receiver) = &mut self.all[turn];
        let row = rows.iter_mut().find(|row| row.way == *way && row.per_second == per_second);
        if let (Ok(receiver), Some(Row { figures: Ok(figures), .. })) = (receiver, row) {
            let cpu = pacer.run(receiver, series(*way, per_second, messages), figures).context(way.name())?;
            figures.seated += u64::from(self.pinning.peer == PinTo::Cpu(cpu as usize));
        }
        Ok(())
    }

    /// Sends nobody anything for so long; then one message to each, so that it can report.
    pub fn keep_silent(&mut self, plan: &Plan, pacer: Pacer, clock: SystemClock) -> Result<Vec<Silence>> {
        let mut waiting = Vec::new();
        for (way, receiver) in &mut self.all {
            if let (Ok(receiver), true) = (receiver, way.sleeps()) {
                let who: Pid = receiver.order(1, 0)?;
                wait_until_asleep(who, clock).context(way.name())?;
                waiting.push((*way, receiver));
            }
        }
        pacer.sleep_until(clock.now_ns() + plan.silence_ns)?;
        let mut silences = Vec::new();
        for (way, receiver) in waiting {
            receiver.send(clock.now_ns(), clock)?;
            silences.push((way, receiver.report()?.usage));
        }
        Ok(silences)
    }

    /// Tells all to end; returns how many did so well, and of how many.
    pub fn end(self) -> Result<(usize, usize)> {
        let receivers: Vec<Receiver> = self.all.into_iter().filter_map(|(_, receiver)| receiver.ok()).collect();
        let all = receivers.len();
        let ended = receivers.into_iter().map(Receiver::end).collect::<Result<Vec<bool>>>()?;
        Ok((ended.into_iter().filter(|&well| well).count(), all))
    }

    /// Empty ones, by pace, for those that are there.
    fn rows(&self, plan: &Plan) -> Vec<Row> {
        let row = |per_second, (way, receiver): &(Way, Result<Receiver, String>)| {
            let figures = receiver.as_ref().map(|_| Figures::default()).map_err(String::clone);
            Row { way: *way, per_second, figures }
        };
        plan.paces.iter().flat_map(|pace| self.all.iter().map(|one| row(pace.0, one))).collect()
    }
}

const WARM_UP: u64 = 300; // Once round the ring of 256: every page is there, and every way has run.

fn series(way: Way, per_second: u64, messages: u64) -> Series {
    let gap_ns = 1_000_000_000 / per_second;
    // The pause before a series stands for a gap where that is longer. Somewhat shorter, so that at 10 per second it
    // does not end with the 100 ms of a sleeping ring.
    let (lead_ns, apart) = if gap_ns > PAUSE_NS { (gap_ns / 10 * 9, 0) } else { (PAUSE_NS, 1) };
    Series { gap_ns, messages, lead_ns, apart, is_seen: way.sleeps() && gap_ns > PAUSE_NS }
}

impl Figures {
    fn add(&mut self, series: Series, report: &Report) {
        let apart = series.apart as usize;
        let usual_ns = &report.from_sent_ns[apart..];
        self.rounds_ns.push(stats::median(usual_ns).value);
        self.from_sent_ns.extend(usual_ns);
        self.from_due_ns.extend(&report.from_due_ns[apart..]);
        self.first_ns.extend(&report.from_sent_ns[..apart]);
        self.receiver = self.receiver.and(report.usage);
        self.sent += series.messages;
        self.right += report.right;
        self.impossible += report.impossible;
        self.series += 1;
    }

    pub fn median_ns(&self) -> f64 {
        stats::median(&self.from_sent_ns).value
    }
}

/// The figures of a way at a pace, if it could be had.
pub fn figures(rows: &[Row], way: Way, per_second: u64) -> Option<&Figures> {
    rows.iter().find(|row| row.way == way && row.per_second == per_second)?.figures.as_ref().ok()
}

/// Wakes the sender up when a message is due.
#[derive(Clone, Copy)]
pub struct Pacer {
    clock: SystemClock,
    /// So long before, its sleep ends, and it looks at the clock without rest: a timer is late by tens of microseconds.
    spin_ns: u64,
}

/// What is sent to one receiver in one go.
#[derive(Clone, Copy)]
struct Series {
    gap_ns: u64,
    messages: u64,
    /// The first one is due so long after the receiver began to wait; then one follows each gap.
    lead_ns: u64,
    /// The first ones, shown apart, for they come after a longer wait than the others.
    apart: u64,
    /// Whether the receiver is to be seen asleep before each message: not if it never sleeps, or the gap is too short.
    is_seen: bool,
}

pub const LATE_NS: u64 = 1_000; // The pacer hits the moment within a tenth of this, unless it is kept from it.

const LOOK_AHEAD_NS: u64 = 1_000_000; // Reading /proc takes a few hundredths of this.

impl Pacer {
    /// One that spins for so long before each moment; not at all if the receiver needs the same CPU. Then it is as late
    /// as its timer.
    pub fn new(clock: SystemClock, spin_ns: u64) -> Result<Pacer> {
        set_timerslack(1)?; // The kernel else lets this thread's timers be 50 us late, to let several end as one.
        Ok(Pacer { clock, spin_ns })
    }

    /// Sends a series, each message when it is due, or at once if that is over, and adds what came of it; the
    /// CPU on which the receiver ended it.
    fn run(self, receiver: &mut Receiver, series: Series, figures: &mut Figures) -> Result<u64> {
        let who = receiver.order(series.messages, series.apart)?;
        let mut begin = Usage::so_far(self.clock)?;
        let first_ns = begin.wall_ns + series.lead_ns;
        for index in 0..series.messages {
            let due_ns = first_ns + index * series.gap_ns;
            if series.is_seen {
                self.sleep_until(due_ns.saturating_sub(LOOK_AHEAD_NS))?;
                ensure!(wait_until_asleep(who, self.clock)?, "the receiver has ended");
                figures.asleep += 1;
            }
            self.wait_until(due_ns)?;
            figures.late += u64::from(receiver.send(due_ns, self.clock)? > due_ns + LATE_NS);
            if index + 1 == series.apart {
                begin = Usage::so_far(self.clock)?;
            }
        }
        figures.sender = figures.sender.and(Usage::so_far(self.clock)?.since(begin));
        let report = receiver.report()?;
        figures.add(series, &report);
        Ok(report.cpu)
    }

    fn wait_until(self, due_ns: u64) -> Result<()> {
        self.sleep_until(due_ns.saturating_sub(self.spin_ns))?;
        while self.clock.now_ns() < due_ns {
            spin_loop();
        }
        Ok(())
    }

    /// Sleeps until then by an absolute timer, which no interruption or delay before it makes later; not at all if that
    /// is over.
    fn sleep_until(self, until_ns: u64) -> Result<()> {
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

/// A receiver that sleeps at its control pipe until it is ordered to wait for messages.
struct Receiver {
    send: SendOne,
    control: PipeEnd,
    life: Life,
    next: u64,
}

enum Life {
    Process(Child),
    Thread(JoinHandle<Result<()>>),
}

/// What the receiver saw of one series.
struct Report {
    /// From just before the message was sent, and from when it was due, until the receiver had it; one for each.
    from_sent_ns: Vec<f64>,
    from_due_ns: Vec<f64>,
    /// Whole, and with the number that was next.
    right: u64,
    /// Received before it was sent, if the two clocks were not one.
    impossible: u64,
    usage: Usage,
    cpu: u64,
}

/// The longest series: so much room for samples is made, and touched, before the first.
const LONGEST: u64 = SLOTS as u64;

impl Receiver {
    /// Starts one. A process may be started only while this one has no second thread.
    fn start(way: Way, pin_to: PinTo, clock: SystemClock) -> Result<Receiver> {
        let wire = way.open().with_context(|| format!("opening: {}", way.name()))?;
        let (control, theirs) = pipe_pair()?;
        let receiver = wire.receiver;
        let life = match way.between() {
            Kind::Processes => {
                let work = move || u8::from(serve(theirs, receiver, pin_to, clock).is_err());
                // SAFETY: what the child uses of this process are descriptors and atomic words in shared memory; no
                // lock lies there.
                Life::Process(unsafe { fork(work) }.context("starting a process")?)
            }
            Kind::Threads => {
                let work = move || serve(theirs, receiver, pin_to, clock);
                Life::Thread(Builder::new().spawn(work).context("starting a thread")?)
            }
        };
        let send = (wire.sender)()?; // After the fork: the child is not to have a copy of this end.
        Ok(Receiver { send, control, life, next: 0 })
    }

    /// Lets it wait for so many messages, of which the first are no part of what waiting costs; returns by which number
    /// the kernel knows who waits.
    fn order(&mut self, messages: u64, apart: u64) -> Result<Pid> {
        ensure!((1..=LONGEST).contains(&messages), "a series of {messages} messages");
        send_words(&mut self.control, &[messages, apart])?;
        let [number] = receive_words(&mut self.control)?;
        Ok(Pid::from_raw(i32::try_from(number).context("a thread's number")?))
    }

    /// Sends it the next message, which is due then; returns when it was sent.
    fn send(&mut self, due_ns: u64, clock: SystemClock) -> Result<u64> {
        let sent_ns = clock.now_ns();
        (self.send)(&Message { number: self.next, due_ns, sent_ns }.to_bytes())?;
        self.next += 1;
        Ok(sent_ns)
    }

    /// Takes its report, once everything that was ordered has been sent.
    fn report(&mut self) -> Result<Report> {
        let [right, impossible, cpu, count, wall_ns, cpu_ns, sleeps] = receive_words(&mut self.control)?;
        let mut times = || -> Result<Vec<f64>> {
            (0..count).map(|_| Ok(receive_words::<1>(&mut self.control)?[0] as f64)).collect()
        };
        let (from_sent_ns, from_due_ns) = (times()?, times()?);
        Ok(Report { from_sent_ns, from_due_ns, right, impossible, usage: Usage { wall_ns, cpu_ns, sleeps }, cpu })
    }

    /// Tells it to end; true if it did so, and well.
    fn end(mut self) -> Result<bool> {
        send_words(&mut self.control, &[0, 0])?;
        Ok(match self.life {
            Life::Process(child) => child.wait()? == Exit::Code(0),
            Life::Thread(thread) => matches!(thread.join(), Ok(Ok(()))),
        })
    }
}

/// The receiver's side, until it is told to end. An error ends it, and the other side sees its pipe closed.
fn serve(mut control: PipeEnd, opening: Opening<ReceiveOne>, pin_to: PinTo, clock: SystemClock) -> Result<()> {
    let _pinned = pin_to.pin()?;
    let mut receive = opening()?;
    let mut next = 0;
    // Not zeros, which the kernel would only promise: these pages are here.
    let (mut from_sent, mut from_due) = (vec![1; LONGEST as usize], vec![1; LONGEST as usize]);
    loop {
        let [messages, apart] = receive_words(&mut control)?;
        if messages == 0 {
            return Ok(());
        }
        let (mut right, mut impossible) = (0, 0);
        send_words(&mut control, &[gettid().as_raw() as u64])?;
        let mut begin = Usage::so_far(clock)?;
        let places = from_sent.iter_mut().zip(&mut from_due).take(messages as usize);
        for ((from_sent, from_due), index) in places.zip(1..) {
            let bytes = receive()?;
            let now_ns = clock.now_ns();
            let torn = Message { number: u64::MAX, due_ns: now_ns, sent_ns: now_ns }; // The number of none.
            let message = Message::from_bytes(&bytes).unwrap_or(torn);
            (*from_sent, *from_due) = (now_ns.saturating_sub(message.sent_ns), now_ns.saturating_sub(message.due_ns));
            right += u64::from(message.number == next);
            impossible += u64::from(now_ns < message.sent_ns);
            next += 1;
            if index == apart {
                begin = Usage::so_far(clock)?;
            }
        }
        let Usage { wall_ns, cpu_ns, sleeps } = Usage::so_far(clock)?.since(begin);
        let cpu = sched_getcpu()? as u64;
        send_words(&mut control, &[right, impossible, cpu, messages, wall_ns, cpu_ns, sleeps])?;
        send_words(&mut control, &from_sent[..messages as usize])?;
        send_words(&mut control, &from_due[..messages as usize])?;
    }
}

fn send_words(to: &mut PipeEnd, words: &[u64]) -> Result<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(to.send(&bytes)?)
}

fn receive_words<const COUNT: usize>(from: &mut PipeEnd) -> Result<[u64; COUNT]> {
    let mut words = [0; COUNT];
    for word in &mut words {
        let mut bytes = [0; size_of::<u64>()];
        if !from.receive(&mut bytes)? {
            bail!("the other side has ended");
        }
        *word = u64::from_ne_bytes(bytes);
    }
    Ok(words)
}

/// What a thread has used so far: time, CPU time, and how often it went to sleep.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    pub wall_ns: u64,
    pub cpu_ns: u64,
    /// Voluntary context switches: the kernel counts one each time the thread gives its CPU away to wait.
    pub sleeps: u64,
}

impl Usage {
    /// Since the thread began, but `wall_ns`, which counts from the clock's own beginning.
    pub fn so_far(clock: SystemClock) -> Result<Usage> {
        // getrusage(2) would tell the CPU time too, but as of the scheduler's last look: a spinner's is a tick old.
        let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("reading the thread's CPU time")?;
        let sleeps = getrusage(UsageWho::RUSAGE_THREAD).context("counting sleeps")?.voluntary_context_switches();
        Ok(Usage { wall_ns: clock.now_ns(), cpu_ns: cpu.num_nanoseconds() as u64, sleeps: sleeps as u64 })
    }

    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            wall_ns: self.wall_ns - earlier.wall_ns,
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            sleeps: self.sleeps - earlier.sleeps,
        }
    }

    pub fn and(self, other: Usage) -> Usage {
        Usage {
            wall_ns: self.wall_ns + other.wall_ns,
            cpu_ns: self.cpu_ns + other.cpu_ns,
            sleeps: self.sleeps + other.sleeps,
        }
    }

    /// Of one CPU, in per cent.
    pub fn share(self) -> f64 {
        self.cpu_ns as f64 / self.wall_ns.max(1) as f64 * 100.0
    }
}
