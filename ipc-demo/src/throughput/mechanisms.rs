//! Which mechanisms are measured? Each with its constructor, how often it copies, and its two ends.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use anyhow::{Context, Result, ensure};
use crossbeam_channel::bounded;
use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcReceiver, IpcSender, IpcSharedMemory, bytes_channel, channel,
};
use ipc_demo::message_queue::MessageQueue;
use ipc_demo::ring::Ring;
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{getsockopt, sockopt};
use process_demo::crew::Kind::{self, Processes, Threads};
use shared::measure::Rival;
use shared::number::chosen_with_unit;

use super::course::{Course, processes, threads, under_way};
use super::message::{Check, Stamp};
use crate::link::{End, Link, Names, Way};

/// One row of each contest.
pub struct Mechanism {
    pub name: &'static str,
    pub between: Kind,
    /// How often the bytes of a message are copied, at least.
    pub copies: u32,
    /// The crate, and the constructor.
    pub made_by: (&'static str, &'static str),
    pub rival: for<'a> fn(Course<'a>) -> Rival<'a>,
}

pub const RING: &str = "ring";
pub const RING_OF_THREADS: &str = "ring (threads)";
pub const IPC_CHANNEL: [&str; 2] = ["ipc bytes", "ipc region"];

/// Two copies are one in and one out again.
pub static MECHANISMS: [Mechanism; 12] = [
    mechanism("pipe", Processes, 2, ("nix", "pipe2"), |course| {
        processes(course, |course| Ok(stream(link(Way::Pipe, course)?, course)))
    }),
    mechanism("pipe of 1 MiB", Processes, 2, ("nix", "pipe2 and F_SETPIPE_SZ"), |course| {
        processes(course, |course| Ok(stream(enlarged(link(Way::Pipe, course)?)?, course)))
    }),
    mechanism("Unix stream", Processes, 2, ("nix", "socketpair(Stream)"), |course| {
        processes(course, |course| Ok(stream(link(Way::UnixStream, course)?, course)))
    }),
    mechanism("Unix seqpacket", Processes, 2, ("nix", "socketpair(SeqPacket)"), |course| {
        processes(course, |course| Ok(packets(link_of_packets(course)?, course)))
    }),
    mechanism("TCP", Processes, 2, ("std", "TcpStream, on loopback"), |course| {
        processes(course, |course| Ok(stream(link(Way::Tcp, course)?, course)))
    }),
    mechanism("POSIX queue", Processes, 2, ("nix", "mq_open, for 10 messages"), |course| {
        processes(course, |course| Ok(queue(new_queue(course)?, course)))
    }),
    mechanism(IPC_CHANNEL[0], Processes, 2, ("ipc-channel", "bytes_channel"), |course| {
        processes(course, |course| Ok(ipc_bytes(bytes_channel().context("an ipc-channel")?, course)))
    }),
    mechanism(IPC_CHANNEL[1], Processes, 1, ("ipc-channel", "IpcSharedMemory"), |course| {
        processes(course, |course| Ok(ipc_regions(channel_of_regions(course)?, pipe()?, course)))
    }),
    mechanism(RING, Processes, 2, ("nix", "memfd_create, Ring::new"), |course| {
        processes(course, |course| Ok(ring(new_ring(course)?, course)))
    }),
    mechanism(RING_OF_THREADS, Threads, 2, ("nix", "memfd_create, Ring::new"), |course| {
        threads(course, |course| Ok(ring(new_ring(course)?, course)))
    }),
    mechanism("crossbeam (moved)", Threads, 0, ("crossbeam-channel", "bounded"), |course| {
        threads(course, |course| Ok(moved_by_crossbeam(course.bytes)))
    }),
    mechanism("std (moved)", Threads, 0, ("std", "mpsc::sync_channel"), |course| {
        threads(course, |course| Ok(moved_by_std(course.bytes)))
    }),
];

const fn mechanism(
    name: &'static str,
    between: Kind,
    copies: u32,
    made_by: (&'static str, &'static str),
    rival: for<'a> fn(Course<'a>) -> Rival<'a>,
) -> Mechanism {
    Mechanism { name, between, copies, made_by, rival }
}

fn link(way: Way, course: Course<'_>) -> Result<Link> {
    way.link(&Names { directory: &course.bench.directory, queue: &course.bench.queue })
}

/// Makes a pipe hold more than the usual 64 KiB: a mebibyte, for by default nobody may have more.
fn enlarged(link: Link) -> Result<Link> {
    const BYTES: i32 = 1 << 20;
    let held = fcntl(link.to.as_fd(), FcntlArg::F_SETPIPE_SZ(BYTES)).context("a pipe of 1 MiB")?;
    ensure!(held >= BYTES, "the pipe holds {held} bytes");
    Ok(link)
}

/// Bytes without boundaries: written until all is gone, read until all is there.
fn stream(
    Link { to, from }: Link,
    course: Course<'_>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()>) {
    let (bytes, area) = (course.bytes, &course.bench.area);
    let send = move |stamp| write_all(&to, area.borrow_mut().next(bytes, stamp));
    let mut buffer = vec![0; bytes];
    let receive = move |check: &mut Check| {
        read_exact(&from, &mut buffer)?;
        check.look(&buffer)
    };
    (send, receive)
}

/// Two sockets that keep messages whole; an error if they take none of that size.
fn link_of_packets(course: Course<'_>) -> Result<Link> {
    let attempt = link(Way::UnixSeqpacket, course)?;
    attempt.to.never_block()?;
    match attempt.to.send(&vec![0; course.bytes]) {
        Err(Errno::EMSGSIZE) => {
            let held = chosen_with_unit("bytes", getsockopt(&attempt.to, sockopt::SndBuf)? as f64);
            Err(Errno::EOPNOTSUPP).context(format!("longer than its send buffer, {held}"))
        }
        sent => sent.context("trying a message of that size"),
    }?;
    link(Way::UnixSeqpacket, course)
}

/// Each message by one call, whole or not at all.
fn packets(
    Link { to, from }: Link,
    course: Course<'_>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()>) {
    let (bytes, area) = (course.bytes, &course.bench.area);
    let send = move |stamp| {
        let sent = to.send(area.borrow_mut().next(bytes, stamp))?;
        ensure!(sent == bytes, "{sent} of {bytes} bytes were sent");
        Ok(())
    };
    let mut buffer = vec![0; bytes];
    let receive = move |check: &mut Check| {
        let length = from.receive(&mut buffer)?;
        ensure!(length > 0, "the sender is gone");
        check.look(&buffer[..length])
    };
    (send, receive)
}

/// The snippet's queue, whose name is gone before the first message: the child inherits it.
fn new_queue(course: Course<'_>) -> Result<MessageQueue> {
    const MESSAGES: usize = 10; // As many as every user may have by default.
    let made = MessageQueue::create(&course.bench.queue, MESSAGES, course.bytes).map(|(queue, _)| queue);
    let error = made.as_ref().err().and_then(|error| error.raw_os_error()).map(Errno::from_raw);
    let longest = fs::read_to_string("/proc/sys/fs/mqueue/msgsize_max").ok().and_then(|text| text.trim().parse().ok());
    match (error, longest) {
        // EMFILE is what a user gets whose queues would need more memory than RLIMIT_MSGQUEUE grants.
        (Some(Errno::EINVAL | Errno::EMFILE), Some(longest)) if course.bytes > longest => {
            let longest = chosen_with_unit("bytes", longest as f64);
            Err(Errno::EOPNOTSUPP).context(format!("longer than msgsize_max, {longest}"))
        }
        (Some(error @ Errno::EINVAL), _) => Err(Errno::EOPNOTSUPP).context(format!("a POSIX queue: {error}")),
        _ => made.context("a POSIX queue"),
    }
}

fn queue(
    queue: MessageQueue,
    course: Course<'_>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()>) {
    let (bytes, area) = (course.bytes, &course.bench.area);
    let to = Rc::new(queue);
    let from = Rc::clone(&to);
    let send = move |stamp| Ok(to.send(area.borrow_mut().next(bytes, stamp), 0)?);
    let receive = move |check: &mut Check| check.look(&from.receive()?.bytes);
    (send, receive)
}

/// With a slot for each message that may be under way.
fn new_ring(course: Course<'_>) -> Result<Ring> {
    Ring::new(under_way(course.bytes), course.bytes).context("a ring")
}

/// Copied into a slot by the sender, and out of it by the receiver.
fn ring(
    ring: Ring,
    course: Course<'_>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()> + Send + 'static) {
    let (bytes, area) = (course.bytes, &course.bench.area);
    let to = Arc::new(ring);
    let from = Arc::clone(&to);
    let (mut sender, mut receiver) = (None, None); // Each is claimed at its first use, by the process that uses it.
    let send = move |stamp| {
        if sender.is_none() {
            sender = Some(to.sender()?);
        }
        let sender = sender.as_mut().context("the role was claimed")?;
        Ok(sender.send(area.borrow_mut().next(bytes, stamp))?)
    };
    let mut buffer = vec![0; bytes];
    let receive = move |check: &mut Check| {
        if receiver.is_none() {
            receiver = Some(from.receiver()?);
        }
        let length = receiver.as_mut().context("the role was claimed")?.receive(&mut buffer)?;
        check.look(&buffer[..length])
    };
    (send, receive)
}

/// By ipc-channel's channel of bytes, which splits what is longer than a packet.
fn ipc_bytes(
    (to, from): (IpcBytesSender, IpcBytesReceiver),
    course: Course<'_>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()>) {
    let (bytes, area) = (course.bytes, &course.bench.area);
    let send = move |stamp| Ok(to.send(area.borrow_mut().next(bytes, stamp))?);
    let receive = move |check: &mut Check| check.look(&from.recv()?);
    (send, receive)
}

/// Each region has a descriptor, of which one user may have only so many under way.
pub fn regions_under_way(bytes: usize) -> usize {
    under_way(bytes).min(16)
}

/// Where descriptors or memory are refused, ipc-channel would panic.
fn channel_of_regions(course: Course<'_>) -> Result<(IpcSender<IpcSharedMemory>, IpcReceiver<IpcSharedMemory>)> {
    const ENOUGH: usize = 64; // All rows of a contest together need fewer.
    let descriptors: io::Result<Vec<File>> = (0..ENOUGH).map(|_| File::open("/dev/null")).collect();
    descriptors.context(format!("fewer than {ENOUGH} free descriptors"))?;
    SharedRegion::new(course.bytes).context("a region")?;
    channel().context("an ipc-channel")
}

/// Each message copied into a region of its own, whose descriptor is sent; the receiver maps it.
///
/// ipc-channel would take hundreds of them, each as large as its message. So the receiver gives a byte back by a pipe for
/// each that it let go of, and the sender waits for one where too many are under way.
fn ipc_regions(
    (to, from): (IpcSender<IpcSharedMemory>, IpcReceiver<IpcSharedMemory>),
    (mut credit, mut give_credit): (PipeReader, PipeWriter),
    course: Course<'_>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()>) {
    let (bytes, area) = (course.bytes, &course.bench.area);
    let mut free = regions_under_way(bytes);
    let send = move |stamp| {
        if free == 0 {
            free = credit.read(&mut [0; 64])?; // A bare read: however many there are.
            ensure!(free > 0, "the receiver is gone");
        }
        free -= 1;
        Ok(to.send(IpcSharedMemory::from_bytes(area.borrow_mut().next(bytes, stamp)))?)
    };
    let receive = move |check: &mut Check| {
        check.look(&from.recv()?)?;
        Ok(give_credit.write_all(&[0])?)
    };
    (send, receive)
}

/// A message's owner is moved by crossbeam's bounded channel, and its bytes stay where they are; the buffers come back by
/// another one.
fn moved_by_crossbeam(
    bytes: usize,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()> + Send + 'static) {
    let (to, from) = bounded::<Vec<u8>>(under_way(bytes));
    let (give_back, empty) = bounded(under_way(bytes));
    let mut fresh = vec![vec![1; bytes]; under_way(bytes)]; // Each written once, so that its memory is there.
    let send = move |stamp: Stamp| {
        let mut message = if let Some(first_use) = fresh.pop() { first_use } else { empty.recv()? };
        stamp.put_on(&mut message);
        Ok(to.send(message)?)
    };
    let receive = move |check: &mut Check| {
        let message = from.recv()?;
        check.look(&message)?;
        Ok(give_back.send(message)?)
    };
    (send, receive)
}

/// The same by std's bounded channel.
fn moved_by_std(
    bytes: usize,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()> + Send + 'static) {
    let (to, from) = mpsc::sync_channel::<Vec<u8>>(under_way(bytes));
    let (give_back, empty) = mpsc::sync_channel(under_way(bytes));
    let mut fresh = vec![vec![1; bytes]; under_way(bytes)];
    let send = move |stamp: Stamp| {
        let mut message = if let Some(first_use) = fresh.pop() { first_use } else { empty.recv()? };
        stamp.put_on(&mut message);
        Ok(to.send(message)?)
    };
    let receive = move |check: &mut Check| {
        let message = from.recv()?;
        check.look(&message)?;
        Ok(give_back.send(message)?)
    };
    (send, receive)
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
