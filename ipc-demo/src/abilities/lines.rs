//! By which mechanisms can a message go from one to another, and how is each opened, sent by and received from?

pub mod mailbox;
pub mod openings;

use std::io;
use std::os::fd::OwnedFd;

use anyhow::Result;
use nix::errno::Errno;

use crate::names::Names;

/// Bytes of an ordinary message.
pub const BYTES: usize = 64;

/// Sends one message.
pub type Sending = Box<dyn FnMut(&[u8]) -> Result<(), Refusal> + Send>;

/// Receives one message into the buffer, which a stream fills; gives its length, nothing if it only looks and none is
/// there. No message of ours is empty.
pub type Receiving = Box<dyn FnMut(&mut [u8], Patience) -> Result<usize, Refusal> + Send>;

/// An error as its caller meets it: ECONNRESET, or the library's own word.
#[derive(Debug)]
pub struct Refusal(pub String);

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Refusal {
        Refusal(format!("{error:?}"))
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        error.raw_os_error().map_or_else(|| Refusal(error.to_string()), |code| Errno::from_raw(code).into())
    }
}

/// A copy, made when it is asked for: to poll is no part of the set-up.
pub type Descriptor = Box<dyn Fn() -> io::Result<OwnedFd>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Waits,
    Looks,
}

/// Both ends of one mechanism, not yet taken. Each role is claimed where it is played: after a fork.
pub struct Line {
    pub carries: Carries,
    pub sender: Box<dyn FnMut() -> Result<Sending, Refusal>>,
    pub receiver: Box<dyn FnOnce() -> Result<Receiving, Refusal>>,
    /// Gives what poll(2) could wait for at the receiving end, if there is such a thing.
    pub descriptor: Option<Descriptor>,
}

/// What one message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    Bytes,
    /// A number, to which others are added while it waits.
    Sum,
    /// Nothing but that it came.
    News,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    Processes,
    Threads,
}

/// A mechanism, by the name that it has in every matrix.
pub struct Mechanism {
    pub name: &'static str,
    pub between: Between,
    pub open: fn(&Names) -> Result<Line>,
}

const fn processes(name: &'static str, open: fn(&Names) -> Result<Line>) -> Mechanism {
    Mechanism { name, between: Between::Processes, open }
}

const fn threads(name: &'static str, open: fn(&Names) -> Result<Line>) -> Mechanism {
    Mechanism { name, between: Between::Threads, open }
}

pub const FUTEX: &str = "memory + futex";
pub const RING: &str = "ring";
pub const IPC_CHANNEL: &str = "ipc-channel";
pub const SIGNAL: &str = "signal";
pub const MPSC: &str = "std mpsc";
pub const CROSSBEAM: &str = "crossbeam";

pub const MECHANISMS: &[Mechanism] = &[
    processes("pipe", openings::pipe),
    processes("named FIFO", openings::fifo),
    processes("Unix stream", openings::unix_stream),
    processes("TCP", openings::tcp),
    processes("Unix seqpacket", openings::seqpacket),
    processes("Unix datagram", openings::datagram),
    processes("UDP", openings::udp),
    processes("POSIX queue", openings::queue),
    processes("eventfd", openings::eventfd),
    processes(FUTEX, mailbox::open),
    processes(RING, openings::ring),
    processes(IPC_CHANNEL, openings::ipc_channel),
    processes(SIGNAL, openings::signal),
    threads(MPSC, openings::mpsc),
    threads("std sync_channel", openings::sync_channel),
    threads(CROSSBEAM, openings::crossbeam),
];
