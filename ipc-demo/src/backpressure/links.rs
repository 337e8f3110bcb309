//! How much do pipes, sockets and queues take?

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::RcvBuf;
use process_demo::child::{Exit, fork};
use process_demo::crew::{Arguments, Crew, Kind};
use shared::Stage;

use super::message::{BYTES, message, number_of};
use super::row::{Row, Then};
use crate::asleep::wait_until_asleep;
use crate::link::{End, Link, Names, Way};

pub fn measure(stage: &Stage, way: Way) -> Result<Row> {
    let queue = format!("/{}", stage.name("backpressure"));
    let Link { to, from } = way.link(&Names { directory: stage.directory(), queue: &queue })?;
    // For one that never refuses: more than its reader's buffer has bytes for, whatever this machine's is.
    let most_bytes = if way == Way::Udp { getsockopt(&from, RcvBuf)? as u64 + 1 } else { u64::MAX };
    let mut reader = Crew::of(Kind::Processes, 1, || Ok((way, &from)))?; // It reads nothing until it is told to.
    let (mut bytes, mut error) = (0, None);
    let (messages, waiting) = loop {
        error = fill(&to, &mut bytes, most_bytes)?.or(error);
        let (number, done) = place(bytes);
        // SAFETY: the child only sends; nothing here is in shared memory.
        let writer = unsafe { fork(|| u8::from(to.send(&message(number)[done..]).is_err())) }.context("a process")?;
        if wait_until_asleep(writer.pid(), stage.clock())? {
            break (number, Some(writer));
        }
        ensure!(writer.wait()? == Exit::Code(0), "the writer failed");
        if error.is_none() {
            break (number + 1, None);
        }
        bytes = (number + 1) * BYTES as u64; // TCP moves what it has: there was room again. So once more.
    };
    let arrived = reader.ask(0, read_on, [messages + u64::from(waiting.is_some()), 0, 0])?.value()?;
    let name = way.name().to_owned();
    let row = |then| Row { name, messages: Some(messages), bytes: messages * BYTES as u64, then, arrived };
    let Some(writer) = waiting else { return Ok(row(Then::Loses)) };
    ensure!(writer.wait()? == Exit::Code(0), "the writer failed");
    Ok(row(Then::Waits { or_error: error.map(|errno| format!("{errno:?}")) }))
}

/// Sends without waiting until that is an error, or enough has been taken; from then on sending waits again.
fn fill(to: &End, bytes: &mut u64, most_bytes: u64) -> Result<Option<Errno>> {
    to.never_block()?;
    let mut error = None;
    while error.is_none() && *bytes < most_bytes {
        let (number, done) = place(*bytes);
        match to.send(&message(number)[done..]) {
            Ok(count) => *bytes += count as u64,
            Err(errno) => error = Some(errno),
        }
    }
    to.block()?;
    Ok(error)
}

/// The number of the next message, and how much of it has gone: a stream may take a part.
fn place(bytes: u64) -> (u64, usize) {
    (bytes / BYTES as u64, bytes as usize % BYTES)
}

/// In the child: reads so many messages, or what is there if some may be lost; how many were whole and in order.
fn read_on((way, from): &mut (Way, &End), [expected, ..]: Arguments) -> Result<u64> {
    if *way == Way::Udp {
        from.never_block()?; // What was sent to this machine itself is there, or nowhere.
    }
    let (mut arrived, mut next) = (0, 0);
    while arrived < expected {
        let Some(bytes) = whole_message(from)? else { break };
        let number = number_of(&bytes)?;
        ensure!(number == next || (*way == Way::Udp && number > next), "message {number} came in place of {next}");
        (arrived, next) = (arrived + 1, number + 1);
    }
    Ok(arrived)
}

/// None if it would have to wait, and may not.
fn whole_message(from: &End) -> Result<Option<[u8; BYTES]>> {
    let (mut bytes, mut filled) = ([0; BYTES], 0);
    while filled < BYTES {
        match from.receive(&mut bytes[filled..]) {
            Ok(0) => anyhow::bail!("the writer is gone"),
            Ok(count) => filled += count,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Some(bytes))
}
