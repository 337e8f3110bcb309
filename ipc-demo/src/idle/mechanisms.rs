//! By which means can a receiver wait for a message, and what does a message carry?

use std::hint::spin_loop;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, mpsc};
use std::{io, ptr};

use anyhow::{Result, ensure};
use ipc_demo::event::Event;
use ipc_demo::pipe_pair::pipe_pair;
use ipc_demo::ring::{self, Ring};
use ipc_demo::shared_region::SharedRegion;
use nix::libc;
use process_demo::crew::Kind;

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

    /// What the receiver is.
    pub fn between(self) -> Kind {
        if matches!(self, Way::Crossbeam | Way::Mpsc) { Kind::Threads } else { Kind::Processes }
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
                Ok(opened(move |message| Ok(to.send(*message)?), move || Ok(from.recv()?)))
            }
            Way::Mpsc => {
                let (to, from) = mpsc::sync_channel::<Bytes>(ROOM);
                Ok(opened(move |message| Ok(to.send(*message)?), move || Ok(from.recv()?)))
            }
        }
    }
}

/// Of ends that need no opening.
fn opened(
    send: impl FnMut(&Bytes) -> Result<()> + Send + 'static,
    receive: impl FnMut() -> Result<Bytes> + Send + 'static,
) -> Wire {
    let (send, receive): (SendOne, ReceiveOne) = (Box::new(send), Box::new(receive));
    Wire { sender: Box::new(|| Ok(send)), receiver: Box::new(|| Ok(receive)) }
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
    let send = move |message: &Bytes| {
        ours.put(sent, message);
        sent = sent.wrapping_add(1);
        ours.wake();
        Ok(())
    };
    let receive = move || {
        loop {
            if let Some(message) = theirs.get(received) {
                received = received.wrapping_add(1);
                return Ok(message);
            }
            theirs.sleep_while(received);
        }
    };
    Ok(opened(send, receive))
}

fn pipe() -> Result<Wire> {
    let (mut to, mut from) = pipe_pair()?;
    let send = move |message: &Bytes| Ok(to.send(message)?);
    let receive = move || {
        let mut message = [0; BYTES];
        ensure!(from.receive(&mut message)?, "the sender is gone");
        Ok(message)
    };
    Ok(opened(send, receive))
}

/// The messages lie in shared memory; the eventfd tells how many more they are.
fn event() -> Result<Wire> {
    let slots = Arc::new(Slots::new()?);
    let event = Arc::new(Event::counter()?);
    let (ours, our_event) = (Arc::clone(&slots), Arc::clone(&event));
    let (mut sent, mut received, mut told) = (0_u32, 0_u32, 0);
    let send = move |message: &Bytes| {
        ours.put(sent, message);
        sent = sent.wrapping_add(1);
        Ok(our_event.add(1)?)
    };
    let receive = move || {
        if told == 0 {
            told = event.wait()?;
        }
        told -= 1;
        let message = slots.get(received);
        received = received.wrapping_add(1);
        message.ok_or_else(|| anyhow::anyhow!("told of a message that is not there"))
    };
    Ok(opened(send, receive))
}

/// One cache line.
const BYTES: usize = 64;

const WORD_BYTES: usize = 8;
const WORDS: usize = BYTES / WORD_BYTES;

/// What its receiver needs to tell how late it is; a filling follows from these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub number: u64,
    pub due_ns: u64,
    pub sent_ns: u64,
}

impl Message {
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let places = bytes.chunks_exact_mut(WORD_BYTES);
        places.zip(self.words()).for_each(|(place, word)| place.copy_from_slice(&word.to_ne_bytes()));
        bytes
    }

    /// None if the filling is not this message's own: it was torn, or mixed with another.
    pub fn from_bytes(bytes: &[u8; BYTES]) -> Option<Message> {
        let word = |index: usize| {
            let place = bytes[index * WORD_BYTES..].first_chunk();
            place.map_or(0, |&word| u64::from_ne_bytes(word))
        };
        let message = Message { number: word(0), due_ns: word(1), sent_ns: word(2) };
        (message.to_bytes() == *bytes).then_some(message)
    }

    fn words(self) -> [u64; WORDS] {
        let Message { number, due_ns, sent_ns } = self;
        let seed = number ^ due_ns.rotate_left(21) ^ sent_ns.rotate_left(42);
        let mut words = [number, due_ns, sent_ns, 0, 0, 0, 0, 0];
        for (index, word) in words.iter_mut().enumerate().skip(3) {
            *word = seed.wrapping_mul(2 * index as u64 + 1); // Odd factors: another seed is another filling.
        }
        words
    }
}

/// As many messages may be on their way: a series is no longer, and the next begins when all of it was received.
pub const SLOTS: usize = 4096;

/// The count in front, on cache lines of its own, and the slots behind it.
#[repr(C, align(128))]
struct Layout {
    count: AtomicU32,
    slots: [Slot; SLOTS],
}

#[repr(C, align(128))]
struct Slot([AtomicU64; WORDS]);

/// One sender puts messages in, one receiver takes them out; how it learns of them is not decided here.
struct Slots {
    region: SharedRegion,
}

impl Slots {
    fn new() -> io::Result<Slots> {
        Ok(Slots { region: SharedRegion::new(size_of::<Layout>())? })
    }

    /// Puts the message with that number in, and counts it.
    fn put(&self, number: u32, message: &[u8; BYTES]) {
        let slot = &self.layout().slots[number as usize % SLOTS];
        for (place, word) in slot.0.iter().zip(message.chunks_exact(WORD_BYTES)) {
            let word = word.try_into().map_or(0, u64::from_ne_bytes);
            place.store(word, Relaxed);
        }
        self.layout().count.store(number.wrapping_add(1), Release); // Publishes the slot to who reads the count.
    }

    /// The message with that number, if it was put in.
    fn get(&self, number: u32) -> Option<[u8; BYTES]> {
        if self.layout().count.load(Acquire) == number {
            return None;
        }
        let slot = &self.layout().slots[number as usize % SLOTS];
        let mut message = [0; BYTES];
        for (word, place) in message.chunks_exact_mut(WORD_BYTES).zip(&slot.0) {
            word.copy_from_slice(&place.load(Relaxed).to_ne_bytes());
        }
        Some(message)
    }

    /// Sleeps until more than so many were put in, or for no reason.
    fn sleep_while(&self, count: u32) {
        let for_ever = ptr::null::<libc::timespec>();
        let word = self.layout().count.as_ptr();
        // nix has no futex. Without FUTEX_PRIVATE_FLAG the kernel finds the waiters of other processes too.
        // SAFETY: the word outlives the call, and the kernel only reads it.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, count, for_ever) };
    }

    /// Wakes who sleeps in `sleep_while`, if anybody does.
    fn wake(&self) {
        let unused = ptr::null::<libc::timespec>();
        // nix has no futex.
        // SAFETY: a wake-up reads and writes none of our memory.
        unsafe { libc::syscall(libc::SYS_futex, self.layout().count.as_ptr(), libc::FUTEX_WAKE, 1_u32, unused) };
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the region is as large as this, zeroed, aligned to a page, and lives as long as the reference;
        // atomics may have any value, and be changed by others.
        unsafe { &*self.region.as_ptr().cast::<Layout>() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_itself_or_not_at_all() {
        let message = Message { number: 7, due_ns: 1_000, sent_ns: 1_001 };
        let bytes = message.to_bytes();
        assert_eq!(Message::from_bytes(&bytes), Some(message));
        for torn in 0..BYTES {
            let mut other = bytes;
            other[torn] ^= 1;
            assert_eq!(Message::from_bytes(&other), None, "byte {torn}");
        }
    }
}
