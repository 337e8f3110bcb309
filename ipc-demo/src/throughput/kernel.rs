//! The mechanisms of the kernel: pipe, sockets, POSIX queue.

use std::cell::RefCell;
use std::fs;
use std::os::fd::AsFd;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use ipc_demo::message_queue::MessageQueue;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{getsockopt, sockopt};
use shared::number::chosen_with_unit;

use super::area::Area;
use super::message::{Check, Stamp};
use crate::link::{End, Link};

/// As many as every user may have by default.
pub const QUEUE_MESSAGES: usize = 10;

/// What a larger pipe holds: by default nobody may have more.
pub const LARGE_PIPE_BYTES: i32 = 1 << 20;

/// Makes a pipe hold more than the usual 64 KiB.
pub fn enlarged(link: Link) -> Result<Link> {
    let held = fcntl(link.to.as_fd(), FcntlArg::F_SETPIPE_SZ(LARGE_PIPE_BYTES)).context("a pipe of 1 MiB")?;
    ensure!(held >= LARGE_PIPE_BYTES, "the pipe holds {held} bytes");
    Ok(link)
}

/// Bytes without boundaries: written until all is gone, read until all is there.
pub fn stream(
    Link { to, from }: Link,
    bytes: usize,
    area: &RefCell<Area>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()>) {
    let send = move |stamp| write_all(&to, area.borrow_mut().next(bytes, stamp));
    let mut buffer = vec![0; bytes];
    let receive = move |check: &mut Check| {
        read_exact(&from, &mut buffer)?;
        check.look(&buffer)
    };
    (send, receive)
}

/// Each message by one call, whole or not at all.
pub fn packets(
    Link { to, from }: Link,
    bytes: usize,
    area: &RefCell<Area>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()>) {
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

/// The snippet's queue, whose name is gone before the first message.
pub fn new_queue(name: &str, bytes: usize) -> Result<MessageQueue> {
    let (queue, name) = MessageQueue::create(name, QUEUE_MESSAGES, bytes).context("a POSIX queue")?;
    drop(name); // The child inherits the queue.
    Ok(queue)
}

pub fn queue(
    queue: MessageQueue,
    bytes: usize,
    area: &RefCell<Area>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()>) {
    let to = Rc::new(queue);
    let from = Rc::clone(&to);
    let send = move |stamp| Ok(to.send(area.borrow_mut().next(bytes, stamp), 0)?);
    let receive = move |check: &mut Check| check.look(&from.receive()?.bytes);
    (send, receive)
}

/// Why a socket that keeps messages whole does not take one of that size; none if it takes it.
pub fn packet_refusal(link: &Link, bytes: usize) -> Result<Option<String>> {
    link.to.never_block()?;
    match link.to.send(&vec![0; bytes]) {
        Ok(_) => Ok(None),
        Err(error @ Errno::EMSGSIZE) => {
            let held = getsockopt(&link.to, sockopt::SndBuf)?;
            Ok(Some(format!("{} ({} is its send buffer)", error.desc(), bytes_in_words(held))))
        }
        Err(error) => Err(error).context("trying a message of that size"),
    }
}

/// Why there is no queue for messages of that size; none if there is one.
pub fn queue_refusal(name: &str, bytes: usize) -> Option<String> {
    let code = MessageQueue::create(name, QUEUE_MESSAGES, bytes).err()?.raw_os_error();
    let error = Errno::from_raw(code?);
    let longest = fs::read_to_string("/proc/sys/fs/mqueue/msgsize_max").ok().and_then(|text| text.trim().parse().ok());
    match (error, longest) {
        // EMFILE is what a user gets whose queues would need more memory than RLIMIT_MSGQUEUE grants.
        (Errno::EINVAL | Errno::EMFILE, Some(longest)) if bytes > longest => {
            Some(format!("{error}: longer than msgsize_max, {}", bytes_in_words(longest)))
        }
        (error, _) => Some(error.to_string()),
    }
}

fn bytes_in_words(bytes: usize) -> String {
    chosen_with_unit("bytes", bytes as f64)
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
