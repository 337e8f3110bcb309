//! How do 64 bytes go through memory that both sides see? Put down, announced in some way, checked and taken up.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use anyhow::{Context, Result, ensure};
use ipc_demo::shared_region::SharedRegion;
use nix::libc::sem_t;
use nix::unistd::Pid;

use super::exchange::End;
use super::futex;
use super::message::{Message, WORDS};

/// How the reader of a place learns that a message lies there.
pub trait Notice: Send + 'static {
    /// Returns once it was told of this message; whether it really lies there is checked afterwards.
    fn wait(&mut self, place: &Place, number: u32) -> Result<()>;

    /// Tells the reader.
    fn give(&mut self, place: &Place, number: u32) -> Result<()>;

    /// For those that must name the other side's process.
    fn meet(&mut self, _process: Pid) {}

    /// Whether the peer is awake while it waits, so that a gate must send it to sleep.
    fn is_awake(&self) -> bool {
        false
    }
}

/// One end: the bytes in memory, and a notice beside them.
pub struct Beside<N> {
    desk: Desk,
    side: usize,
    sent: u32,
    received: u32,
    notice: N,
}

pub const ASKER: usize = 0;
pub const PEER: usize = 1;

/// Both ends, the asker's first, with a notice for each.
pub fn pair<N: Notice>(mut notice: impl FnMut(&Desk, usize) -> Result<N>) -> Result<(Beside<N>, Beside<N>)> {
    let desk = Desk::new()?;
    let mut end = |side| {
        let notice = notice(&desk, side)?;
        Ok::<_, anyhow::Error>(Beside { desk: desk.clone(), side, sent: 0, received: 0, notice })
    };
    Ok((end(ASKER)?, end(PEER)?))
}

impl<N: Notice> End for Beside<N> {
    fn send(&mut self, message: Message) -> Result<()> {
        self.sent = self.sent.wrapping_add(1);
        let place = self.desk.place(1 - self.side, self.sent);
        place.put(message, self.sent);
        self.notice.give(place, self.sent)
    }

    fn receive(&mut self) -> Result<Message> {
        self.received = self.received.wrapping_add(1);
        let place = self.desk.place(self.side, self.received);
        self.notice.wait(place, self.received)?;
        place.take(self.received)
    }

    fn meet(&mut self, process: Pid) {
        self.notice.meet(process);
    }

    fn gate(&self) -> Option<Gate> {
        self.notice.is_awake().then(|| Gate { desk: self.desk.clone() })
    }
}

/// The memory: places for each side to read from, one after the other. How far a cache line is from a CPU depends on its
/// address, by luck: two rows with one place each would differ for that alone.
#[derive(Clone)]
pub struct Desk {
    region: Arc<SharedRegion>,
}

/// Where one side finds its messages. Each has two cache lines of its own, the first with the number and seven words.
#[repr(C, align(128))]
pub struct Place {
    /// Of the message that lies here.
    pub number: AtomicU32,
    /// Closed while whoever reads here has to sleep.
    gate: AtomicU32,
    words: [AtomicU64; WORDS],
    /// Room for a semaphore, for the way that is told by one.
    pub semaphore: UnsafeCell<MaybeUninit<sem_t>>,
}

/// Of one side.
pub type Places = [Place; PLACES];

pub const PLACES: usize = 16; // Of each side: as many as the slots of the rings that stand beside these rows.

const CLOSED: u32 = 0; // As the region's memory comes: a peer sleeps until its first turn.
const OPEN: u32 = 1;

impl Desk {
    pub fn new() -> Result<Desk> {
        let region = SharedRegion::new(size_of::<[Places; 2]>()).context("a region of shared memory")?;
        let desk = Desk { region: Arc::new(region) };
        desk.places(ASKER).iter().for_each(|place| place.gate.store(OPEN, Relaxed)); // It waits in its own turn only.
        Ok(desk)
    }

    /// Where that side reads the message of that number.
    pub fn place(&self, side: usize, number: u32) -> &Place {
        &self.places(side)[number as usize % PLACES]
    }

    /// Where that side reads.
    pub fn places(&self, side: usize) -> &Places {
        // SAFETY: the region holds the places of two sides, is zeroed, aligned to a page and as long-lived as `self`;
        // places are made of atomics and of a semaphore that is only ever handed to the kernel's library by pointer.
        let both = unsafe { &*self.region.as_ptr().cast::<[Places; 2]>() };
        &both[side]
    }
}

impl Place {
    fn put(&self, message: Message, number: u32) {
        self.words[0].store(message.number, Relaxed);
        self.words[1..].iter().zip(message.filling).for_each(|(place, word)| place.store(word, Relaxed));
        self.number.store(number, Release); // Publishes the words to whoever reads this number.
    }

    fn take(&self, number: u32) -> Result<Message> {
        ensure!(self.has(number), "told of a message that is not there");
        let filling = std::array::from_fn(|index| self.words[index + 1].load(Relaxed));
        Ok(Message { number: self.words[0].load(Relaxed), filling })
    }

    /// Whether this message lies here.
    pub fn has(&self, number: u32) -> bool {
        self.number.load(Acquire) == number // Sees the words that were published with it.
    }

    /// Sleeps while the gate is closed. What the asker does next, it does after it opened the gate: nothing is missed.
    pub fn pass_gate(&self) -> Result<()> {
        while self.gate.load(Relaxed) == CLOSED {
            futex::wait(&self.gate, CLOSED)?;
        }
        Ok(())
    }
}

/// Sends the peer to sleep between two turns of its row, and wakes it.
#[derive(Clone)]
pub struct Gate {
    desk: Desk,
}

impl Gate {
    pub fn open(&self) {
        for place in self.desk.places(PEER) {
            place.gate.store(OPEN, Relaxed); // Publishes nothing: the messages have a number of their own.
            futex::wake_one(&place.gate); // The peer sleeps where its next message will lie.
        }
    }

    pub fn close(&self) {
        self.desk.places(PEER).iter().for_each(|place| place.gate.store(CLOSED, Relaxed));
    }
}
