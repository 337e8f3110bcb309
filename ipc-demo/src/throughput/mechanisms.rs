//! Which mechanisms are measured? Each with its two ends.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write, pipe};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crossbeam_channel::bounded;
use ipc_channel::ipc::{bytes_channel, channel};
use ipc_demo::message_queue::MessageQueue;
use ipc_demo::pass_fd::{receive_fds, send_fds};
use ipc_demo::ring::{Ring, Sender};
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use shared::measure::Rival;

use How::{Copied, Moved, Passed, Serialized};

use super::message::{Stamp, bytes_of};
use super::stream::{Row, processes, threads};
use crate::mechanisms::kernel::{Link, Names, Way};

/// One row of each contest.
pub struct Mechanism {
    pub name: &'static str,
    pub how: How,
    pub rival: for<'a> fn(Row<'a>) -> Rival<'a>,
}

/// What becomes of the bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// They stay in their memory; another thread gets their address.
    Moved,
    /// They stay in their memory, which another process is given and maps.
    Passed,
    /// To the other side, once at least.
    Copied,
    /// Encoded and decoded one by one, and copied.
    Serialized,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Moved => "moved",
            Passed => "passed",
            Copied => "copied",
            Serialized => "serialized",
        })
    }
}

pub const RING: &str = "ring";
pub const RING_OF_THREADS: &str = "thread ring";

/// All but `RING_OF_THREADS` and what is moved are between processes.
pub static MECHANISMS: [Mechanism; 12] = [
    Mechanism { name: "crossbeam", how: Moved, rival: moved },
    Mechanism { name: "memfd", how: Passed, rival: passed },
    Mechanism { name: RING, how: Copied, rival: |row| processes(row, |row| Ok(ring(row, new_ring(row)?))) },
    Mechanism { name: RING_OF_THREADS, how: Copied, rival: |row| threads(row, |row| Ok(ring(row, new_ring(row)?))) },
    Mechanism { name: "pipe", how: Copied, rival: |row| stream(row, |row| link(row, Way::Pipe)) },
    Mechanism { name: "ipc-channel", how: Serialized, rival: ipc_values },
    Mechanism { name: "ipc bytes", how: Copied, rival: ipc_bytes },
    Mechanism { name: "1-MiB pipe", how: Copied, rival: |row| stream(row, pipe_of_a_mebibyte) },
    Mechanism { name: "Unix stream", how: Copied, rival: |row| stream(row, |row| link(row, Way::UnixStream)) },
    Mechanism { name: "seqpacket", how: Copied, rival: |row| stream(row, |row| link(row, Way::UnixSeqpacket)) },
    Mechanism { name: "TCP", how: Copied, rival: |row| stream(row, |row| link(row, Way::Tcp)) },
    Mechanism { name: "POSIX queue", how: Copied, rival: queue },
];

/// The first ones of them stand for all at quick effort.
pub const AT_QUICK_EFFORT: usize = 6;

/// A message's owner goes through a channel, and its bytes stay where they are; the buffers come back by another channel.
fn moved(row: Row<'_>) -> Rival<'_> {
    threads(row, |row| {
        let ((to, from), (back, empty)) = (bounded::<Vec<u8>>(row.in_flight()), bounded(row.in_flight()));
        let mut fresh = vec![vec![1; row.bytes]; row.in_flight()]; // Each written once, so that its memory is there.
        let send = move |stamp: Stamp| {
            let mut message = if let Some(first_use) = fresh.pop() { first_use } else { empty.recv()? };
            stamp.put_on(&mut message);
            Ok(to.send(message)?)
        };
        let receive = move |due: Stamp| {
            let message = from.recv()?;
            let is_right = due.is_right(&message)?;
            back.send(message)?;
            Ok(is_right)
        };
        Ok((send, receive))
    })
}

/// The message is written where its receiver will read it: the memory's descriptor is sent, and the receiver maps it.
fn passed(row: Row<'_>) -> Rival<'_> {
    const MOST: usize = 16; // Each has a descriptor, of which one user may have only so many in flight.
    processes(row, |row| {
        let (to, from) = UnixStream::pair().context("a socket pair")?;
        let (mut given_back, mut give_back) = pipe().context("a pipe")?;
        let regions = (0..row.in_flight().min(MOST)).map(|_| SharedRegion::new(row.bytes));
        let mut regions = regions.collect::<io::Result<Vec<_>>>().context("memory to pass")?;
        let mut free = regions.len();
        let send = move |stamp: Stamp| {
            if free == 0 {
                free = given_back.read(&mut [0; MOST])?; // A bare read: however many there are.
                ensure!(free > 0, "the receiver is gone");
            }
            free -= 1;
            let next = stamp.number as usize % regions.len(); // They come back in the order in which they went.
            stamp.put_on(&mut bytes_of(&mut regions[next])[..row.bytes]);
            Ok(send_fds(&to, &[regions[next].fd()])?)
        };
        let receive = move |due: Stamp| {
            let mut given = receive_fds(&from, 1)?.context("the sender is gone")?;
            let is_right = due.is_right(bytes_of(&mut SharedRegion::from_fd(given.remove(0))?))?;
            give_back.write_all(&[0])?;
            Ok(is_right)
        };
        Ok((send, receive))
    })
}

/// With a slot for each message that may be in flight.
fn new_ring(row: Row<'_>) -> Result<(Sender, Ring)> {
    let ring = Ring::new(row.in_flight(), row.bytes).context("a ring")?;
    Ok((ring.sender().context("a ring's sender")?, ring))
}

/// Copied into a slot by the sender, and out of it by the receiver.
fn ring<'a>(
    row: Row<'a>,
    (mut sender, ring): (Sender, Ring),
) -> (impl FnMut(Stamp) -> Result<()> + 'a, impl FnMut(Stamp) -> Result<bool> + Send + use<>) {
    let mut receiver = None; // It is claimed at its first use, by the process that uses it.
    let send = move |stamp| Ok(sender.send(row.bench.area.borrow_mut().next(row.bytes, stamp))?);
    let mut buffer = vec![0; row.bytes];
    let receive = move |due: Stamp| {
        if receiver.is_none() {
            receiver = Some(ring.receiver()?);
        }
        let length = receiver.as_mut().context("the role was claimed")?.receive(&mut buffer)?;
        due.is_right(&buffer[..length])
    };
    (send, receive)
}

fn link(row: Row<'_>, way: Way) -> Result<Link> {
    way.link(&Names { directory: &row.bench.directory, queue: &row.bench.queue })
}

/// It holds more than the usual 64 KiB: a mebibyte, for by default nobody may have more.
fn pipe_of_a_mebibyte(row: Row<'_>) -> Result<Link> {
    let link = link(row, Way::Pipe)?;
    fcntl(link.to.as_fd(), FcntlArg::F_SETPIPE_SZ(1 << 20)).context("a pipe of 1 MiB")?;
    Ok(link)
}

/// By plain writes and reads. What keeps messages whole takes each by one call, or refuses one that is too long.
fn stream<'a>(row: Row<'a>, open: impl FnOnce(Row<'a>) -> Result<Link> + 'a) -> Rival<'a> {
    processes(row, move |row| {
        let Link { to, from } = open(row)?;
        let [mut to, mut from] =
            [File::from(to.as_fd().try_clone_to_owned()?), from.as_fd().try_clone_to_owned()?.into()];
        let send = move |stamp| Ok(to.write_all(row.bench.area.borrow_mut().next(row.bytes, stamp))?);
        let mut buffer = vec![0; row.bytes];
        let receive = move |due: Stamp| {
            from.read_exact(&mut buffer)?;
            due.is_right(&buffer)
        };
        Ok((send, receive))
    })
}

/// The snippet's queue, whose name is gone before the first message: the child inherits it.
fn queue(row: Row<'_>) -> Rival<'_> {
    const PATIENCE: Duration = Duration::from_secs(10); // A queue does not tell when its receiver is gone.
    processes(row, |row| {
        let made = MessageQueue::create(&row.bench.queue, 10, row.bytes); // So many messages are allowed by default.
        // What is said of a size above this machine's limits.
        let made = made.map_err(|why| if why.kind() == ErrorKind::InvalidInput { Errno::EMSGSIZE.into() } else { why });
        let queue = made.map(|(queue, _)| Arc::new(queue)).context("a queue of such messages")?;
        let from = Arc::clone(&queue);
        let send =
            move |stamp| Ok(queue.send_within(row.bench.area.borrow_mut().next(row.bytes, stamp), 0, PATIENCE)?);
        Ok((send, move |due: Stamp| due.is_right(&from.receive()?.bytes)))
    })
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
