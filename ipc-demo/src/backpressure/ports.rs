//! Each mechanism, as its writer and its reader see it: numbered messages of 64 bytes.

use std::sync::{Mutex, mpsc};

use anyhow::{Context, Result, anyhow, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{getsockopt, sockopt::RcvBuf};
use process_demo::crew::Kind;
use shared::Stage;

use crate::link::{Link, Names, Way};

pub const BYTES: usize = 64;

type Message = [u8; BYTES];

/// Both ends, for whoever has it.
pub struct Port {
    pub between: Kind,
    /// For one that never refuses: it gets no more.
    pub most_bytes: u64,
    pub may_lose: bool,
    /// The system call in which its writer sleeps, if it does.
    pub waits_in: i64,
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
            match (self.send)(&message(number)[done..], wait) {
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
            let Some(bytes) = self.whole_message()? else { break };
            let number = u64::from_le_bytes(*bytes.first_chunk().context("no number")?);
            ensure!(bytes == message(number), "message {number} is not what was sent");
            ensure!(number == next || (self.may_lose && number > next), "message {number} came in place of {next}");
            (arrived, next) = (arrived + 1, number + 1);
        }
        Ok(arrived)
    }

    fn whole_message(&self) -> Result<Option<Message>> {
        let (mut bytes, mut filled) = ([0; BYTES], 0);
        while filled < BYTES {
            let Some(count) = (self.receive)(&mut bytes[filled..])? else { return Ok(None) };
            ensure!(count > 0, "the writer is gone");
            filled += count;
        }
        Ok(Some(bytes))
    }
}

/// Its number, and then a filling that follows from it.
fn message(number: u64) -> Message {
    let mut bytes = [(number % 251) as u8; BYTES];
    bytes[..size_of::<u64>()].copy_from_slice(&number.to_le_bytes());
    bytes
}

pub fn link(stage: &Stage, way: Way) -> Result<Port> {
    let queue = format!("/{}", stage.name("backpressure"));
    let Link { to, from } = way.link(&Names { directory: stage.directory(), queue: &queue })?;
    let may_lose = way == Way::Udp;
    // More than its reader's buffer has bytes for, whatever this machine's is.
    let most_bytes = if may_lose { getsockopt(&from, RcvBuf)? as u64 + 1 } else { u64::MAX };
    let waits_in = if way == Way::Queue { libc::SYS_mq_timedsend } else { libc::SYS_write };
    let send = move |bytes: &[u8], wait| {
        if wait {
            to.block()?
        } else {
            to.never_block()?
        }
        Ok(to.send(bytes)?)
    };
    let receive = move |buffer: &mut [u8]| {
        // Both ends of a queue are one. What was sent to this machine itself is there, or nowhere.
        if may_lose {
            from.never_block()?
        } else {
            from.block()?
        }
        match from.receive(buffer) {
            Err(Errno::EAGAIN) => Ok(None),
            done => Ok(Some(done?)),
        }
    };
    let (send, receive) = (Box::new(send), Box::new(receive));
    Ok(Port { between: Kind::Processes, most_bytes, may_lose, waits_in, send, receive })
}

/// Its sender cannot be asked not to wait.
pub fn typed() -> Result<Port> {
    let (to, from) = ipc_channel::ipc::channel::<Vec<u8>>().context("an ipc-channel")?;
    let (to, from) = (Mutex::new(to), Mutex::new(from));
    let send = move |bytes: &[u8], wait| {
        ensure!(wait, Errno::EOPNOTSUPP);
        to.lock().unwrap().send(bytes.to_vec())?;
        Ok(BYTES)
    };
    let receive = move |buffer: &mut [u8]| {
        buffer.copy_from_slice(&from.lock().unwrap().recv()?);
        Ok(Some(BYTES))
    };
    let most_bytes = 5_000 * BYTES as u64; // If the writer is not asleep by then, it is said to take as many.
    let (send, receive) = (Box::new(send), Box::new(receive));
    Ok(Port { between: Kind::Processes, most_bytes, may_lose: false, waits_in: libc::SYS_sendmsg, send, receive })
}

/// Those between threads; the unbounded ones get so many messages.
pub fn channels(unbounded: u64) -> [(String, Port); 4] {
    const ROOM: usize = 64; // Of the bounded ones: whoever makes one chooses.
    let full = || anyhow!("Full");
    let most_bytes = unbounded * BYTES as u64;
    let (to, from) = mpsc::channel();
    let from = Mutex::new(from);
    let std = channel(most_bytes, move |one, _| Ok(to.send(one)?), move || Ok(from.lock().unwrap().recv()?));
    let (to, from) = crossbeam_channel::unbounded();
    let crossbeam = channel(most_bytes, move |one, _| Ok(to.send(one)?), move || Ok(from.recv()?));
    let (to, from) = mpsc::sync_channel(ROOM);
    let from = Mutex::new(from);
    let send = move |one, wait: bool| match to.try_send(one) {
        Err(mpsc::TrySendError::Full(_)) if !wait => Err(full()),
        Err(mpsc::TrySendError::Full(one)) => Ok(to.send(one)?),
        done => Ok(done?),
    };
    let std_bounded = channel(u64::MAX, send, move || Ok(from.lock().unwrap().recv()?));
    let (to, from) = crossbeam_channel::bounded(ROOM);
    let send = move |one, wait: bool| match to.try_send(one) {
        Err(crossbeam_channel::TrySendError::Full(_)) if !wait => Err(full()),
        Err(crossbeam_channel::TrySendError::Full(one)) => Ok(to.send(one)?),
        done => Ok(done?),
    };
    let crossbeam_bounded = channel(u64::MAX, send, move || Ok(from.recv()?));
    [
        ("std mpsc::channel".to_owned(), std),
        ("crossbeam unbounded".to_owned(), crossbeam),
        (format!("std sync_channel({ROOM})"), std_bounded),
        (format!("crossbeam bounded({ROOM})"), crossbeam_bounded),
    ]
}

/// Messages that are moved from thread to thread.
fn channel(
    most_bytes: u64,
    send: impl Fn(Message, bool) -> Result<()> + Sync + 'static,
    receive: impl Fn() -> Result<Message> + Sync + 'static,
) -> Port {
    let send = move |bytes: &[u8], wait| {
        send(bytes.try_into()?, wait)?;
        Ok(BYTES)
    };
    let receive = move |buffer: &mut [u8]| {
        buffer.copy_from_slice(&receive()?);
        Ok(Some(BYTES))
    };
    let (send, receive) = (Box::new(send), Box::new(receive));
    Port { between: Kind::Threads, most_bytes, may_lose: false, waits_in: libc::SYS_futex, send, receive }
}
