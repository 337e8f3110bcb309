//! By which means can a receiver wait for a message, and with whom?

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::mpsc;

use anyhow::{Result, ensure};
use ipc_demo::event::Event;
use ipc_demo::pipe_pair::pipe_pair;
use ipc_demo::ring::{self, Ring};

use super::message::BYTES;
use super::slots::Slots;

/// One means. The first three are one ring and differ in how they wait at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    RingSpinning,
    RingAdaptive,
    RingSleeping,
    BareFutex,
    Pipe,
    Event,
    Crossbeam,
    Mpsc,
}

/// What the receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Process,
    Thread,
}

/// The ways between processes come first: their receivers are forked, and that takes a process of one thread.
pub const WAYS: [Way; 8] = [
    Way::RingSpinning,
    Way::RingAdaptive,
    Way::RingSleeping,
    Way::BareFutex,
    Way::Pipe,
    Way::Event,
    Way::Crossbeam,
    Way::Mpsc,
];

type Bytes = [u8; BYTES];
pub type SendOne = Box<dyn FnMut(&Bytes) -> Result<()> + Send>;
pub type ReceiveOne = Box<dyn FnMut() -> Result<Bytes> + Send>;

/// An end to be opened by who uses it, in its own process.
pub type Opening<T> = Box<dyn FnOnce() -> Result<T> + Send>;

/// Both ends.
pub struct Wire {
    pub sender: Opening<SendOne>,
    pub receiver: Opening<ReceiveOne>,
}

const ROOM: usize = 256; // Messages under way: more than a receiver falls behind unless it is kept from running.

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::RingSpinning => "ring, spinning",
            Way::RingAdaptive => "ring, adaptive",
            Way::RingSleeping => "ring, sleeping",
            Way::BareFutex => "bare futex",
            Way::Pipe => "pipe",
            Way::Event => "eventfd",
            Way::Crossbeam => "crossbeam",
            Way::Mpsc => "std mpsc",
        }
    }

    pub fn party(self) -> Party {
        match self {
            Way::Crossbeam | Way::Mpsc => Party::Thread,
            _ => Party::Process,
        }
    }

    /// Does it ever give its CPU back while it waits?
    pub fn sleeps(self) -> bool {
        self != Way::RingSpinning
    }

    pub fn open(self) -> Result<Wire> {
        match self {
            Way::RingSpinning => ring(|receiver, buffer| {
                loop {
                    match receiver.try_receive(buffer) {
                        Err(ring::Error::Empty) => spin_loop(),
                        done => return done,
                    }
                }
            }),
            Way::RingAdaptive => ring(ring::Receiver::receive),
            Way::RingSleeping => ring(|receiver, buffer| {
                receiver.spin_at_most(0); // Once would do; said again, it costs nothing.
                receiver.receive(buffer)
            }),
            Way::BareFutex => bare_futex(),
            Way::Pipe => pipe(),
            Way::Event => event(),
            Way::Crossbeam => {
                let (to, from) = crossbeam_channel::bounded::<Bytes>(ROOM);
                let send: SendOne = Box::new(move |message| Ok(to.send(*message)?));
                let receive: ReceiveOne = Box::new(move || Ok(from.recv()?));
                Ok(Wire { sender: Box::new(|| Ok(send)), receiver: Box::new(|| Ok(receive)) })
            }
            Way::Mpsc => {
                let (to, from) = mpsc::sync_channel::<Bytes>(ROOM);
                let send: SendOne = Box::new(move |message| Ok(to.send(*message)?));
                let receive: ReceiveOne = Box::new(move || Ok(from.recv()?));
                Ok(Wire { sender: Box::new(|| Ok(send)), receiver: Box::new(|| Ok(receive)) })
            }
        }
    }
}

type WaitAtRing = fn(&mut ring::Receiver, &mut [u8]) -> Result<usize, ring::Error>;

fn ring(wait: WaitAtRing) -> Result<Wire> {
    let ours = Arc::new(Ring::new(ROOM, BYTES)?);
    let theirs = Arc::clone(&ours);
    Ok(Wire {
        sender: Box::new(move || {
            let mut sender = ours.sender()?;
            Ok(Box::new(move |message| Ok(sender.send(message)?)))
        }),
        receiver: Box::new(move || {
            let mut receiver = theirs.receiver()?;
            Ok(Box::new(move || {
                let mut message = [0; BYTES];
                ensure!(wait(&mut receiver, &mut message)? == BYTES, "a message of another length");
                Ok(message)
            }))
        }),
    })
}

/// A count in shared memory, a wake-up after every message, and nothing else: what every other sleep is built on.
fn bare_futex() -> Result<Wire> {
    let ours = Arc::new(Slots::new()?);
    let theirs = Arc::clone(&ours);
    let (mut sent, mut received) = (0_u32, 0_u32);
    let send: SendOne = Box::new(move |message| {
        ours.put(sent, message);
        sent = sent.wrapping_add(1);
        ours.wake();
        Ok(())
    });
    let receive: ReceiveOne = Box::new(move || {
        loop {
            if let Some(message) = theirs.get(received) {
                received = received.wrapping_add(1);
                return Ok(message);
            }
            theirs.sleep_while(received);
        }
    });
    Ok(Wire { sender: Box::new(|| Ok(send)), receiver: Box::new(|| Ok(receive)) })
}

fn pipe() -> Result<Wire> {
    let (mut to, mut from) = pipe_pair()?;
    let send: SendOne = Box::new(move |message| Ok(to.send(message)?));
    let receive: ReceiveOne = Box::new(move || {
        let mut message = [0; BYTES];
        ensure!(from.receive(&mut message)?, "the sender is gone");
        Ok(message)
    });
    Ok(Wire { sender: Box::new(|| Ok(send)), receiver: Box::new(|| Ok(receive)) })
}

/// The messages lie in shared memory; the eventfd tells how many more they are.
fn event() -> Result<Wire> {
    let slots = Arc::new(Slots::new()?);
    let event = Arc::new(Event::counter()?);
    let (ours, our_event) = (Arc::clone(&slots), Arc::clone(&event));
    let (mut sent, mut received, mut told) = (0_u32, 0_u32, 0);
    let send: SendOne = Box::new(move |message| {
        ours.put(sent, message);
        sent = sent.wrapping_add(1);
        Ok(our_event.add(1)?)
    });
    let receive: ReceiveOne = Box::new(move || {
        if told == 0 {
            told = event.wait()?;
        }
        told -= 1;
        let message = slots.get(received);
        received = received.wrapping_add(1);
        message.ok_or_else(|| anyhow::anyhow!("told of a message that is not there"))
    });
    Ok(Wire { sender: Box::new(|| Ok(send)), receiver: Box::new(|| Ok(receive)) })
}
