//! The party that waits: it takes a series of messages as ordered, and reports when each came and what waiting cost.

use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, bail, ensure};
use ipc_demo::pipe_pair::{PipeEnd, pipe_pair};
use nix::sched::sched_getcpu;
use nix::unistd::{Pid, gettid};
use process_demo::child::{Child, Exit, fork};
use shared::measure::{PinTo, SystemClock};

use super::message::Message;
use super::usage::Usage;
use super::ways::{Opening, Party, ReceiveOne, SendOne, Way};

/// A receiver that sleeps at its control pipe until it is ordered to wait for messages.
pub struct Receiver {
    send: SendOne,
    control: PipeEnd,
    life: Life,
    next: u64,
}

enum Life {
    Process(Child),
    Thread(JoinHandle<Result<()>>),
}

/// How many messages to wait for, and how many of them, the first, are no part of what waiting costs.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub messages: u64,
    pub apart: u64,
}

/// What the receiver saw of one series.
pub struct Report {
    /// From just before the message was sent, and from when it was due, until the receiver had it; one for each.
    pub from_sent_ns: Vec<f64>,
    pub from_due_ns: Vec<f64>,
    /// Whole, and with the number that was next.
    pub right: u64,
    /// Received before it was sent, if the two clocks were not one.
    pub impossible: u64,
    pub usage: Usage,
    pub cpu: u64,
}

/// The longest series: so much room for samples is made, and touched, before the first.
pub const LONGEST: u64 = super::slots::SLOTS as u64;

impl Receiver {
    /// Starts one. A process may be started only while this one has no second thread.
    pub fn start(way: Way, pin_to: PinTo, clock: SystemClock) -> Result<Receiver> {
        let wire = way.open().with_context(|| format!("opening: {}", way.name()))?;
        let (control, theirs) = pipe_pair()?;
        let receiver = wire.receiver;
        let life = match way.party() {
            Party::Process => {
                let work = move || u8::from(serve(theirs, receiver, pin_to, clock).is_err());
                // SAFETY: what the child uses of this process are descriptors and atomic words in shared memory; no
                // lock lies there.
                Life::Process(unsafe { fork(work) }.context("starting a process")?)
            }
            Party::Thread => {
                let work = move || serve(theirs, receiver, pin_to, clock);
                Life::Thread(Builder::new().spawn(work).context("starting a thread")?)
            }
        };
        let send = (wire.sender)()?; // After the fork: the child is not to have a copy of this end.
        Ok(Receiver { send, control, life, next: 0 })
    }

    /// Lets it wait for messages; returns by which number the kernel knows who waits.
    pub fn order(&mut self, order: Order) -> Result<Pid> {
        ensure!((1..=LONGEST).contains(&order.messages), "a series of {} messages", order.messages);
        send_words(&mut self.control, &[order.messages, order.apart])?;
        let [number] = receive_words(&mut self.control)?;
        Ok(Pid::from_raw(i32::try_from(number).context("a thread's number")?))
    }

    /// Sends it the next message, which is due then; returns when it was sent.
    pub fn send(&mut self, due_ns: u64, clock: SystemClock) -> Result<u64> {
        let sent_ns = clock.now_ns();
        (self.send)(&Message { number: self.next, due_ns, sent_ns }.to_bytes())?;
        self.next += 1;
        Ok(sent_ns)
    }

    /// Takes its report, once everything that was ordered has been sent.
    pub fn report(&mut self) -> Result<Report> {
        let [right, impossible, cpu, count, wall_ns, cpu_ns, sleeps] = receive_words(&mut self.control)?;
        let mut times = || -> Result<Vec<f64>> {
            (0..count).map(|_| Ok(receive_words::<1>(&mut self.control)?[0] as f64)).collect()
        };
        let (from_sent_ns, from_due_ns) = (times()?, times()?);
        Ok(Report { from_sent_ns, from_due_ns, right, impossible, usage: Usage { wall_ns, cpu_ns, sleeps }, cpu })
    }

    /// Tells it to end; true if it did so, and well.
    pub fn end(mut self) -> Result<bool> {
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
