//! Which ways are there to send a message in two parts, and what does each leave to whoever comes after?

mod channel;
mod counter;
mod datagram;
mod memory;
mod queue;
mod ring;
mod semaphore;
mod signal;
mod stream;

use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::errno::Errno;
use nix::unistd::Pid;

/// Bytes of a message; it goes in two halves, where the way lets it.
pub const MESSAGE_BYTES: usize = 64;
pub const HALF_BYTES: usize = MESSAGE_BYTES / 2;

/// The side that writes. Every call is one call of the mechanism, so that what it answers can be seen.
pub trait Sender {
    /// Called first in the process that sends, with the process that receives.
    fn meet(&mut self, _peer: Pid) -> Result<(), Refusal> {
        Ok(())
    }

    /// Sends half a message, or begins one that cannot be halved, and returns how much was taken, in the way's unit.
    fn send(&mut self) -> Result<u64, Refusal>;

    /// The same in larger pieces where there are any, to fill what the system takes.
    fn flood(&mut self) -> Result<u64, Refusal> {
        self.send()
    }
}

/// What the bytes of half a message are: `MARK` each.
pub const MARK: u8 = 7;

/// What a survivor says that was given other bytes than were sent: then nothing is told of it but that.
pub const CHANGED: &str = "changed bytes";

/// Whether these bytes are what was sent.
fn check(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.iter().all(|&byte| byte == MARK) { Ok(()) } else { Err(Refusal(CHANGED.to_owned())) }
}

/// The side that reads.
pub trait Receiver {
    /// Called first in the process that receives, with the process that sends.
    fn meet(&mut self, _peer: Pid) -> Result<(), Refusal> {
        Ok(())
    }

    /// Takes what half a message is, in the way's unit; nothing at the end.
    fn receive(&mut self) -> Result<u64, Refusal>;
}

/// An error as its caller meets it: ECONNRESET, or the library's own word.
#[derive(Debug)]
pub struct Refusal(pub String);

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Refusal {
        Refusal(format!("{error:?}"))
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Refusal {
        error.raw_os_error().map_or_else(|| Refusal(error.to_string()), |code| Errno::from_raw(code).into())
    }
}

/// Both ends of a way, before anybody has forked.
pub struct Ends {
    pub sender: Box<dyn Sender>,
    pub receiver: Box<dyn Receiver>,
    /// How much a newcomer can still fetch once the reader is gone; run while its sender lives.
    pub newcomer: Box<dyn FnMut() -> u64>,
    /// Takes away what has a name, once both sides are gone and it was looked for.
    pub undo: Undo,
    /// The port of this machine that the reader has, if it has one.
    pub port: Option<u16>,
}

impl Ends {
    /// Ends that nobody else can ever reach: what was not read is lost.
    fn private(sender: impl Sender + 'static, receiver: impl Receiver + 'static) -> Ends {
        Ends {
            sender: Box::new(sender),
            receiver: Box::new(receiver),
            newcomer: Box::new(|| 0),
            undo: Undo(None),
            port: None,
        }
    }
}

/// Something to be taken back on drop.
pub struct Undo(Option<Box<dyn FnOnce()>>);

impl Undo {
    fn by(action: impl FnOnce() + 'static) -> Undo {
        Undo(Some(Box::new(action)))
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(action) = self.0.take() {
            action();
        }
    }
}

/// Where what needs a name may have one.
pub struct Names {
    pub directory: PathBuf,
    /// For what is named in the whole system; begins with the run's prefix.
    pub system: String,
}

impl Names {
    fn path(&self) -> &Path {
        &self.directory
    }
}

/// How a way takes more than is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Its writer sleeps until there is room.
    Blocks,
    /// It takes what comes, or drops it: its writer never waits.
    NeverBlocks,
}

/// How far a victim gets on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halving {
    /// It sends, or reads, one half and stops there.
    ByItself,
    /// One call sends the whole; it is stopped where it waits in the middle.
    WithinOneCall,
}

/// A mechanism.
pub struct Way {
    pub name: &'static str,
    /// Of what is counted: "bytes", "datagrams".
    pub unit: &'static str,
    pub flood: Flood,
    pub halving: Halving,
    /// How long a survivor may sleep before its silence is believed.
    pub patience_ms: u8,
    pub open: fn(&Names) -> Result<Ends>,
}

const WAKES_COME_AT_ONCE_MS: u8 = 10; // With the death itself; only the network may handle a packet a little later.
const RING_LOOKS_WITHIN_MS: u8 = 250; // It promises 100.

const fn way(name: &'static str, unit: &'static str, open: fn(&Names) -> Result<Ends>) -> Way {
    Way { name, unit, flood: Flood::Blocks, halving: Halving::ByItself, patience_ms: WAKES_COME_AT_ONCE_MS, open }
}

/// The kernel knows who has the other end of these: its closing is news.
pub const CONNECTED: [&str; 5] = ["pipe", "named FIFO", "Unix stream", "TCP", "Unix seqpacket"];

/// The one whose silence needs a word.
pub const IPC_CHANNEL: &str = "ipc-channel";

/// In the order of the matrix: streams, records, counters, memory, a library, signals.
pub const WAYS: &[Way] = &[
    way("pipe", "bytes", stream::pipe),
    way("named FIFO", "bytes", stream::fifo),
    way("Unix stream", "bytes", stream::unix),
    way("TCP", "bytes", stream::tcp),
    way("Unix seqpacket", "records", datagram::seqpacket),
    way("Unix datagram", "records", datagram::unix),
    Way { flood: Flood::NeverBlocks, ..way("UDP", "records", datagram::udp) },
    way("POSIX queue", "messages", queue::open),
    way("eventfd", "counts", counter::bare),
    way("eventfd + pidfd", "counts", counter::beside_a_pidfd),
    Way { flood: Flood::NeverBlocks, ..way("semaphore", "counts", semaphore::open) },
    way("memory + futex", "bytes", memory::futex),
    way("memory + robust", "bytes", memory::robust),
    Way { patience_ms: RING_LOOKS_WITHIN_MS, ..way("ring", "messages", ring::open) },
    Way { halving: Halving::WithinOneCall, ..way(IPC_CHANNEL, "messages", channel::open) },
    Way { flood: Flood::NeverBlocks, ..way("signal", "signals", signal::open) },
];
