//! How much do channels between threads take?

use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::unistd::{getpid, gettid};
use process_demo::crew::{Crew, Kind, NOTHING};
use process_demo::memory_of;
use shared::Stage;

use super::message::{BYTES, Message, message, number_of};
use super::row::{Row, Then};
use crate::asleep::wait_until_asleep;

const ROOM: usize = 64; // Of the bounded ones: whoever makes one chooses.

type Send<'a> = &'a (dyn Fn(Message) -> bool + Sync);
type Receive<'a> = &'a mut dyn FnMut() -> Option<Message>;

/// The unbounded ones, each filled in a process of its own, so that its growth is seen alone.
pub fn measure_unbounded(stage: &Stage) -> Result<Vec<Row>> {
    let most = stage.by_effort(50_000, 500_000, 2_000_000);
    let by_std = || {
        let (to, from) = mpsc::channel();
        fill(most, &|message| to.send(message).is_ok(), &mut || from.try_recv().ok())
    };
    let by_crossbeam = || {
        let (to, from) = crossbeam_channel::unbounded();
        fill(most, &|message| to.send(message).is_ok(), &mut || from.try_recv().ok())
    };
    Ok(vec![apart("std mpsc::channel", &by_std)?, apart("crossbeam unbounded", &by_crossbeam)?])
}

type Fill<'a> = &'a (dyn Fn() -> Result<[u64; 3]> + Sync);

fn apart<'a>(name: &str, fill: Fill<'a>) -> Result<Row> {
    let mut child = Crew::of(Kind::Processes, 1, || Ok((fill, [0; 3])))?;
    let run = |(fill, numbers): &mut (Fill<'a>, [u64; 3]), _| {
        *numbers = fill()?;
        Ok(0)
    };
    child.ask(0, run, NOTHING)?.value().with_context(|| name.to_owned())?;
    let mut number = |at| child.ask(0, |(_, numbers), [at, ..]| Ok(numbers[at as usize]), [at, 0, 0])?.value();
    let (messages, by_bytes, arrived) = (number(0)?, number(1)?, number(2)?);
    let (then, bytes) = (Then::Grows { by_bytes }, messages * BYTES as u64);
    Ok(Row { name: name.to_owned(), messages: Some(messages), bytes, then, arrived })
}

/// How many were taken of so many, by how many bytes the process grew, and how many came out, in order.
fn fill(most: u64, send: Send<'_>, receive: Receive<'_>) -> Result<[u64; 3]> {
    let before = memory_bytes()?;
    let taken = (0..most).take_while(|&number| send(message(number))).count() as u64;
    let grown = memory_bytes()?.saturating_sub(before);
    ensure!(taken == most, "a channel without bound refused message {taken}");
    Ok([taken, grown, drain(receive)?])
}

pub fn measure_bounded(stage: &Stage) -> Result<Vec<Row>> {
    let (to, from) = mpsc::sync_channel(ROOM);
    let full = |error: mpsc::TrySendError<Message>| matches!(error, mpsc::TrySendError::Full(_));
    let by_std = bounded(
        stage,
        &format!("std sync_channel({ROOM})"),
        &|message| to.try_send(message).map_err(full).err(),
        &|message| to.send(message).is_ok(),
        &mut || from.recv().ok(),
    )?;
    let (to, from) = crossbeam_channel::bounded(ROOM);
    let full = |error: crossbeam_channel::TrySendError<Message>| error.is_full();
    let by_crossbeam = bounded(
        stage,
        &format!("crossbeam bounded({ROOM})"),
        &|message| to.try_send(message).map_err(full).err(),
        &|message| to.send(message).is_ok(),
        &mut || from.recv().ok(),
    )?;
    Ok(vec![by_std, by_crossbeam])
}

/// `try_send` gives nothing if it was taken, else whether the channel was full.
fn bounded(
    stage: &Stage,
    name: &str,
    try_send: &dyn Fn(Message) -> Option<bool>,
    send: Send<'_>,
    receive: Receive<'_>,
) -> Result<Row> {
    let mut taken = 0;
    let full = loop {
        match try_send(message(taken)) {
            None => taken += 1,
            Some(full) => break full,
        }
    };
    ensure!(full, "{name}: nobody can receive");
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        let writer = scope.spawn(move || tell.send(gettid()).is_ok() && send(message(taken)));
        let waits = wait_until_asleep(told.recv()?, stage.clock())?;
        let mut arrived = 0;
        // As many as were taken, and the one for which the writer waits.
        while arrived <= taken {
            let number = number_of(&receive().context("nobody sends")?)?;
            ensure!(number == arrived, "message {number} came in place of {arrived}");
            arrived += 1;
        }
        ensure!(writer.join().unwrap() && waits, "{name}: the writer did not wait");
        let then = Then::Waits { or_error: Some("Full".to_owned()) };
        Ok(Row { name: name.to_owned(), messages: Some(taken), bytes: taken * BYTES as u64, then, arrived })
    })
}

fn drain(receive: Receive<'_>) -> Result<u64> {
    let mut arrived = 0;
    while let Some(bytes) = receive() {
        let number = number_of(&bytes)?;
        ensure!(number == arrived, "message {number} came in place of {arrived}");
        arrived += 1;
    }
    Ok(arrived)
}

/// Of this process; what is swapped out is no less taken.
fn memory_bytes() -> Result<u64> {
    let memory = memory_of::of(getpid()).context("looking at this process's memory")?;
    Ok(memory.rss_bytes + memory.swap_bytes)
}
