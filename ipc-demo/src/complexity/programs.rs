//! What is the least that one writes to send 64 bytes to whom one has started? Every one of these is run and counted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Release};
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipc_demo::event::Event;
use ipc_demo::fifo::{FifoReader, connect};
use ipc_demo::message_queue::MessageQueue;
use ipc_demo::pipe_pair::pipe_pair;
use ipc_demo::queued_signal;
use ipc_demo::ring::Ring;
use ipc_demo::shared_region::SharedRegion;
use ipc_demo::socket_pair::socket_pair;
use ipc_demo::typed::typed_pair;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::unistd::getpid;
use process_demo::child::{Exit, fork};

use crate::names::Names;

pub const BYTES: usize = 64;
pub type Message = [u8; BYTES];

/// What each program sends.
pub const MESSAGE: Message = *b"sixty-four bytes: as many as a line of cache has on most of them";

/// A program: the mechanism's name, its function's name, and the function.
pub type Program = (&'static str, &'static str, fn(&Names) -> Result<Message>);

/// In the order of the mechanisms.
pub const PROGRAMS: &[Program] = &[
    ("pipe", "pipe", pipe),
    ("named FIFO", "fifo", fifo),
    ("Unix stream", "unix_stream", unix_stream),
    ("TCP", "tcp", tcp),
    ("Unix seqpacket", "seqpacket", seqpacket),
    ("Unix datagram", "datagram", datagram),
    ("UDP", "udp", udp),
    ("POSIX queue", "queue", queue),
    ("eventfd", "eventfd", eventfd),
    ("memory + futex", "futex", futex),
    ("ring", "ring", ring),
    ("ipc-channel", "ipc_channel", ipc_channel),
    ("signal", "signal", signal),
    ("std mpsc", "std_mpsc", std_mpsc),
];

fn pipe(_: &Names) -> Result<Message> {
    let (mut ours, mut theirs) = pipe_pair()?;
    // SAFETY: nothing here is in shared memory.
    let child = unsafe { fork(|| u8::from(theirs.send(&MESSAGE).is_err())) }?;
    drop(theirs); // While any copy of it is open, its end is never seen.
    let mut message = [0; BYTES];
    ensure!(ours.receive(&mut message)?);
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn fifo(names: &Names) -> Result<Message> {
    let path = names.directory.join("fifo");
    let expected = FifoReader::make(&path)?;
    // SAFETY: as for the pipe.
    let child = unsafe { fork(|| u8::from(connect(&path).and_then(|mut to| to.write_all(&MESSAGE)).is_err())) }?;
    let mut from = expected.accept(Duration::from_secs(10))?;
    let mut message = [0; BYTES];
    from.read_exact(&mut message)?;
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn unix_stream(_: &Names) -> Result<Message> {
    let (mut ours, mut theirs) = socket_pair()?;
    // SAFETY: as for the pipe.
    let child = unsafe { fork(|| u8::from(theirs.send(&MESSAGE).is_err())) }?;
    drop(theirs); // As for the pipe.
    let mut message = [0; BYTES];
    ensure!(ours.receive(&mut message)?);
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn tcp(_: &Names) -> Result<Message> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    // SAFETY: as for the pipe.
    let child =
        unsafe { fork(|| u8::from(TcpStream::connect(address).and_then(|mut to| to.write_all(&MESSAGE)).is_err())) }?;
    let (mut from, _) = listener.accept()?;
    let mut message = [0; BYTES];
    from.read_exact(&mut message)?;
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn seqpacket(_: &Names) -> Result<Message> {
    let (from, to) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let work = || u8::from(send(to.as_raw_fd(), &MESSAGE, MsgFlags::empty()).is_err());
    // SAFETY: as for the pipe.
    let child = unsafe { fork(work) }?;
    drop(to); // As for the pipe.
    let mut message = [0; BYTES];
    ensure!(recv(from.as_raw_fd(), &mut message, MsgFlags::empty())? == BYTES);
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn datagram(_: &Names) -> Result<Message> {
    let (from, to) = UnixDatagram::pair()?;
    // SAFETY: as for the pipe.
    let child = unsafe { fork(|| u8::from(to.send(&MESSAGE).is_err())) }?;
    let mut message = [0; BYTES];
    ensure!(from.recv(&mut message)? == BYTES);
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn udp(_: &Names) -> Result<Message> {
    let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = from.local_addr()?;
    let work = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|to| to.send_to(&MESSAGE, address));
    // SAFETY: as for the pipe.
    let child = unsafe { fork(|| u8::from(work().is_err())) }?;
    let mut message = [0; BYTES];
    ensure!(from.recv(&mut message)? == BYTES);
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn queue(names: &Names) -> Result<Message> {
    let (queue, name) = MessageQueue::create(&format!("/{}", names.system), 1, BYTES)?;
    drop(name); // The child inherits the queue.
    // SAFETY: as for the pipe.
    let child = unsafe { fork(|| u8::from(queue.send(&MESSAGE, 0).is_err())) }?;
    let message = queue.receive()?;
    ensure!(child.wait()? == Exit::Code(0));
    message.bytes.try_into().ok().context("not 64 bytes")
}

/// It carries no bytes: they go by memory, and it tells when.
fn eventfd(_: &Names) -> Result<Message> {
    let (event, region) = (Event::counter()?, SharedRegion::new(BYTES)?);
    let place = region.as_ptr().cast::<Message>();
    let work = || {
        // SAFETY: the region has room, and the parent reads it only after the event.
        unsafe { place.write(MESSAGE) };
        u8::from(event.add(1).is_err())
    };
    // SAFETY: what both have in shared memory is this message.
    let child = unsafe { fork(work) }?;
    event.wait()?;
    // SAFETY: the child wrote it before the event, and writes no more.
    let message = unsafe { place.read() };
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn futex(_: &Names) -> Result<Message> {
    let region = SharedRegion::new(size_of::<AtomicU32>() + BYTES)?;
    // SAFETY: the region begins with a zeroed word, aligned to a page, and lives longer than the reference.
    let word = unsafe { &*region.as_ptr().cast::<AtomicU32>() };
    // SAFETY: the message lies behind the word, within the region.
    let place = unsafe { region.as_ptr().add(size_of::<AtomicU32>()).cast::<Message>() };
    let work = || {
        // SAFETY: the parent reads it only once the word has changed.
        unsafe { place.write(MESSAGE) };
        word.store(1, Release); // Publishes the message.
        // SAFETY: the call only looks the word's address up. nix has no futex.
        let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
        u8::from(Errno::result(woken).is_err())
    };
    // SAFETY: what both have in shared memory are the word and the message.
    let child = unsafe { fork(work) }?;
    while word.load(Acquire) == 0 {
        let forever = std::ptr::null::<libc::timespec>();
        // SAFETY: the word lives as long as the call. Why it returned does not matter: the word is looked at again.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, forever) };
    }
    // SAFETY: the word says that it is written.
    let message = unsafe { place.read() };
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn ring(_: &Names) -> Result<Message> {
    let ring = Ring::new(4, BYTES)?;
    let work = || u8::from(!ring.sender().is_ok_and(|mut sender| sender.send(&MESSAGE).is_ok()));
    // SAFETY: the roles of the ring are claimed by who plays them, after the fork.
    let child = unsafe { fork(work) }?;
    let mut message = [0; BYTES];
    ensure!(ring.receiver()?.receive(&mut message)? == BYTES);
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn ipc_channel(_: &Names) -> Result<Message> {
    let (ours, theirs) = typed_pair::<(), Vec<u8>>()?;
    // SAFETY: as for the pipe.
    let child = unsafe { fork(|| u8::from(theirs.send(MESSAGE.to_vec()).is_err())) }?;
    drop(theirs); // As for the pipe.
    let message = ours.receive()?.context("the end")?;
    ensure!(child.wait()? == Exit::Code(0));
    message.try_into().ok().context("not 64 bytes")
}

/// One signal carries one word: eight of them.
fn signal(_: &Names) -> Result<Message> {
    let signals = [libc::SIGRTMIN()];
    queued_signal::block(&signals)?;
    let parent = getpid();
    let words = MESSAGE.as_chunks().0.iter().map(|chunk| usize::from_ne_bytes(*chunk));
    let work = || u8::from(words.map(|word| queued_signal::send(parent, signals[0], word)).any(|sent| sent.is_err()));
    // SAFETY: as for the pipe.
    let child = unsafe { fork(work) }?;
    let mut message = [0; BYTES];
    for chunk in message.as_chunks_mut().0 {
        let taken = queued_signal::take(&signals, Duration::from_secs(10))?.context("a word is missing")?;
        *chunk = taken.number.to_ne_bytes();
    }
    ensure!(child.wait()? == Exit::Code(0));
    Ok(message)
}

fn std_mpsc(_: &Names) -> Result<Message> {
    let (to, from) = mpsc::channel();
    let worker = Builder::new().spawn(move || to.send(MESSAGE))?;
    let message = from.recv()?;
    worker.join().unwrap()?;
    Ok(message)
}
