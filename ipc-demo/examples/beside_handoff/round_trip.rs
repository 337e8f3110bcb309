//! How long do 64 bytes take there and back?

use std::hint;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use anyhow::{Result, bail};
use crossbeam_channel::bounded;
use ipc_demo::ring::{Receiver, ReceiverInPlace, Ring, Sender, SenderInPlace};
use ipc_demo::shared_region::SharedRegion;
use process_demo::duel::{BYTES, Message};
use shared::Placement::{self, OtherCpu};
use shared::measure::{Contest, Pinning, Ready, Rival, Timing};

use super::figures::{Goal, Wanted};
use super::peer::Peer;

const FLAG: &str = "flag alone";
const HANDOFF: &str = "flag, 64 bytes";
const COPYING: &str = "ring, copying";
const IN_PLACE: &str = "ring, in place";
const PIPE: &str = "pipe";
const CHANNEL: &str = "bounded(1)"; // crossbeam-channel's, between two threads.

const THERE_AND_BACK: &str = "64 B round trip, copying";
const THERE_AND_BACK_IN_PLACE: &str = "64 B round trip, in place";

pub const ON_TWO_CPUS: &[Wanted] = &[
    Wanted { what: THERE_AND_BACK, ours: COPYING, theirs: HANDOFF, goal: Goal::AtMost(1.3) },
    Wanted { what: THERE_AND_BACK_IN_PLACE, ours: IN_PLACE, theirs: HANDOFF, goal: Goal::AtMost(1.3) },
    Wanted { what: "flag, 64 bytes", ours: HANDOFF, theirs: FLAG, goal: Goal::None },
    Wanted { what: THERE_AND_BACK, ours: COPYING, theirs: PIPE, goal: Goal::AtLeast(20.0) },
    Wanted { what: THERE_AND_BACK_IN_PLACE, ours: IN_PLACE, theirs: PIPE, goal: Goal::AtLeast(20.0) },
    Wanted { what: THERE_AND_BACK, ours: COPYING, theirs: CHANNEL, goal: Goal::AtLeast(1.0) },
    Wanted { what: THERE_AND_BACK_IN_PLACE, ours: IN_PLACE, theirs: CHANNEL, goal: Goal::AtLeast(1.0) },
];

pub const ON_ONE_CPU: &[Wanted] = &[
    Wanted { what: "the same, one CPU, copying", ours: COPYING, theirs: PIPE, goal: Goal::NotClearlySlower },
    Wanted { what: "the same, one CPU, in place", ours: IN_PLACE, theirs: PIPE, goal: Goal::NotClearlySlower },
];

const SLOTS: usize = 16;

pub fn contest(placement: Placement) -> (Contest<'static>, Placement) {
    let mut contest = Contest::new("64 bytes there and back", "the mechanism", Timing::Batches);
    contest.add(processes(COPYING, placement, copying));
    contest.add(processes(IN_PLACE, placement, in_place));
    contest.add(processes(PIPE, placement, pipes));
    if placement == OtherCpu {
        contest.add(processes(FLAG, placement, |pinning| handoff(pinning, false)));
        contest.add(processes(HANDOFF, placement, |pinning| handoff(pinning, true)));
        contest.add(Rival::of_threads(CHANNEL, placement, |pinning| {
            let ((to, from), (back, ours)) = (bounded(1), bounded(1));
            let peer = Peer::thread(pinning, answering(Ends { to: back, from }))?;
            Ok(ready(peer, Ends { to, from: ours }))
        }));
    }
    (contest, placement)
}

fn processes(
    label: &str,
    placement: Placement,
    prepare: impl FnOnce(Pinning) -> Result<Ready<'static>> + 'static,
) -> Rival<'static> {
    Rival::of_processes(label, placement, prepare)
}

fn copying(pinning: Pinning) -> Result<Ready<'static>> {
    let (there, back) = (Ring::new(SLOTS, BYTES)?, Ring::new(SLOTS, BYTES)?);
    let peer = Peer::process(pinning, || Ok(answering(Ends { to: back.sender()?, from: there.receiver()? })))?;
    Ok(ready(peer, Ends { to: there.sender()?, from: back.receiver()? }))
}

fn in_place(pinning: Pinning) -> Result<Ready<'static>> {
    let (there, back) = (Ring::new(SLOTS, BYTES)?, Ring::new(SLOTS, BYTES)?);
    // SAFETY: each ring has two ends, both of this program's, and each is used by the process that claims it here.
    let theirs = || unsafe { Ok(answering(Ends { to: back.sender_in_place()?, from: there.receiver_in_place()? })) };
    let peer = Peer::process(pinning, theirs)?;
    // SAFETY: as above.
    Ok(ready(peer, unsafe { Ends { to: there.sender_in_place()?, from: back.receiver_in_place()? } }))
}

fn pipes(pinning: Pinning) -> Result<Ready<'static>> {
    let ((from, to), (ours, back)) = (pipe()?, pipe()?);
    let peer = Peer::process(pinning, move || Ok(answering(Ends { to: back, from })))?;
    Ok(ready(peer, Ends { to, from: ours }))
}

fn handoff(pinning: Pinning, filled: bool) -> Result<Ready<'static>> {
    let region = SharedRegion::new(2 * size_of::<Line>())?;
    let peer = Peer::process(pinning, || Ok(answering(Handoff { region: &region, there: 1, filled })))?;
    let asks = Handoff { region, there: 0, filled };
    Ok(ready(peer, asks))
}

fn ready(peer: Peer, mut asks: impl Asks + 'static) -> Ready<'static> {
    let child = peer.child().map(|child| child.pid());
    let (mut peer, mut next) = (peer, 0);
    let turn = move |steps| {
        peer.play(steps, || {
            let mut right = 0;
            for number in next..next + steps {
                right += u64::from(asks.send(number)? && asks.receive(number)?);
            }
            next += steps;
            Ok(right)
        })
    };
    Ready::with_children(turn, child.into_iter().collect())
}

/// What the peer plays: it takes each message, checks it, and sends one of the same number back.
fn answering(mut asks: impl Asks) -> impl FnMut(u64) -> Result<u64> {
    let mut next = 0;
    move |steps| {
        let mut right = 0;
        for number in next..next + steps {
            right += u64::from(asks.receive(number)? && asks.send(number)?);
        }
        next += steps;
        Ok(right)
    }
}

/// Sends the message of a number, and waits for one: was it that of this number?
trait Asks {
    fn send(&mut self, number: u64) -> Result<bool>;
    fn receive(&mut self, number: u64) -> Result<bool>;
}

struct Ends<T, F> {
    to: T,
    from: F,
}

impl Asks for Ends<Sender, Receiver> {
    fn send(&mut self, number: u64) -> Result<bool> {
        self.to.send(&Message::numbered(number).to_bytes())?;
        Ok(true)
    }

    fn receive(&mut self, number: u64) -> Result<bool> {
        let mut bytes = [0; BYTES];
        Ok(self.from.receive(&mut bytes)? == BYTES && Message::from_bytes(bytes) == Message::numbered(number))
    }
}

impl Asks for Ends<SenderInPlace, ReceiverInPlace> {
    fn send(&mut self, number: u64) -> Result<bool> {
        let mut room = self.to.reserve(BYTES)?;
        room.copy_from_slice(&Message::numbered(number).to_bytes());
        room.commit();
        Ok(true)
    }

    fn receive(&mut self, number: u64) -> Result<bool> {
        let received = self.from.receive()?;
        Ok(<[u8; BYTES]>::try_from(&*received)
            .is_ok_and(|bytes| Message::from_bytes(bytes) == Message::numbered(number)))
    }
}

impl Asks for Ends<PipeWriter, PipeReader> {
    fn send(&mut self, number: u64) -> Result<bool> {
        self.to.write_all(&Message::numbered(number).to_bytes())?;
        Ok(true)
    }

    fn receive(&mut self, number: u64) -> Result<bool> {
        let mut bytes = [0; BYTES];
        self.from.read_exact(&mut bytes)?;
        Ok(Message::from_bytes(bytes) == Message::numbered(number))
    }
}

impl Asks for Ends<crossbeam_channel::Sender<Message>, crossbeam_channel::Receiver<Message>> {
    fn send(&mut self, number: u64) -> Result<bool> {
        self.to.send(Message::numbered(number))?;
        Ok(true)
    }

    fn receive(&mut self, number: u64) -> Result<bool> {
        Ok(self.from.recv()? == Message::numbered(number))
    }
}

/// The least there is: a flag for each direction, spinning, and the bytes behind it if it is filled.
struct Handoff<R> {
    region: R,
    /// Which of the two lines this side writes.
    there: usize,
    filled: bool,
}

#[repr(C, align(128))]
struct Line {
    flag: AtomicU64,
    words: [AtomicU64; BYTES / 8],
}

impl<R: std::borrow::Borrow<SharedRegion>> Handoff<R> {
    fn line(&self, index: usize) -> &Line {
        // SAFETY: the region holds two of these, zeroed, aligned to a page; they are atomics; and it lives in `self`.
        unsafe { &*self.region.borrow().as_ptr().cast::<Line>().add(index) }
    }
}

impl<R: std::borrow::Borrow<SharedRegion>> Asks for Handoff<R> {
    fn send(&mut self, number: u64) -> Result<bool> {
        let line = self.line(self.there);
        if self.filled {
            let Message(words) = Message::numbered(number);
            line.words.iter().zip(words).for_each(|(place, word)| place.store(word, Relaxed));
        }
        line.flag.store(number + 1, Release); // Publishes the words.
        Ok(true)
    }

    fn receive(&mut self, number: u64) -> Result<bool> {
        const SPINS: u64 = 1_000_000_000; // Some seconds: a bound for the death of the other side, and no more.
        let line = self.line(1 - self.there);
        for _ in 0..SPINS {
            if line.flag.load(Acquire) == number + 1 {
                let message = || Message(std::array::from_fn(|index| line.words[index].load(Relaxed)));
                return Ok(!self.filled || message() == Message::numbered(number));
            }
            hint::spin_loop();
        }
        bail!("the other side does not answer")
    }
}
