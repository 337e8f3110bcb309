//! Each mechanism, as its writer and its reader see it: numbered messages of 64 bytes.

use std::sync::Mutex;
use std::sync::mpsc::{channel, sync_channel};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::RcvBuf};
use process_demo::crew::Kind;
use process_demo::duel::Message;
use shared::Stage;

use crate::mechanisms::kernel::{Link, Names, Way};

pub use process_demo::duel::BYTES;

/// Both ends, for whoever has it.
pub struct Port {
    pub between: Kind,
    /// For one that never refuses: it gets no more.
    pub most_bytes: u64,
    pub may_lose: bool,
    send: Box<Send>,
    receive: Box<Receive>,
}

/// One call, which may take less; waits or not.
type Send = dyn Fn(&[u8], bool) -> Result<usize> + Sync;

/// One call, which may give less; none if it would have to wait, and may not.
type Receive = dyn Fn(&mut [u8]) -> Result<Option<usize>> + Sync;

impl Port {
    /// Sends from the byte where it is until so many have gone, and tells how many have. An error if nothing more goes.
    pub fn fill(&self, from: u64, most_bytes: u64, wait: bool) -> Result<u64> {
        let mut bytes = from;
        while bytes < most_bytes {
            let (number, done) = (bytes / BYTES as u64, bytes as usize % BYTES); // A stream may have taken a part.
            match (self.send)(&Message::numbered(number).to_bytes()[done..], wait) {
                Ok(count) => bytes += count as u64,
                Err(error) if bytes == from => return Err(error),
                Err(_) => break,
            }
        }
        Ok(bytes)
    }

    /// Reads so many messages, or what is there if some may be lost; how many were whole and in order.
    pub fn read_on(&self, expected: u64) -> Result<u64> {
        let (mut arrived, mut next) = (0, 0);
        while arrived < expected {
            let (mut bytes, mut filled) = ([0; BYTES], 0);
            while filled < BYTES {
                let Some(count) = (self.receive)(&mut bytes[filled..])? else { return Ok(arrived) };
                ensure!(count > 0, "the writer is gone");
                filled += count;
            }
            let message = Message::from_bytes(bytes);
            while self.may_lose && next < expected && message != Message::numbered(next) {
                next += 1;
            }
            ensure!(message == Message::numbered(next), "not message {next} as it was sent");
            (arrived, next) = (arrived + 1, next + 1);
        }
        Ok(arrived)
    }
}

pub fn link(stage: &Stage, way: Way) -> Result<Port> {
    let names = Names { directory: stage.directory(), queue: &stage.queue("backpressure")? };
    let Link { to, from } = way.link(&names)?;
    let may_lose = way == Way::Udp;
    // More than its reader's buffer has bytes for, whatever this machine's is.
    let most_bytes = if may_lose { getsockopt(&from, RcvBuf)? as u64 + 1 } else { u64::MAX };
    let send = Box::new(move |bytes: &[u8], wait| {
        if wait { to.block() } else { to.never_block() }?;
        Ok(to.send(bytes)?)
    });
    let receive = Box::new(move |buffer: &mut [u8]| {
        // Both ends of a queue are one. What was sent to this machine itself is there, or nowhere.
        if may_lose { from.never_block() } else { from.block() }?;
        match from.receive(buffer) {
            Err(Errno::EAGAIN) => Ok(None),
            done => Ok(Some(done?)),
        }
    });
    Ok(Port { between: Kind::Processes, most_bytes, may_lose, send, receive })
}

/// Its sender cannot be asked not to wait.
pub fn typed() -> Result<Port> {
    let (to, from) = ipc_channel::ipc::channel().context("an ipc-channel")?;
    let (to, from) = (Mutex::new(to), Mutex::new(from));
    let send = move |Message(words), wait| {
        ensure!(wait, Errno::EOPNOTSUPP);
        Ok(to.lock().unwrap().send(words)?)
    };
    let port = of_messages(Kind::Processes, send, move || Ok(Message(from.lock().unwrap().recv()?)));
    Ok(Port { most_bytes: 5_000 * BYTES as u64, ..port }) // If it is not asleep by then, it is said to take as many.
}

/// Room for messages in a bounded channel: whoever makes one chooses.
pub const ROOM: usize = 64;

pub fn bounded() -> Port {
    let (to, from) = sync_channel(ROOM);
    let from = Mutex::new(from);
    let send = move |sent, wait| if wait { Ok(to.send(sent)?) } else { to.try_send(sent).ok().context("Full") };
    of_messages(Kind::Threads, send, move || Ok(from.lock().unwrap().recv()?))
}

/// It gets so many messages.
pub fn unbounded(messages: u64) -> Port {
    let (to, from) = channel();
    let from = Mutex::new(from);
    let send = move |message, _| Ok(to.send(message)?);
    let port = of_messages(Kind::Threads, send, move || Ok(from.lock().unwrap().recv()?));
    Port { most_bytes: messages * BYTES as u64, ..port }
}

fn of_messages(
    between: Kind,
    send: impl Fn(Message, bool) -> Result<()> + Sync + 'static,
    receive: impl Fn() -> Result<Message> + Sync + 'static,
) -> Port {
    let send = Box::new(move |bytes: &[u8], wait| send(Message::from_bytes(bytes.try_into()?), wait).map(|()| BYTES));
    let receive = Box::new(move |buffer: &mut [u8]| {
        buffer.copy_from_slice(&receive()?.to_bytes());
        Ok(Some(BYTES))
    });
    Port { between, most_bytes: u64::MAX, may_lose: false, send, receive }
}
