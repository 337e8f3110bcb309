//! Which mechanisms are there to send a message in two halves, and what does each leave to whoever comes later?

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use ipc_channel::IpcError;
use ipc_channel::ipc::channel;
use ipc_channel::platform::OsIpcSender;
use ipc_demo::message_queue::MessageQueue;
use ipc_demo::ring::{self, Ring};
use nix::fcntl::OFlag;
use nix::mqueue::{MQ_OFlag, MqAttr, mq_close, mq_open, mq_receive, mq_send};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{SockaddrIn, getsockname};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo, read, write};
use process_demo::pidfd::PidFd;

use super::memory;
use crate::mechanisms::kernel::{self as link, Link, Way};
use crate::names::Names;

pub struct Mechanism {
    pub name: &'static str,
    /// Of what is counted.
    pub unit: &'static str,
    /// Whether its writer sleeps until there is room; else it takes what comes, or drops it.
    pub writer_waits: bool,
    /// How long a survivor may sleep before its silence is believed.
    pub patience: Duration,
    pub open: fn(&Names) -> Result<Line>,
}

/// Both ends, before anybody has forked.
pub struct Line {
    pub send: End,
    pub receive: End,
    /// How much a newcomer can still fetch once the reader is gone; asked while the sender lives.
    pub newcomer: Box<dyn Fn() -> Result<u64>>,
    /// Its port on this machine, if the system keeps that for a while.
    pub port: Option<u16>,
}

/// One call of the mechanism: it sends half a message, or so many bytes where bytes are counted, or takes half a message.
/// It is told who has the other end, and tells how much went, in the mechanism's unit; a receiver's nothing is the end.
pub type End = Box<dyn FnMut(usize, Pid) -> Result<u64> + Send>;

pub const HALF_BYTES: usize = 32; // Of a message.

/// What each byte of a message is.
pub const MARK: u8 = 7;

/// The one whose silence needs a word.
pub const IPC_CHANNEL: &str = "ipc-channel";

/// The kernel knows who has the other end of these: its closing is news.
pub const CONNECTED: [&str; 5] = ["pipe", "named FIFO", "Unix stream", "TCP", "Unix seqpacket"];

pub const MECHANISMS: &[Mechanism] = &[
    mechanism("pipe", "byte", |names| linked(Way::Pipe, names)),
    mechanism("named FIFO", "byte", fifo),
    mechanism("Unix stream", "byte", |names| linked(Way::UnixStream, names)),
    mechanism("TCP", "byte", |names| linked(Way::Tcp, names)),
    mechanism("Unix seqpacket", "record", |names| linked(Way::UnixSeqpacket, names)),
    mechanism("Unix datagram", "record", datagram),
    Mechanism { writer_waits: false, ..mechanism("UDP", "record", |names| linked(Way::Udp, names)) },
    mechanism("POSIX queue", "message", queue),
    mechanism("eventfd", "count", |_| eventfd(false)),
    mechanism("eventfd + pidfd", "count", |_| eventfd(true)),
    Mechanism { writer_waits: false, ..mechanism("semaphore", "count", memory::semaphore) },
    mechanism("memory + futex", "byte", memory::futex),
    mechanism("memory + robust", "byte", memory::robust),
    Mechanism { patience: RING_LOOKS_WITHIN, ..mechanism("ring", "message", ring) },
    mechanism(IPC_CHANNEL, "message", typed),
    Mechanism { writer_waits: false, ..mechanism("signal", "signal", signal) },
];

const WAKES_COME_AT_ONCE: Duration = Duration::from_millis(10); // Only the network may handle a packet a little later.
const RING_LOOKS_WITHIN: Duration = Duration::from_millis(250); // It promises 100 ms.

const fn mechanism(name: &'static str, unit: &'static str, open: fn(&Names) -> Result<Line>) -> Mechanism {
    Mechanism { name, unit, writer_waits: true, patience: WAKES_COME_AT_ONCE, open }
}

impl Line {
    pub fn of(
        send: impl FnMut(usize, Pid) -> Result<u64> + Send + 'static,
        receive: impl FnMut(usize, Pid) -> Result<u64> + Send + 'static,
        newcomer: impl Fn() -> Result<u64> + 'static,
    ) -> Line {
        Line { send: Box::new(send), receive: Box::new(receive), newcomer: Box::new(newcomer), port: None }
    }
}

/// Nobody else can ever reach the ends: what was not read is lost.
const NOBODY: fn() -> Result<u64> = || Ok(0);

fn linked(way: Way, names: &Names) -> Result<Line> {
    let Link { to, from } = way.link(&link::Names { directory: &names.directory, queue: "" })?;
    let address = (way == Way::Tcp).then(|| getsockname::<SockaddrIn>(to.as_fd().as_raw_fd())).transpose()?;
    let line = carrying(way.keeps_boundaries(), move |bytes| to.send(bytes), move |buffer| from.receive(buffer));
    Ok(Line { port: address.map(|address| address.port()), ..line })
}

/// Bytes by plain write(2) and read(2), as a program in any language would: std's sockets never raise SIGPIPE. They go
/// as records, of half a message each, or without boundaries.
fn carrying(
    records: bool,
    send: impl Fn(&[u8]) -> nix::Result<usize> + Send + 'static,
    receive: impl Fn(&mut [u8]) -> nix::Result<usize> + Send + 'static,
) -> Line {
    let count = move |bytes: usize| if records { bytes.div_ceil(HALF_BYTES) } else { bytes } as u64;
    Line::of(
        move |bytes, _| Ok(count(send(&vec![MARK; if records { HALF_BYTES } else { bytes }])?)),
        move |_, _| Ok(count(receive(&mut [0; HALF_BYTES])?)),
        NOBODY,
    )
}

fn fifo(names: &Names) -> Result<Line> {
    let path = names.fifo();
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).context("mkfifo")?;
    // Opening one end waits for the other, unless it is told not to.
    let open_at_once = |path: &Path| File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let _first = open_at_once(&path)?;
    let to = File::options().write(true).open(&path)?;
    let from = File::open(&path)?; // Its calls wait, unlike those of the first one.
    let newcomer = move || {
        let mut left = Vec::new();
        let _ = open_at_once(&path)?.read_to_end(&mut left); // EAGAIN where it would wait.
        Ok(left.len() as u64)
    };
    let line = carrying(false, move |bytes| write(&to, bytes), move |buffer| read(&from, buffer));
    Ok(Line { newcomer: Box::new(newcomer), ..line })
}

/// By a name, as who does not share an ancestor must.
fn datagram(names: &Names) -> Result<Line> {
    let path = names.socket();
    let (to, from) = (UnixDatagram::unbound()?, UnixDatagram::bind(&path).context("binding a Unix datagram socket")?);
    to.connect(&path)?;
    Ok(carrying(true, move |bytes| write(&to, bytes), move |buffer| read(&from, buffer)))
}

/// It belongs to the system, not to its users: each opens it by its name.
fn queue(names: &Names) -> Result<Line> {
    const ROOM: i64 = 4; // Messages: few, so that it is soon full; an ordinary user may have ten.
    let (name, newcomers_name) = (names.in_system(), names.in_system());
    let (flags, mode) = (MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR, Mode::S_IRUSR | Mode::S_IWUSR);
    let size = MqAttr::new(0, ROOM, HALF_BYTES as i64, 0);
    mq_close(mq_open(name.as_str(), flags, mode, Some(&size)).context("mq_open")?)?;
    let open = move |_| Ok(mq_open(name.as_str(), MQ_OFlag::O_RDWR, Mode::empty(), None)?);
    let send = claimed(open.clone(), |queue| Ok(mq_send(queue, &[MARK; HALF_BYTES], 0).map(|()| 1)?));
    let receive = claimed(open, |queue| Ok(mq_receive(queue, &mut [0; HALF_BYTES], &mut 0).map(|_| 1)?));
    let newcomer = move || {
        let queue = MessageQueue::open(&newcomers_name)?;
        Ok(std::iter::from_fn(|| queue.receive_within(Duration::ZERO).ok().flatten()).count() as u64)
    };
    Ok(Line::of(send, receive, newcomer))
}

/// An end that is made at its first call, in the process that plays it.
fn claimed<T>(
    claim: impl Fn(Pid) -> Result<T>,
    call: impl Fn(&mut T) -> Result<u64>,
) -> impl FnMut(usize, Pid) -> Result<u64> {
    let mut end = None;
    move |_, peer| {
        let claimed = end.take().map_or_else(|| claim(peer), Ok)?;
        call(end.insert(claimed))
    }
}

/// Alone, or waited for together with the death of the peer.
fn eventfd(beside_a_pidfd: bool) -> Result<Line> {
    const HALF_OF_ITS_ROOM: u64 = (u64::MAX - 1) / 2; // Two fill the counter: the third add has to wait.
    let counter = Arc::new(EventFd::new().context("eventfd")?);
    let end = |ready: PollFlags, call: fn(&EventFd) -> nix::Result<u64>| {
        let counter = Arc::clone(&counter);
        let watch = move |peer| Ok(beside_a_pidfd.then(|| PidFd::open(peer)).transpose()?);
        claimed(watch, move |death| {
            if let Some(death) = death {
                let mut either = [PollFd::new(counter.as_fd(), ready), PollFd::new(death.as_fd(), PollFlags::POLLIN)];
                poll(&mut either, PollTimeout::NONE)?;
                // What is there is taken first: only when nothing can be done is the peer's death the answer.
                ensure!(either[0].any() == Some(true), "pidfd tells");
            }
            Ok(call(&counter)?)
        })
    };
    let send = end(PollFlags::POLLOUT, |counter| counter.write(HALF_OF_ITS_ROOM).map(|_| 1));
    let receive = end(PollFlags::POLLIN, |counter| Ok(counter.read()? / HALF_OF_ITS_ROOM));
    // Who gets the descriptor reads what was added.
    let newcomer = move || {
        let is_readable = poll(&mut [PollFd::new(counter.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0;
        if is_readable { Ok(counter.read()? / HALF_OF_ITS_ROOM) } else { Ok(0) }
    };
    Ok(Line::of(send, receive, newcomer))
}

fn ring(_: &Names) -> Result<Line> {
    const SLOTS: usize = 8; // Few, so that it is soon full.
    let by_name = |error: ring::Error| anyhow!("{error:?}");
    let to = Arc::new(Ring::new(SLOTS, HALF_BYTES)?);
    let from = Arc::clone(&to);
    let send =
        claimed(move |_| Ok(to.sender()?), move |sender| sender.send(&[MARK; HALF_BYTES]).map(|()| 1).map_err(by_name));
    let receive = claimed(
        move |_| Ok(from.receiver()?),
        move |receiver| receiver.receive(&mut [0; HALF_BYTES]).map(|_| 1).map_err(by_name),
    );
    Ok(Line::of(send, receive, NOBODY))
}

/// One value, so large that one call of `send` goes in many pieces, and waits in its middle.
fn typed(_: &Names) -> Result<Line> {
    let bytes = 8 * OsIpcSender::get_max_fragment_size(); // Far above what a socket's buffer takes.
    let by_name = |error| match error {
        IpcError::Io(error) => error.into(),
        error => anyhow!("{error:?}"),
    };
    let (to, from) = channel::<Vec<u8>>()?;
    let send = move |_, _| to.send(vec![MARK; bytes]).map(|()| 1).map_err(by_name);
    let receive = move |_, _| from.recv().map(|_| 1).map_err(by_name);
    Ok(Line::of(send, receive, NOBODY))
}

pub const BELL: Signal = Signal::SIGUSR1;

fn signal(_: &Names) -> Result<Line> {
    let receive = |_, _| Ok(SigSet::from(BELL).wait().map(|_| 1)?);
    Ok(Line::of(|_, peer| Ok(kill(peer, BELL).map(|()| 1)?), receive, NOBODY))
}
