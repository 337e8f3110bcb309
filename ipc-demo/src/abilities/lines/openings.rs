//! How is each mechanism opened, but for shared memory's own?

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use ipc_channel::ipc::channel;
use ipc_channel::{IpcError, TryRecvError};
use ipc_demo::event::Event;
use ipc_demo::queued_signal;
use ipc_demo::ring::{Error, Ring};
use nix::libc::SIGUSR1;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;

use super::{BYTES, Carries, Descriptor, Line, Patience, Receiving, Refusal, Sending};
use crate::mechanisms::kernel::{self as link, Link, Way};
use crate::names::Names;

const ROOM: usize = 16; // Messages: few, so that who sends many meets a full one.

pub fn pipe(names: &Names) -> Result<Line> {
    linked(Way::Pipe, names)
}

pub fn fifo(names: &Names) -> Result<Line> {
    linked(Way::Fifo, names)
}

pub fn unix_stream(names: &Names) -> Result<Line> {
    linked(Way::UnixStream, names)
}

pub fn tcp(names: &Names) -> Result<Line> {
    linked(Way::Tcp, names)
}

pub fn seqpacket(names: &Names) -> Result<Line> {
    linked(Way::UnixSeqpacket, names)
}

pub fn datagram(names: &Names) -> Result<Line> {
    linked(Way::UnixDatagram, names)
}

pub fn udp(names: &Names) -> Result<Line> {
    linked(Way::Udp, names)
}

pub fn queue(names: &Names) -> Result<Line> {
    linked(Way::Queue, names)
}

/// What has a descriptor at both ends, by plain read and write.
fn linked(way: Way, names: &Names) -> Result<Line> {
    let queue = format!("/{}", names.system);
    let Link { to, from } = way.link(&link::Names { directory: &names.directory, queue: &queue })?;
    let (to, from) = (Arc::new(to), Arc::new(from));
    let descriptor = copy_of(Arc::clone(&from));
    let sender = move || {
        let to = Arc::clone(&to);
        let send: Sending = Box::new(move |mut message| {
            while !message.is_empty() {
                message = &message[to.send(message)?..]; // What keeps boundaries takes all, or is an error.
            }
            Ok(())
        });
        Ok(send)
    };
    let receive = move |buffer: &mut [u8], patience| {
        if patience == Patience::Looks && !is_readable(&from)? {
            return Ok(0);
        }
        let mut filled = from.receive(buffer)?;
        while !way.keeps_boundaries() && filled < buffer.len() {
            filled += match from.receive(&mut buffer[filled..])? {
                0 => return Err(Refusal("end".to_owned())),
                more => more,
            };
        }
        Ok(filled)
    };
    Ok(Line { descriptor, ..line(Carries::Bytes, sender, move || Ok(Box::new(receive))) })
}

fn copy_of(end: impl AsFd + 'static) -> Option<Descriptor> {
    Some(Box::new(move || end.as_fd().try_clone_to_owned()))
}

fn is_readable(fd: &impl AsFd) -> nix::Result<bool> {
    Ok(poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0)
}

pub fn line(
    carries: Carries,
    sender: impl FnMut() -> Result<Sending, Refusal> + 'static,
    receiver: impl FnOnce() -> Result<Receiving, Refusal> + 'static,
) -> Line {
    Line { carries, sender: Box::new(sender), receiver: Box::new(receiver), descriptor: None }
}

/// Whatever the message is, one is added.
pub fn eventfd(_: &Names) -> Result<Line> {
    let event = Arc::new(Event::counter().context("eventfd")?);
    let descriptor = copy_of(Arc::clone(&event));
    let counted = Arc::clone(&event);
    let sender = move || {
        let event = Arc::clone(&counted);
        let send: Sending = Box::new(move |_| Ok(event.add(1)?));
        Ok(send)
    };
    let receive = move |buffer: &mut [u8], patience| {
        let taken = match patience {
            Patience::Waits => Some(event.wait()?),
            Patience::Looks => event.wait_within(Duration::ZERO)?,
        };
        let Some(taken) = taken else { return Ok(0) };
        buffer[..size_of::<u64>()].copy_from_slice(&taken.to_ne_bytes());
        Ok(size_of::<u64>())
    };
    Ok(Line { descriptor, ..line(Carries::Sum, sender, move || Ok(Box::new(receive))) })
}

pub fn ring(_: &Names) -> Result<Line> {
    let ring = Arc::new(Ring::new(ROOM, BYTES).context("a ring")?);
    let (sending, polled) = (Arc::clone(&ring), Arc::clone(&ring));
    let descriptor: Option<Descriptor> = Some(Box::new(move || polled.fd().try_clone_to_owned()));
    let sender = move || {
        let mut role = sending.sender().map_err(|error| named(error.kind()))?;
        let send: Sending = Box::new(move |message| role.send(message).map_err(named));
        Ok(send)
    };
    let receiver = move || {
        let mut role = ring.receiver().map_err(|error| named(error.kind()))?;
        let receive: Receiving = Box::new(move |buffer, patience| match patience {
            Patience::Waits => role.receive(buffer).map_err(named),
            Patience::Looks => match role.try_receive(buffer) {
                Err(Error::Empty | Error::PeerGone) => Ok(0),
                done => done.map_err(named),
            },
        });
        Ok(receive)
    };
    Ok(Line { descriptor, ..line(Carries::Bytes, sender, receiver) })
}

fn named(error: impl std::fmt::Debug) -> Refusal {
    Refusal(format!("{error:?}"))
}

/// Its first message makes it ask, once, how much one send takes; it panics if it gets no socket for that. So let it ask
/// before others have taken the descriptors.
pub fn introduce_ipc_channel() -> Result<()> {
    let (to, _from) = channel::<u8>().context("an ipc-channel")?;
    Ok(to.send(0)?)
}

pub fn ipc_channel(_: &Names) -> Result<Line> {
    let (to, from) = channel::<Vec<u8>>().context("an ipc-channel")?;
    let sender = move || {
        let to = to.clone();
        let send: Sending = Box::new(move |message| to.send(message.to_vec()).map_err(typed));
        Ok(send)
    };
    let receive = move |buffer: &mut [u8], patience| match patience {
        Patience::Waits => from.recv().map(|message| copied(&message, buffer)).map_err(typed),
        Patience::Looks => match from.try_recv() {
            Ok(message) => Ok(copied(&message, buffer)),
            Err(TryRecvError::Empty) => Ok(0),
            Err(TryRecvError::IpcError(error)) => Err(typed(error)),
        },
    };
    Ok(line(Carries::Bytes, sender, move || Ok(Box::new(receive))))
}

fn typed(error: IpcError) -> Refusal {
    match error {
        IpcError::Io(error) => error.into(),
        other => named(other),
    }
}

/// A message that is longer than its buffer shows by its length.
fn copied(message: &[u8], buffer: &mut [u8]) -> usize {
    let fits = message.len().min(buffer.len());
    buffer[..fits].copy_from_slice(&message[..fits]);
    message.len()
}

/// To the process that opened it, which receives. It keeps the signal blocked from then on.
pub fn signal(_: &Names) -> Result<Line> {
    queued_signal::block(&[SIGUSR1]).context("blocking a signal")?;
    let to = getpid();
    let sender = move || {
        let send: Sending = Box::new(move |_| Ok(kill(to, Signal::SIGUSR1)?));
        Ok(send)
    };
    let receive = |_: &mut [u8], patience| {
        let time = if patience == Patience::Waits { Duration::from_secs(60) } else { Duration::ZERO };
        Ok(usize::from(queued_signal::take(&[SIGUSR1], time)?.is_some()))
    };
    Ok(line(Carries::News, sender, move || Ok(Box::new(receive))))
}

pub fn mpsc(_: &Names) -> Result<Line> {
    let (to, from) = mpsc::channel::<Vec<u8>>();
    let sender = move || {
        let to = to.clone();
        let send: Sending = Box::new(move |message| to.send(message.to_vec()).map_err(named));
        Ok(send)
    };
    Ok(line(Carries::Bytes, sender, move || Ok(by_std(from))))
}

pub fn sync_channel(_: &Names) -> Result<Line> {
    let (to, from) = mpsc::sync_channel::<Vec<u8>>(ROOM);
    let sender = move || {
        let to = to.clone();
        let send: Sending = Box::new(move |message| to.send(message.to_vec()).map_err(named));
        Ok(send)
    };
    Ok(line(Carries::Bytes, sender, move || Ok(by_std(from))))
}

fn by_std(from: mpsc::Receiver<Vec<u8>>) -> Receiving {
    Box::new(move |buffer, patience| match patience {
        Patience::Waits => from.recv().map(|message| copied(&message, buffer)).map_err(named),
        Patience::Looks => Ok(from.try_recv().map_or(0, |message| copied(&message, buffer))),
    })
}

pub fn crossbeam(_: &Names) -> Result<Line> {
    let (to, from) = crossbeam_channel::bounded::<Vec<u8>>(ROOM);
    let sender = move || {
        let to = to.clone();
        let send: Sending = Box::new(move |message| to.send(message.to_vec()).map_err(named));
        Ok(send)
    };
    let receive = move |buffer: &mut [u8], patience| match patience {
        Patience::Waits => from.recv().map(|message| copied(&message, buffer)).map_err(named),
        Patience::Looks => Ok(from.try_recv().map_or(0, |message| copied(&message, buffer))),
    };
    Ok(line(Carries::Bytes, sender, move || Ok(Box::new(receive))))
}
