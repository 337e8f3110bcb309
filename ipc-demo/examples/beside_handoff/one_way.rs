//! How fast do messages go in one direction, 64 bytes each, and 64 KiB each?

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

use anyhow::{Result, ensure};
use ipc_demo::ring::{Receiver, ReceiverInPlace, Ring, Sender, SenderInPlace};
use process_demo::duel::{BYTES, Message};
use shared::Placement::{self, OtherCpu};
use shared::measure::{Contest, Pinning, Ready, Rival, Timing};

use super::figures::{Goal, Wanted};
use super::peer::Peer;

const COPYING: &str = "ring, copying";
const IN_PLACE: &str = "ring, in place";
const PIPE: &str = "pipe";
const MEMCPY: &str = "memcpy, 4 MiB";

pub const SMALL: &[Wanted] = &[
    Wanted { what: "64 B one-way, copying", ours: COPYING, theirs: PIPE, goal: Goal::AtLeast(15.0) },
    Wanted { what: "64 B one-way, in place", ours: IN_PLACE, theirs: PIPE, goal: Goal::AtLeast(15.0) },
];

pub const LARGE: &[Wanted] = &[
    Wanted { what: "64 KiB one-way, copying", ours: COPYING, theirs: MEMCPY, goal: Goal::AtLeast(0.7) },
    Wanted { what: "64 KiB one-way, in place", ours: IN_PLACE, theirs: MEMCPY, goal: Goal::AtLeast(0.7) },
];

const SMALL_SLOTS: usize = 2048; // So that neither side waits when the other is held up for some microseconds.
const LARGE_BYTES: usize = 64 << 10;
const LARGE_SLOTS: usize = 64; // 4 MiB in all, as much as either buffer of the memcpy.

pub fn of_small() -> (Contest<'static>, Placement) {
    let mut contest = Contest::new("64 bytes one-way", "the mechanism", Timing::Batches);
    contest.add(Rival::of_processes(COPYING, OtherCpu, |pinning| copying(pinning, SMALL_SLOTS, Small::NEW)));
    contest.add(Rival::of_processes(IN_PLACE, OtherCpu, |pinning| in_place(pinning, SMALL_SLOTS, Small::NEW)));
    contest.add(Rival::of_processes(PIPE, OtherCpu, |pinning| {
        let (from, to) = pipe()?;
        let peer = Peer::process(pinning, move || Ok(receiving(from, Small::NEW)))?;
        ready(peer, to, Small::NEW)
    }));
    (contest, OtherCpu)
}

pub fn of_large() -> (Contest<'static>, Placement) {
    let mut contest = Contest::new("64 KiB one-way", "the mechanism", Timing::Batches);
    contest.add(Rival::of_processes(COPYING, OtherCpu, |pinning| copying(pinning, LARGE_SLOTS, Large::new())));
    contest.add(Rival::of_processes(IN_PLACE, OtherCpu, |pinning| in_place(pinning, LARGE_SLOTS, Large::new())));
    contest.add(Rival::of_threads(MEMCPY, OtherCpu, |_| Ok(memcpy())));
    (contest, OtherCpu)
}

fn copying(pinning: Pinning, slots: usize, kind: impl Kind) -> Result<Ready<'static>> {
    let (ring, theirs) = (Ring::new(slots, kind.bytes())?, kind.clone());
    let peer = Peer::process(pinning, || Ok(receiving(ring.receiver()?, theirs)))?;
    ready(peer, ring.sender()?, kind)
}

fn in_place(pinning: Pinning, slots: usize, kind: impl Kind) -> Result<Ready<'static>> {
    let (ring, theirs) = (Ring::new(slots, kind.bytes())?, kind.clone());
    // SAFETY: the ring's two ends are this program's, and each is used by the process that claims it here.
    let peer = Peer::process(pinning, || unsafe { Ok(receiving(ring.receiver_in_place()?, theirs)) })?;
    // SAFETY: as above.
    ready(peer, unsafe { ring.sender_in_place()? }, kind)
}

/// The first turn is not timed: the whole contents of its messages are checked.
fn ready(mut peer: Peer, mut to: impl Sends, mut kind: impl Kind) -> Result<Ready<'static>> {
    let child = peer.child().map(|child| child.pid());
    let (mut next, whole) = (0, 300);
    let mut turn = move |steps| {
        peer.play(steps, || {
            (next..next + steps).try_for_each(|number| to.send(kind.message(number)))?;
            next += steps;
            Ok(steps)
        })
    };
    ensure!(turn(whole)? == whole, "messages did not arrive as they were sent");
    Ok(Ready::with_children(turn, child.into_iter().collect()))
}

fn receiving(mut from: impl Receives, mut kind: impl Kind) -> impl FnMut(u64) -> Result<u64> {
    let (mut next, mut buffer) = (0, vec![0; kind.bytes()]);
    move |steps| {
        let (mut right, whole) = (0, next == 0);
        for number in next..next + steps {
            right += u64::from(from.receive(&mut buffer, |bytes| kind.is_right(number, bytes, whole))?);
        }
        next += steps;
        Ok(right)
    }
}

/// One 64 KiB piece after the other, from one buffer to another, each as large as the whole ring.
fn memcpy() -> Ready<'static> {
    let (mut source, mut target) = (vec![1; LARGE_SLOTS * LARGE_BYTES], vec![2; LARGE_SLOTS * LARGE_BYTES]);
    let mut next = 0;
    Ready::new(move |steps| {
        let mut right = 0;
        for number in next..next + steps {
            let start = number as usize % LARGE_SLOTS * LARGE_BYTES;
            let piece = start..start + LARGE_BYTES;
            stamp(number, &mut source[piece.clone()]);
            target[piece.clone()].copy_from_slice(&source[piece.clone()]);
            right += u64::from(is_stamped(number, &target[piece]));
        }
        next += steps;
        Ok(right)
    })
}

/// What the messages are.
trait Kind: Clone + 'static {
    fn bytes(&self) -> usize;
    fn message(&mut self, number: u64) -> &[u8];
    /// Are these the bytes of that message: all of them, if the whole is looked at?
    fn is_right(&mut self, number: u64, bytes: &[u8], whole: bool) -> bool;
}

#[derive(Clone)]
struct Small([u8; BYTES]);

impl Small {
    const NEW: Small = Small([0; BYTES]);
}

impl Kind for Small {
    fn bytes(&self) -> usize {
        BYTES
    }

    fn message(&mut self, number: u64) -> &[u8] {
        self.0 = Message::numbered(number).to_bytes();
        &self.0
    }

    fn is_right(&mut self, number: u64, bytes: &[u8], _whole: bool) -> bool {
        bytes.try_into().is_ok_and(|bytes| Message::from_bytes(bytes) == Message::numbered(number))
    }
}

/// Number and length at both ends of it; a pattern between them.
#[derive(Clone)]
struct Large {
    message: Vec<u8>,
}

impl Large {
    fn new() -> Large {
        Large { message: (0..LARGE_BYTES).map(|byte| (byte * 7 + byte / 256) as u8).collect() }
    }
}

impl Kind for Large {
    fn bytes(&self) -> usize {
        LARGE_BYTES
    }

    fn message(&mut self, number: u64) -> &[u8] {
        stamp(number, &mut self.message);
        &self.message
    }

    fn is_right(&mut self, number: u64, bytes: &[u8], whole: bool) -> bool {
        if whole {
            stamp(number, &mut self.message);
        }
        is_stamped(number, bytes) && (!whole || *bytes == self.message)
    }
}

fn stamp(number: u64, message: &mut [u8]) {
    let end = message.len() - STAMP_BYTES;
    for start in [0, end] {
        message[start..start + STAMP_BYTES].copy_from_slice(&stamp_of(number));
    }
}

fn is_stamped(number: u64, bytes: &[u8]) -> bool {
    bytes.len() == LARGE_BYTES && bytes.starts_with(&stamp_of(number)) && bytes.ends_with(&stamp_of(number))
}

const STAMP_BYTES: usize = 16;

fn stamp_of(number: u64) -> [u8; STAMP_BYTES] {
    let mut stamp = [0; STAMP_BYTES];
    stamp[..8].copy_from_slice(&number.to_ne_bytes());
    stamp[8..].copy_from_slice(&(LARGE_BYTES as u64).to_ne_bytes());
    stamp
}

/// A way in.
trait Sends: 'static {
    fn send(&mut self, message: &[u8]) -> Result<()>;
}

impl Sends for Sender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        Ok(Sender::send(self, message)?)
    }
}

impl Sends for SenderInPlace {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let mut room = self.reserve(message.len())?;
        room.copy_from_slice(message);
        room.commit();
        Ok(())
    }
}

impl Sends for PipeWriter {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.write_all(message)?)
    }
}

/// A way out: shows one message, in a buffer to which it was copied if need be.
trait Receives {
    fn receive(&mut self, buffer: &mut [u8], look: impl FnOnce(&[u8]) -> bool) -> Result<bool>;
}

impl Receives for Receiver {
    fn receive(&mut self, buffer: &mut [u8], look: impl FnOnce(&[u8]) -> bool) -> Result<bool> {
        let bytes = Receiver::receive(self, buffer)?;
        Ok(look(&buffer[..bytes]))
    }
}

impl Receives for ReceiverInPlace {
    fn receive(&mut self, _buffer: &mut [u8], look: impl FnOnce(&[u8]) -> bool) -> Result<bool> {
        Ok(look(&ReceiverInPlace::receive(self)?))
    }
}

impl Receives for PipeReader {
    fn receive(&mut self, buffer: &mut [u8], look: impl FnOnce(&[u8]) -> bool) -> Result<bool> {
        self.read_exact(buffer)?;
        Ok(look(buffer))
    }
}
