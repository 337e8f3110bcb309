//! Which mechanisms are measured? Each with its two ends.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write, pipe};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crossbeam_channel::bounded;
use ipc_channel::ipc::{IpcSharedMemory, bytes_channel, channel};
use ipc_demo::message_queue::MessageQueue;
use ipc_demo::pass_fd::{receive_fds, send_fds};
use ipc_demo::ring::Ring;
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use process_demo::crew::Kind::{self, Processes, Threads};
use shared::measure::Rival;
use shared::number::chosen_with_unit;

use super::message::{Stamp, bytes_of};
use super::stream::{Row, processes, threads};
use crate::link::{End, Link, Names, Way};

/// One row of each contest.
pub struct Mechanism {
    pub name: &'static str,
    pub between: Kind,
    pub how: How,
    /// What to copy for it; empty if there is nothing.
    pub snippet: &'static str,
    pub rival: for<'a> fn(Row<'a>) -> Rival<'a>,
}

/// What becomes of the bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// To the other side, once at least.
    Copied,
    /// Encoded and decoded one by one, and copied.
    Serialized,
    /// They stay in their memory, which the other process is given and maps.
    Passed,
    /// They stay in their memory; another thread gets their address.
    Moved,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Copied => "copied",
            How::Serialized => "serialized",
            How::Passed => "passed",
            How::Moved => "moved",
        })
    }
}

pub const RING: &str = "ring";
pub const RING_OF_THREADS: &str = "ring (threads)";

/// The first ones of them stand for all at quick effort.
pub const AT_QUICK_EFFORT: usize = 7;

pub static MECHANISMS: [Mechanism; 14] = [
    mechanism("pipe", Processes, How::Copied, "pipe_pair", |row| stream(row, |row| link(row, Way::Pipe))),
    mechanism("Unix stream", Processes, How::Copied, "socket_pair", |row| {
        stream(row, |row| link(row, Way::UnixStream))
    }),
    mechanism(RING, Processes, How::Copied, "ring", |row| processes(row, ring)),
    mechanism("ipc-channel", Processes, How::Serialized, "typed", ipc_values),
    mechanism("memfd", Processes, How::Passed, "pass_fd", passed),
    mechanism(RING_OF_THREADS, Threads, How::Copied, "ring", |row| threads(row, ring)),
    mechanism("crossbeam", Threads, How::Moved, "", moved_by_crossbeam),
    mechanism("std channel", Threads, How::Moved, "", moved_by_std),
    mechanism("1-MiB pipe", Processes, How::Copied, "pipe_pair", |row| stream(row, pipe_of_a_mebibyte)),
    mechanism("TCP", Processes, How::Copied, "", |row| stream(row, |row| link(row, Way::Tcp))),
    mechanism("Unix seqpacket", Processes, How::Copied, "socket_pair", packets),
    mechanism("POSIX queue", Processes, How::Copied, "message_queue", queue),
    mechanism("ipc bytes", Processes, How::Copied, "", ipc_bytes),
    mechanism("ipc region", Processes, How::Copied, "", ipc_regions),
];

const fn mechanism(
    name: &'static str,
    between: Kind,
    how: How,
    snippet: &'static str,
    rival: for<'a> fn(Row<'a>) -> Rival<'a>,
) -> Mechanism {
    Mechanism { name, between, how, snippet, rival }
}

fn link(row: Row<'_>, way: Way) -> Result<Link> {
    way.link(&Names { directory: &row.bench.directory, queue: &row.bench.queue })
}

/// It holds more than the usual 64 KiB: a mebibyte, for by default nobody may have more.
fn pipe_of_a_mebibyte(row: Row<'_>) -> Result<Link> {
    const BYTES: i32 = 1 << 20;
    let link = link(row, Way::Pipe)?;
    let held = fcntl(link.to.as_fd(), FcntlArg::F_SETPIPE_SZ(BYTES)).context("a pipe of 1 MiB")?;
    ensure!(held >= BYTES, "the pipe holds {held} bytes");
    Ok(link)
}

/// Bytes without boundaries: written until all is gone, read until all is there.
fn stream<'a>(row: Row<'a>, open: impl FnOnce(Row<'a>) -> Result<Link> + 'a) -> Rival<'a> {
    processes(row, move |row| {
        let Link { to, from } = open(row)?;
        let send = move |stamp| write_all(&to, row.bench.area.borrow_mut().next(row.bytes, stamp));
        let mut buffer = vec![0; row.bytes];
        let receive = move |due: Stamp| {
            read_exact(&from, &mut buffer)?;
            due.is_right(&buffer)
        };
        Ok((send, receive))
    })
}

fn write_all(to: &End, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[to.send(bytes)?..];
    }
    Ok(())
}

fn read_exact(from: &End, buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read = from.receive(&mut buffer[filled..])?;
        ensure!(read > 0, "the sender is gone");
        filled += read;
    }
    Ok(())
}

/// Each message by one call, whole or not at all: one that is longer than the send buffer is refused.
fn packets(row: Row<'_>) -> Rival<'_> {
    processes(row, |row| {
        let Link { to, from } = link(row, Way::UnixSeqpacket)?;
        let send = move |stamp| {
            let sent = to.send(row.bench.area.borrow_mut().next(row.bytes, stamp))?;
            ensure!(sent == row.bytes, "{sent} of {} bytes were sent", row.bytes);
            Ok(())
        };
        let mut buffer = vec![0; row.bytes];
        let receive = move |due: Stamp| {
            let length = from.receive(&mut buffer)?;
            due.is_right(&buffer[..length])
        };
        Ok((send, receive))
    })
}

fn queue(row: Row<'_>) -> Rival<'_> {
    const PATIENCE: Duration = Duration::from_secs(10); // A queue does not tell when its receiver is gone.
    processes(row, |row| {
        let queue = Arc::new(new_queue(row)?);
        let from = Arc::clone(&queue);
        let send = move |stamp| {
            let mut area = row.bench.area.borrow_mut();
            Ok(queue.send_within(area.next(row.bytes, stamp), 0, PATIENCE)?)
        };
        Ok((send, move |due: Stamp| due.is_right(&from.receive()?.bytes)))
    })
}

/// Its name is gone before the first message: the child inherits it.
fn new_queue(row: Row<'_>) -> Result<MessageQueue> {
    const MESSAGES: usize = 10; // As many as every user may have by default.
    let made = MessageQueue::create(&row.bench.queue, MESSAGES, row.bytes);
    let longest = fs::read_to_string("/proc/sys/fs/mqueue/msgsize_max").ok().and_then(|text| text.trim().parse().ok());
    match longest {
        // What mq_open says then, EINVAL or EMFILE, may have other reasons too.
        Some(longest) if made.is_err() && row.bytes > longest => Err(Errno::EMSGSIZE)
            .context(format!("longer than msgsize_max, {}", chosen_with_unit("bytes", longest as f64))),
        _ => made.map(|(queue, _)| queue).context("a POSIX queue"),
    }
}

/// Copied into a slot by the sender, and out of it by the receiver.
fn ring<'a>(
    row: Row<'a>,
) -> Result<(impl FnMut(Stamp) -> Result<()> + 'a, impl FnMut(Stamp) -> Result<bool> + Send + use<>)> {
    let to = Arc::new(Ring::new(row.in_flight(), row.bytes).context("a ring")?);
    let from = Arc::clone(&to);
    let (mut sender, mut receiver) = (None, None); // Each is claimed at its first use, by the process that uses it.
    let send = move |stamp| {
        if sender.is_none() {
            sender = Some(to.sender()?);
        }
        let sender = sender.as_mut().context("the role was claimed")?;
        Ok(sender.send(row.bench.area.borrow_mut().next(row.bytes, stamp))?)
    };
    let mut buffer = vec![0; row.bytes];
    let receive = move |due: Stamp| {
        if receiver.is_none() {
            receiver = Some(from.receiver()?);
        }
        let length = receiver.as_mut().context("the role was claimed")?.receive(&mut buffer)?;
        due.is_right(&buffer[..length])
    };
    Ok((send, receive))
}

/// ipc-channel's channel of bytes, which splits what is longer than a packet.
fn ipc_bytes(row: Row<'_>) -> Rival<'_> {
    processes(row, |row| {
        let (to, from) = bytes_channel().context("an ipc-channel")?;
        let send = move |stamp| Ok(to.send(row.bench.area.borrow_mut().next(row.bytes, stamp))?);
        Ok((send, move |due: Stamp| due.is_right(&from.recv()?)))
    })
}

/// The same by its channel of values: to serde, a `Vec<u8>` is a list of numbers.
fn ipc_values(row: Row<'_>) -> Rival<'_> {
    processes(row, |row| {
        let (to, from) = channel::<Vec<u8>>().context("an ipc-channel")?;
        let send = move |stamp| Ok(to.send(row.bench.area.borrow_mut().next(row.bytes, stamp).to_vec())?);
        Ok((send, move |due: Stamp| due.is_right(&from.recv()?)))
    })
}

/// Each message copied into a region of its own, whose descriptor is sent; the receiver maps it.
fn ipc_regions(row: Row<'_>) -> Rival<'_> {
    const ENOUGH: usize = 64; // All rows of a contest together need fewer descriptors.
    processes(row, |row| {
        // Where descriptors or memory are refused, ipc-channel would panic.
        let descriptors: io::Result<Vec<File>> = (0..ENOUGH).map(|_| File::open("/dev/null")).collect();
        descriptors.context(format!("fewer than {ENOUGH} free descriptors"))?;
        SharedRegion::new(row.bytes).context("a region")?;
        let (to, from) = channel().context("an ipc-channel")?;
        let (mut claim, mut give_back) = credits(regions_in_flight(row))?;
        let send = move |stamp| {
            claim()?;
            Ok(to.send(IpcSharedMemory::from_bytes(row.bench.area.borrow_mut().next(row.bytes, stamp)))?)
        };
        let receive = move |due: Stamp| {
            let is_right = due.is_right(&from.recv()?)?;
            give_back()?;
            Ok(is_right)
        };
        Ok((send, receive))
    })
}

/// The message is written where its receiver will read it: the memory's descriptor is sent, and the receiver maps it.
fn passed(row: Row<'_>) -> Rival<'_> {
    processes(row, |row| {
        let (to, from) = UnixStream::pair().context("a socket pair")?;
        let (mut claim, mut give_back) = credits(regions_in_flight(row))?;
        let regions = (0..regions_in_flight(row)).map(|_| SharedRegion::new(row.bytes));
        let mut regions = regions.collect::<io::Result<Vec<_>>>().context("memory to pass")?;
        let send = move |stamp: Stamp| {
            claim()?; // They come back in the order in which they went.
            let next = stamp.number as usize % regions.len();
            stamp.put_on(&mut bytes_of(&mut regions[next])[..row.bytes]);
            Ok(send_fds(&to, &[regions[next].fd()])?)
        };
        let receive = move |due: Stamp| {
            let mut given = receive_fds(&from, 1)?.context("the sender is gone")?;
            let is_right = due.is_right(bytes_of(&mut SharedRegion::from_fd(given.remove(0))?))?;
            give_back()?;
            Ok(is_right)
        };
        Ok((send, receive))
    })
}

/// Each region has a descriptor, of which one user may have only so many in flight.
fn regions_in_flight(row: Row<'_>) -> usize {
    row.in_flight().min(16)
}

/// So many messages may be in flight: the sender claims a place for each, and the receiver gives it back by a pipe.
fn credits(mut free: usize) -> Result<(impl FnMut() -> Result<()>, impl FnMut() -> Result<()>)> {
    let (mut from, mut to) = pipe().context("a pipe")?;
    let claim = move || {
        if free == 0 {
            free = from.read(&mut [0; 64])?; // A bare read: however many there are.
            ensure!(free > 0, "the receiver is gone");
        }
        free -= 1;
        Ok(())
    };
    Ok((claim, move || Ok(to.write_all(&[0])?)))
}

fn moved_by_crossbeam(row: Row<'_>) -> Rival<'_> {
    let ((to, from), (back, empty)) = (bounded(row.in_flight()), bounded(row.in_flight()));
    let (take, take_empty) = (move || Ok(from.recv()?), move || Ok(empty.recv()?));
    moved(row, move |message| Ok(to.send(message)?), take, move |buffer| Ok(back.send(buffer)?), take_empty)
}

fn moved_by_std(row: Row<'_>) -> Rival<'_> {
    let ((to, from), (back, empty)) = (mpsc::sync_channel(row.in_flight()), mpsc::sync_channel(row.in_flight()));
    let (take, take_empty) = (move || Ok(from.recv()?), move || Ok(empty.recv()?));
    moved(row, move |message| Ok(to.send(message)?), take, move |buffer| Ok(back.send(buffer)?), take_empty)
}

/// A message's owner goes through a channel, and its bytes stay where they are; the buffers come back by another channel.
fn moved<'a>(
    row: Row<'a>,
    give: impl Fn(Vec<u8>) -> Result<()> + 'a,
    take: impl Fn() -> Result<Vec<u8>> + Send + 'static,
    give_back: impl Fn(Vec<u8>) -> Result<()> + Send + 'static,
    take_empty: impl Fn() -> Result<Vec<u8>> + 'a,
) -> Rival<'a> {
    threads(row, move |row| {
        let mut fresh = vec![vec![1; row.bytes]; row.in_flight()]; // Each written once, so that its memory is there.
        let send = move |stamp: Stamp| {
            let mut message = if let Some(first_use) = fresh.pop() { first_use } else { take_empty()? };
            stamp.put_on(&mut message);
            give(message)
        };
        let receive = move |due: Stamp| {
            let message = take()?;
            let is_right = due.is_right(&message)?;
            give_back(message)?;
            Ok(is_right)
        };
        Ok((send, receive))
    })
}
