//! By which mechanisms can a message go from one to another, and how is each opened, sent by and received from?

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use std::{fmt, io};

use anyhow::{Context, Result, anyhow, ensure};
use ipc_channel::ipc::channel;
use ipc_demo::event::Event;
use ipc_demo::queued_signal;
use ipc_demo::ring::{self, Ring};
use nix::libc::SIGUSR1;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use process_demo::crew::Kind;

use super::mailbox::Mailbox;
use crate::mechanisms::kernel::{self, Link, Way};
use crate::names::Names;

/// A mechanism, by the name that it has in every table.
pub struct Mechanism {
    pub name: &'static str,
    pub between: Kind,
    pub open: fn(&Names) -> Result<Line>,
}

pub const FUTEX: &str = "memory + futex";
pub const IPC_CHANNEL: &str = "ipc-channel";
pub const SIGNAL: &str = "signal";

pub const MECHANISMS: &[Mechanism] = &[
    processes("pipe", |names| linked(Way::Pipe, names)),
    processes("named FIFO", |names| linked(Way::Fifo, names)),
    processes("Unix stream", |names| linked(Way::UnixStream, names)),
    processes("TCP", |names| linked(Way::Tcp, names)),
    processes("Unix seqpacket", |names| linked(Way::UnixSeqpacket, names)),
    processes("Unix datagram", |names| linked(Way::UnixDatagram, names)),
    processes("UDP", |names| linked(Way::Udp, names)),
    processes("POSIX queue", |names| linked(Way::Queue, names)),
    processes("eventfd", eventfd),
    processes(FUTEX, mailbox),
    processes("ring", ring),
    processes(IPC_CHANNEL, ipc_channel),
    processes(SIGNAL, signal),
    Mechanism { between: Kind::Threads, ..processes("std mpsc", std_mpsc) },
];

const fn processes(name: &'static str, open: fn(&Names) -> Result<Line>) -> Mechanism {
    Mechanism { name, between: Kind::Processes, open }
}

/// Both ends of one mechanism, open; a forked child has them too.
pub struct Line {
    pub carries: Carries,
    /// Sends one message, to that process.
    pub send: Box<Send>,
    /// Waits for one message; a stream has no messages, and gives so many bytes.
    pub receive: Box<Receive>,
    /// What poll(2) could wait for at the receiving end, if there is such a thing.
    pub polled: Option<Arc<dyn AsFd + std::marker::Send + Sync>>,
}

type Send = dyn Fn(&[u8], Pid) -> Result<()> + Sync;
type Receive = dyn Fn(usize) -> Result<Vec<u8>> + Sync;

/// What one message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    Bytes,
    /// A number, to which others are added while it waits.
    Sum,
    /// Nothing but that it came.
    News,
}

fn line(
    carries: Carries,
    send: impl Fn(&[u8], Pid) -> Result<()> + Sync + 'static,
    receive: impl Fn(usize) -> Result<Vec<u8>> + Sync + 'static,
) -> Line {
    Line { carries, send: Box::new(send), receive: Box::new(receive), polled: None }
}

/// Bytes of an ordinary message.
pub const BYTES: usize = 64;

const ROOM: usize = 16; // Messages: few, so that who sends many meets a full one.

/// What has a descriptor at both ends, by plain read and write.
fn linked(way: Way, names: &Names) -> Result<Line> {
    let queue = names.in_system();
    let Link { to, from } = way.link(&kernel::Names { directory: &names.directory, queue: &queue })?;
    let from = Arc::new(from);
    let polled = Arc::clone(&from);
    let send = move |mut message: &[u8], _| {
        while !message.is_empty() {
            message = &message[to.send(message)?..]; // What keeps boundaries takes all, or is an error.
        }
        Ok(())
    };
    let receive = move |bytes| {
        let mut message = vec![0; bytes];
        let mut filled = from.receive(&mut message)?;
        while filled < bytes && !way.keeps_boundaries() {
            let more = from.receive(&mut message[filled..])?;
            ensure!(more > 0, "end");
            filled += more;
        }
        message.truncate(filled);
        Ok(message)
    };
    Ok(Line { polled: Some(polled), ..line(Carries::Bytes, send, receive) })
}

/// Whatever the message is, one is added.
fn eventfd(_: &Names) -> Result<Line> {
    let event = Arc::new(Event::counter().context("eventfd")?);
    let (to, polled) = (Arc::clone(&event), Arc::clone(&event));
    let receive = move |_| Ok(event.wait()?.to_ne_bytes().to_vec());
    Ok(Line { polled: Some(polled), ..line(Carries::Sum, move |_, _| Ok(to.add(1)?), receive) })
}

fn mailbox(_: &Names) -> Result<Line> {
    let to = Arc::new(Mailbox::new()?);
    let from = Arc::clone(&to);
    let send = move |message: &[u8], _| to.put(message).map(|number| to.publish(number));
    Ok(line(Carries::Bytes, send, move |_| from.take()))
}

/// Each role is claimed where it is played: after a fork.
fn ring(_: &Names) -> Result<Line> {
    let to = Arc::new(Ring::new(ROOM, BYTES).context("a ring")?);
    let from = Arc::clone(&to);
    let (sender, receiver) = (Mutex::new(None), Mutex::new(None));
    let send = move |message: &[u8], _| by_role(&sender, || to.sender(), |role| role.send(message));
    let receive = move |bytes| {
        let mut message = vec![0; bytes];
        let length = by_role(&receiver, || from.receiver(), |role| role.receive(&mut message))?;
        message.truncate(length);
        Ok(message)
    };
    Ok(line(Carries::Bytes, send, receive))
}

fn by_role<R, T>(
    role: &Mutex<Option<R>>,
    claim: impl FnOnce() -> io::Result<R>,
    call: impl FnOnce(&mut R) -> Result<T, ring::Error>,
) -> Result<T> {
    let mut role = role.lock().unwrap();
    let claimed = match role.take() {
        Some(claimed) => claimed,
        None => claim().map_err(|error| by_name(error.kind()))?,
    };
    call(role.insert(claimed)).map_err(by_name)
}

fn by_name(error: impl fmt::Debug) -> anyhow::Error {
    anyhow!("{error:?}")
}

fn ipc_channel(_: &Names) -> Result<Line> {
    let (to, from) = channel::<Vec<u8>>().context("an ipc-channel")?;
    let (to, from) = (Mutex::new(to), Mutex::new(from));
    let send = move |message: &[u8], _| Ok(to.lock().unwrap().send(message.to_vec())?);
    Ok(line(Carries::Bytes, send, move |_| Ok(from.lock().unwrap().recv()?)))
}

fn signal(_: &Names) -> Result<Line> {
    queued_signal::block(&[SIGUSR1]).context("blocking a signal")?;
    let receive = |_| {
        queued_signal::take(&[SIGUSR1], Duration::MAX)?.context("a wait for ever is over")?;
        Ok(Vec::new())
    };
    Ok(line(Carries::News, |_, to| Ok(kill(to, Signal::SIGUSR1)?), receive))
}

fn std_mpsc(_: &Names) -> Result<Line> {
    let (to, from) = mpsc::channel();
    let from = Mutex::new(from);
    let send = move |message: &[u8], _| Ok(to.send(message.to_vec())?);
    Ok(line(Carries::Bytes, send, move |_| Ok(from.lock().unwrap().recv()?)))
}
