//! What the kernel carries: pipes, sockets and queues, each with a descriptor at both ends.

use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipc_demo::fifo::{FifoReader, connect};
use ipc_demo::message_queue::MessageQueue;
use ipc_demo::pipe_pair::{PipeEnd, pipe_pair};
use ipc_demo::socket_pair::{SocketEnd, socket_pair};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::mqueue::{MqdT, mq_receive, mq_send};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::sockopt::TcpNoDelay;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair};
use nix::unistd::{pipe2, read, write};
use process_demo::duel::{BYTES, Endpoint, Message};

/// A mechanism that goes from a writer to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Pipe,
    PacketPipe,
    Fifo,
    UnixStream,
    UnixDatagram,
    UnixSeqpacket,
    Tcp,
    Udp,
    Queue,
}

/// Where to put what needs a name; both names are gone again once a link is made.
pub struct Names<'a> {
    pub directory: &'a Path,
    pub queue: &'a str,
}

/// A connected pair of ends, for one direction.
pub struct Link {
    pub to: End,
    pub from: End,
}

/// One end; what it has no use for is an error.
pub struct End {
    fd: OwnedFd,
    by: By,
}

#[derive(Clone, Copy)]
enum By {
    ReadAndWrite,
    Queue,
}

pub const QUEUE_MESSAGE_BYTES: usize = 64;
pub const QUEUE_MESSAGES: usize = 10; // As many as every user may have by default.

impl Way {
    pub const fn name(self) -> &'static str {
        match self {
            Way::Pipe => "pipe",
            Way::PacketPipe => "pipe with O_DIRECT",
            Way::Fifo => "named FIFO",
            Way::UnixStream => "Unix stream",
            Way::UnixDatagram => "Unix datagram",
            Way::UnixSeqpacket => "Unix seqpacket",
            Way::Tcp => "TCP",
            Way::Udp => "UDP",
            Way::Queue => "POSIX queue",
        }
    }

    /// Does it promise that what is sent in one call is received in one?
    pub const fn keeps_boundaries(self) -> bool {
        !matches!(self, Way::Pipe | Way::Fifo | Way::UnixStream | Way::Tcp)
    }

    /// Does the reader learn that no writer is left?
    pub const fn tells_the_end(self) -> bool {
        !matches!(self, Way::UnixDatagram | Way::Udp | Way::Queue)
    }

    pub fn link(self, names: &Names<'_>) -> Result<Link> {
        let unix = |kind| -> Result<_> { Ok(socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?) };
        let (from, to) = match self {
            Way::Pipe => pipe2(OFlag::O_CLOEXEC)?,
            Way::PacketPipe => pipe2(OFlag::O_CLOEXEC | OFlag::O_DIRECT)?,
            Way::Fifo => fifo(names.directory)?,
            Way::UnixStream => unix(SockType::Stream)?,
            Way::UnixDatagram => unix(SockType::Datagram)?,
            Way::UnixSeqpacket => unix(SockType::SeqPacket)?,
            Way::Tcp => tcp().context("TCP on loopback")?,
            Way::Udp => udp().context("UDP on loopback")?,
            Way::Queue => return queue(names.queue),
        };
        let by = By::ReadAndWrite;
        Ok(Link { to: End { fd: to, by }, from: End { fd: from, by } })
    }

    /// Both directions: one socket for each side, or a link there and a link back.
    pub fn both_ways(self, names: &Names<'_>) -> Result<(BothWays, BothWays)> {
        let Link { to, from } = self.link(names)?;
        if self == Way::Tcp {
            // Each message is sent at once, not held back for more.
            setsockopt(&to, TcpNoDelay, &true).and_then(|()| setsockopt(&from, TcpNoDelay, &true))?;
        }
        let (ours, theirs) = (Arc::new(to), Arc::new(from));
        let (back_from, back_to) = match self {
            Way::Pipe | Way::PacketPipe | Way::Fifo | Way::Queue => {
                let Link { to, from } = self.link(names)?;
                (Arc::new(from), Arc::new(to))
            }
            _ => (Arc::clone(&ours), Arc::clone(&theirs)),
        };
        let whole = self.keeps_boundaries();
        Ok((BothWays { to: ours, from: back_from, whole }, BothWays { to: back_to, from: theirs, whole }))
    }
}

/// An end that sends and receives messages of one size.
pub struct BothWays {
    to: Arc<End>,
    from: Arc<End>,
    /// Whether what is sent in one call is received in one.
    whole: bool,
}

impl Endpoint for BothWays {
    fn send(&mut self, message: Message) -> Result<()> {
        let sent = self.to.send(&message.to_bytes())?;
        ensure!(sent == BYTES, "only {sent} bytes were sent"); // The buffer is empty, so a stream takes all at once too.
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES + 1]; // One more: what is too long must not pass for what fits.
        let mut filled = 0;
        while filled < BYTES {
            let end = if self.whole { BYTES + 1 } else { BYTES };
            let count = self.from.receive(&mut bytes[filled..end])?;
            ensure!(count > 0, "the other end is gone");
            filled += count;
            ensure!(!self.whole || filled == BYTES, "a message of {filled} bytes");
        }
        Ok(Message::from_bytes(bytes[..BYTES].try_into().context("cut to its size")?))
    }
}

/// The snippet's end.
pub struct Pipes(PipeEnd);

pub fn pipes() -> Result<(Pipes, Pipes)> {
    let (ours, theirs) = pipe_pair()?;
    Ok((Pipes(ours), Pipes(theirs)))
}

impl Endpoint for Pipes {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        ensure!(self.0.receive(&mut bytes)?, "the other end of the pipe is gone");
        Ok(Message::from_bytes(bytes))
    }
}

/// The snippet's end of a Unix stream.
pub struct UnixStreams(SocketEnd);

pub fn unix_streams() -> Result<(UnixStreams, UnixStreams)> {
    let (ours, theirs) = socket_pair()?;
    Ok((UnixStreams(ours), UnixStreams(theirs)))
}

impl Endpoint for UnixStreams {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        ensure!(self.0.receive(&mut bytes)?, "the other end of the socket is gone");
        Ok(Message::from_bytes(bytes))
    }
}

fn fifo(directory: &Path) -> Result<(OwnedFd, OwnedFd)> {
    let path = directory.join("fifo");
    let expected = FifoReader::make(&path).context("a named FIFO")?;
    let to = connect(&path)?;
    let from = expected.accept(Duration::from_secs(1))?; // The writer is there already: it does not wait.
    Ok((from.into(), to.into()))
}

fn tcp() -> Result<(OwnedFd, OwnedFd)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = TcpStream::connect(listener.local_addr()?)?;
    let (from, whose) = listener.accept()?;
    if whose != to.local_addr()? {
        bail!("somebody else connected first");
    }
    Ok((from.into(), to.into()))
}

fn udp() -> Result<(OwnedFd, OwnedFd)> {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let (from, to) = (bind()?, bind()?);
    to.connect(from.local_addr()?)?;
    from.connect(to.local_addr()?)?; // So nobody else can send to it.
    Ok((from.into(), to.into()))
}

fn queue(name: &str) -> Result<Link> {
    let (queue, name) = MessageQueue::create(name, QUEUE_MESSAGES, QUEUE_MESSAGE_BYTES).context("a POSIX queue")?;
    drop(name); // The ends below are all that is needed of it.
    let end = || Ok::<_, anyhow::Error>(End { fd: queue.as_fd().try_clone_to_owned()?, by: By::Queue });
    let link = Link { to: end()?, from: end()? };
    link.to.block()?; // The snippet's queues never do by themselves.
    Ok(link)
}

impl End {
    /// One call, which may send less: that is what is to be seen. Interrupted ones are made again.
    pub fn send(&self, bytes: &[u8]) -> nix::Result<usize> {
        again(|| match self.by {
            By::ReadAndWrite => write(&self.fd, bytes),
            By::Queue => mq_send(&self.queue(), bytes, 0).map(|()| bytes.len()),
        })
    }

    /// One call, which may give less.
    pub fn receive(&self, buffer: &mut [u8]) -> nix::Result<usize> {
        again(|| match self.by {
            By::ReadAndWrite => read(&self.fd, buffer),
            By::Queue => mq_receive(&self.queue(), buffer, &mut 0),
        })
    }

    /// Waits until there is one of these events; false if there was none in ten seconds.
    pub fn ready(&self, events: PollFlags) -> Result<bool> {
        const PATIENCE_MS: u16 = 10_000; // A bound only: what is waited for has been sent.
        Ok(again(|| poll(&mut [PollFd::new(self.as_fd(), events)], PATIENCE_MS))? > 0)
    }

    /// From now on its calls wait. Both ends of a queue are one: what is set for one holds for the other.
    pub fn block(&self) -> Result<()> {
        self.set(|flags| flags.difference(OFlag::O_NONBLOCK))
    }

    /// From now on a call that would wait is the error EAGAIN.
    pub fn never_block(&self) -> Result<()> {
        self.set(|flags| flags.union(OFlag::O_NONBLOCK))
    }

    fn set(&self, change: impl FnOnce(OFlag) -> OFlag) -> Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(&self.fd, FcntlArg::F_GETFL)?);
        fcntl(&self.fd, FcntlArg::F_SETFL(change(flags)))?;
        Ok(())
    }

    fn queue(&self) -> MqdT {
        // SAFETY: the descriptor is a queue's, it lives as long as `self`, and an MqdT closes nothing when it goes.
        unsafe { MqdT::from_raw_fd(self.fd.as_raw_fd()) }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn again<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}
