//! Does the kernel hear of a message in shared memory? The system calls of both sides, counted.

use std::mem::forget;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result, ensure};
use ipc_demo::pipe_pair::pipe_pair;
use ipc_demo::ring::Ring;
use ipc_demo::shared_region::SharedRegion;
use process_demo::child::{Exit, fork};
use process_demo::system_calls;
use shared::measure::SystemClock;
use shared::{Cell, Column, Table, refused};

use super::memory::{WORD_BYTES, words_of};
use super::message::{BYTES, Message, TAKE};
use crate::asleep::wait_until_asleep;

pub const MESSAGES: u64 = 64; // Of 64 bytes: as much as the smallest pipe takes before anybody reads.

/// The calls of each side, and how many messages came whole and in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    pub writer: u64,
    pub reader: u64,
    pub right: u64,
}

impl Calls {
    pub fn both(self) -> u64 {
        self.writer + self.reader
    }
}

/// What was counted for a mechanism, or why it could not be.
pub type Counted = Result<Calls, String>;

/// By the ring, and by a pipe.
pub fn by_each_way() -> Result<[Counted; 2]> {
    let counted = |calls: Result<Calls>| match calls {
        Ok(calls) => Ok(Ok(calls)),
        Err(error) => refused(&error).map(Err).ok_or(error),
    };
    Ok([counted(by_ring())?, counted(by_pipe())?])
}

/// One process writes all messages, and when it has ended another reads them. What each side does anyway, to claim its
/// end of the ring and to let go of it, is counted by itself and taken off.
fn by_ring() -> Result<Calls> {
    let report = SharedRegion::new(WORD_BYTES)?;
    let right = &words_of(&report)[0];
    let made = |messages: u64| -> Result<(u64, u64)> {
        let ring = Ring::new(MESSAGES as usize, BYTES)?;
        let write = || {
            let Ok(mut sender) = ring.sender() else { return };
            for number in 0..messages {
                let _ = sender.try_send(&Message::filled(number, TAKE).to_bytes()); // The reader counts what came.
            }
        };
        let read = || {
            let Ok(mut receiver) = ring.receiver() else { return };
            let mut bytes = [0; BYTES];
            for number in 0..messages {
                let came = receiver.try_receive(&mut bytes) == Ok(BYTES);
                right.fetch_add(u64::from(came && is(bytes, number)), Relaxed);
            }
        };
        Ok((made_by(write)?, made_by(read)?))
    };
    let ((writer, reader), (claiming, claiming_too)) = (made(MESSAGES)?, made(0)?);
    let more = |all: u64, anyway: u64| all.checked_sub(anyway).context("a side with messages made fewer calls");
    Ok(Calls { writer: more(writer, claiming)?, reader: more(reader, claiming_too)?, right: right.load(Relaxed) })
}

/// The same through a pipe, whose ends nobody has to claim.
fn by_pipe() -> Result<Calls> {
    let report = SharedRegion::new(WORD_BYTES)?;
    let right = &words_of(&report)[0];
    let (mut to, mut from) = pipe_pair()?;
    let write = || {
        for number in 0..MESSAGES {
            let _ = to.send(&Message::filled(number, TAKE).to_bytes());
        }
    };
    let writer = made_by(write)?;
    let read = || {
        let mut bytes = [0; BYTES];
        for number in 0..MESSAGES {
            let came = matches!(from.receive(&mut bytes), Ok(true));
            right.fetch_add(u64::from(came && is(bytes, number)), Relaxed);
        }
    };
    let reader = made_by(read)?;
    Ok(Calls { writer, reader, right: right.load(Relaxed) })
}

fn is(bytes: [u8; BYTES], number: u64) -> bool {
    Message::from_bytes(bytes) == Message::filled(number, TAKE)
}

/// The calls that one message costs its writer while the reader sleeps; likewise less those of a writer of none.
pub fn to_a_sleeper(clock: SystemClock) -> Result<u64> {
    let made = |messages: u64| -> Result<u64> {
        let ring = Ring::new(1, BYTES)?;
        let wait = || {
            let Ok(mut receiver) = ring.receiver() else { return 1 };
            receiver.spin_at_most(0);
            u8::from(receiver.receive(&mut [0; BYTES]).is_err())
        };
        // SAFETY: the child claims its own role of the ring, and nobody has claimed one before.
        let reader = unsafe { fork(wait) }.context("starting a process")?;
        ensure!(wait_until_asleep(reader.pid(), clock)?, "the reader did not wait for its message");
        let write = || {
            let Ok(mut sender) = ring.sender() else { return };
            for number in 0..messages {
                let _ = sender.try_send(&Message::filled(number, TAKE).to_bytes());
            }
            forget(sender); // Its farewell would wake the reader too.
        };
        let calls = made_by(write)?;
        if messages > 0 {
            let exit = reader.wait()?;
            ensure!(exit == Exit::Code(0), "the sleeper did not get its message: {exit}");
        }
        Ok(calls)
    };
    let (one, none) = (made(1)?, made(0)?);
    one.checked_sub(none).context("a writer with a message made fewer calls")
}

fn made_by(work: impl FnOnce()) -> Result<u64> {
    // SAFETY: a ring's role is claimed by the child itself; else there are plain words and descriptors.
    let calls = unsafe { system_calls::count(work) }.context("counting system calls")?;
    Ok(calls.own.values().sum())
}

pub fn table([ring, pipe]: &[Counted; 2]) -> Table {
    let row = |name: &str, counted: &Counted| {
        let cells = match counted {
            Ok(Calls { writer, reader, right }) => {
                [writer, reader, right].map(|number| Cell::Number(*number as f64)).to_vec()
            }
            Err(why) => vec![Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing],
        };
        [Cell::Text(name.to_owned())].into_iter().chain(cells).collect()
    };
    let heads = ["writer's calls", "reader's calls", "arrived"].map(|head| Column::value(head, ""));
    Table {
        title: format!("System calls for {MESSAGES} messages from one process to another"),
        columns: [Column::label("mechanism")].into_iter().chain(heads).collect(),
        rows: vec![row("ring in shared memory", ring), row("pipe", pipe)],
    }
}
