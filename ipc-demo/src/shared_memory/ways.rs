//! The ways that are compared: one ring, with its two sides in two threads or in two processes, and two channels.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Result, ensure};
use ipc_demo::ring::{self, Ring};

use super::message::{BYTES, Message};

pub const RING_THREADS: &str = "ring, threads";
pub const RING_PROCESSES: &str = "ring, processes";
pub const CROSSBEAM: &str = "crossbeam(1024)";
pub const STD: &str = "std sync(1024)";

pub const SLOTS: usize = 1024; // Of each way alike, as the names say: room for a writer that is ahead, and still small for a cache.

/// One end of a way both ways; an error once the other end is gone.
pub trait End {
    fn send(&mut self, message: Message) -> Result<()>;
    fn receive(&mut self) -> Result<Message>;
}

/// Gives an end to the party that calls it.
pub type Opening<E> = Box<dyn FnOnce() -> Result<E> + Send>;

/// The openings of both ends.
pub type Pair<E> = fn() -> Result<(Opening<E>, Opening<E>)>;

/// A ring there and a ring back; each side claims its roles itself, in the process that uses them.
pub struct RingEnd {
    to: ring::Sender,
    from: ring::Receiver,
}

pub fn rings() -> Result<(Opening<RingEnd>, Opening<RingEnd>)> {
    let (there, back) = (Ring::new(SLOTS, BYTES)?, Ring::new(SLOTS, BYTES)?);
    let attached = |ring: &Ring| -> Result<Ring> { Ok(Ring::attach(ring.fd().try_clone_to_owned()?)?) };
    let (also_there, also_back) = (attached(&there)?, attached(&back)?);
    let first = move || Ok(RingEnd { to: there.sender()?, from: back.receiver()? });
    let second = move || Ok(RingEnd { to: also_back.sender()?, from: also_there.receiver()? });
    Ok((Box::new(first), Box::new(second)))
}

impl End for RingEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.to.send(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        ensure!(self.from.receive(&mut bytes)? == BYTES, "a message of another size");
        Ok(Message::from_bytes(bytes))
    }
}

type CrossbeamEnd = (crossbeam_channel::Sender<Message>, crossbeam_channel::Receiver<Message>);

pub fn crossbeam() -> Result<(Opening<CrossbeamEnd>, Opening<CrossbeamEnd>)> {
    let (to_second, from_first) = crossbeam_channel::bounded(SLOTS);
    let (to_first, from_second) = crossbeam_channel::bounded(SLOTS);
    Ok((Box::new(move || Ok((to_second, from_second))), Box::new(move || Ok((to_first, from_first)))))
}

impl End for CrossbeamEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}

type StdEnd = (SyncSender<Message>, Receiver<Message>);

pub fn std_channels() -> Result<(Opening<StdEnd>, Opening<StdEnd>)> {
    let (to_second, from_first) = sync_channel(SLOTS);
    let (to_first, from_second) = sync_channel(SLOTS);
    Ok((Box::new(move || Ok((to_second, from_second))), Box::new(move || Ok((to_first, from_first)))))
}

impl End for StdEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}
