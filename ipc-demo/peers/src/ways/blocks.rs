//! The ways of large messages: between processes the ring and the sockets, between threads the ring, rtrb and a channel.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use ipc_demo::ring::{Receiver, ReceiverInPlace, Ring, Sender, SenderInPlace};
use ipc_demo::socket_pair::{SocketEnd, socket_pair};
use rtrb::{Consumer, Producer, RingBuffer};
use shared::Placement;
use shared::measure::{Ready, Rival};

use super::Polling;
use crate::block::{self, Block};
use crate::exchange::{End, Pair};
use crate::message::Message;

pub fn copying(slots: usize) -> Result<Pair<Copying>> {
    ring(slots, |to, from| {
        Ok(Copying { to: to.sender()?, from: from.receiver()?, block: Block::new(), buffer: vec![0; block::BYTES] })
    })
}

pub fn in_place(slots: usize) -> Result<Pair<InPlace>> {
    ring(slots, |to, from| {
        // SAFETY: the four ends of a pair's two rings are opened here alone, and nobody else gets the rings; a child that
        // is forked later inherits copies of the parent's ends and uses none.
        let (to, from) = unsafe { (to.sender_in_place()?, from.receiver_in_place()?) };
        Ok(InPlace { to, from, block: Block::new() })
    })
}

fn ring<E: 'static>(slots: usize, open: fn(&Ring, &Ring) -> Result<E>) -> Result<Pair<E>> {
    let (there, back) = (Arc::new(Ring::new(slots, block::BYTES)?), Arc::new(Ring::new(slots, block::BYTES)?));
    let (theirs, mine) = (Arc::clone(&there), Arc::clone(&back));
    Ok(Pair { own: Box::new(move || open(&there, &mine)), theirs: Box::new(move || open(&back, &theirs)) })
}

pub struct Copying {
    to: Sender,
    from: Receiver,
    block: Block,
    buffer: Vec<u8>,
}

impl End for Copying {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.to.send(self.block.with(message))?)
    }

    fn receive(&mut self) -> Result<Message> {
        let bytes = self.from.receive(&mut self.buffer)?;
        block::message_in(&self.buffer[..bytes])
    }
}

pub struct InPlace {
    to: SenderInPlace,
    from: ReceiverInPlace,
    block: Block,
}

impl End for InPlace {
    fn send(&mut self, message: Message) -> Result<()> {
        let mut room = self.to.reserve(block::BYTES)?;
        room.copy_from_slice(self.block.with(message));
        room.commit();
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        block::message_in(&self.from.receive()?)
    }
}

pub fn stream() -> Result<Pair<Stream>> {
    let (own, theirs) = socket_pair()?;
    let end = |socket| Stream { socket, block: Block::new(), buffer: vec![0; block::BYTES] };
    Ok(Pair { own: Box::new(move || Ok(end(own))), theirs: Box::new(move || Ok(end(theirs))) })
}

pub struct Stream {
    socket: SocketEnd,
    block: Block,
    buffer: Vec<u8>,
}

impl End for Stream {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.socket.send(self.block.with(message))?)
    }

    fn receive(&mut self) -> Result<Message> {
        ensure!(self.socket.receive(&mut self.buffer)?, "the other end of the socket is gone");
        block::message_in(&self.buffer)
    }
}

pub fn slices(slots: usize, polling: Polling) -> Result<Pair<Slices>> {
    let ((there, theirs), (back, mine)) =
        (RingBuffer::new(slots * block::BYTES), RingBuffer::new(slots * block::BYTES));
    let end = move |to, from| Slices { to, from, polling, block: Block::new(), buffer: vec![0; block::BYTES] };
    Ok(Pair { own: Box::new(move || Ok(end(there, mine))), theirs: Box::new(move || Ok(end(back, theirs))) })
}

pub struct Slices {
    to: Producer<u8>,
    from: Consumer<u8>,
    polling: Polling,
    block: Block,
    buffer: Vec<u8>,
}

impl End for Slices {
    fn send(&mut self, message: Message) -> Result<()> {
        let block = self.block.with(message);
        while self.to.push_entire_slice(block).is_err() {
            if self.to.is_abandoned() {
                bail!("the consumer is gone");
            }
            self.polling.pause();
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        while self.from.pop_entire_slice(&mut self.buffer).is_err() {
            if self.from.is_abandoned() && self.from.is_empty() {
                bail!("the producer is gone");
            }
            self.polling.pause();
        }
        block::message_in(&self.buffer)
    }
}

type Channel = (crossbeam_channel::Sender<Vec<u8>>, crossbeam_channel::Receiver<Vec<u8>>);

/// What is sent is a new vector each time, into which the block is copied: the receiver owns it.
pub fn vectors(slots: usize) -> Result<Pair<Vectors>> {
    let ((there, theirs), (back, mine)): (Channel, Channel) =
        (crossbeam_channel::bounded(slots), crossbeam_channel::bounded(slots));
    let end = |ends| Vectors { ends, block: Block::new() };
    Ok(Pair { own: Box::new(move || Ok(end((there, mine)))), theirs: Box::new(move || Ok(end((back, theirs)))) })
}

pub struct Vectors {
    ends: Channel,
    block: Block,
}

impl End for Vectors {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.ends.0.send(self.block.with(message).to_vec())?)
    }

    fn receive(&mut self) -> Result<Message> {
        block::message_in(&self.ends.1.recv()?)
    }
}

pub const MEMCPY: &str = "memcpy, one thread";

/// No way, but what a way that copies is set beside: each block is copied once, between buffers as large as the ring.
pub fn memcpy<'a>(slots: usize, placement: Placement) -> Rival<'a> {
    Rival::of_threads(MEMCPY, placement, move |_| {
        let mut from: Vec<Block> = (0..slots).map(|_| Block::new()).collect();
        let mut to = vec![vec![1; block::BYTES]; slots]; // Not zeros, which would be mapped, but not yet there.
        let mut number = 0;
        let mut copy = move |steps: u64| {
            let mut right = 0;
            for _ in 0..steps {
                let (message, slot) = (Message::numbered(number), number as usize % slots);
                black_box(&mut to[slot]).copy_from_slice(from[slot].with(message));
                right += u64::from(block::message_in(black_box(&to[slot]))? == message);
                number += 1;
            }
            Ok(right)
        };
        let right = copy(block::FILLED)?;
        ensure!(right == block::FILLED, "{right} of {} blocks were copied whole", block::FILLED);
        Ok(Ready::new(copy))
    })
}
