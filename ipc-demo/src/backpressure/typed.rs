//! How much does ipc-channel take?

use std::fs::File;
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use ipc_channel::ipc::{IpcReceiver, channel};
use ipc_demo::shared_region::SharedRegion;
use process_demo::child::{Exit, fork};
use shared::Stage;

use super::message::{BYTES, message, number_of};
use super::row::{Row, Then};
use crate::asleep::wait_until_asleep;

const MOST: u64 = 5_000; // If the writer is not asleep by then, it is said to take as many.

/// Its sender cannot be asked not to wait, so a child sends, and counts in memory that both see.
pub fn measure(stage: &Stage, name: &str) -> Result<Row> {
    let (to, from) = channel::<Vec<u8>>().context("an ipc-channel")?;
    let region = SharedRegion::new(2 * size_of::<AtomicU64>()).context("shared memory")?;
    // SAFETY: the region is two zeroed words, aligned to a page, and lives longer than the reference.
    let [sent, arrived] = unsafe { &*region.as_ptr().cast::<[AtomicU64; 2]>() };
    let (gate, opener) = pipe().context("a pipe")?;
    let gate = File::from(OwnedFd::from(gate));
    let mut opener = Some(opener);
    let read = || {
        drop(opener.take()); // The child's copy: the gate opens when the last one closes.
        u8::from(read_on(gate, &from, arrived).is_err())
    };
    // SAFETY: the child changes atomic numbers in shared memory, and owns nothing there.
    let reader = unsafe { fork(read) }.context("starting a process")?;
    let write = || {
        drop(opener.take());
        let send = |number| to.send(message(number).to_vec()).map(|()| sent.fetch_add(1, Relaxed));
        u8::from((0..MOST).try_for_each(|number| send(number).map(drop)).is_err())
    };
    // SAFETY: as above.
    let writer = unsafe { fork(write) }.context("starting a process")?;
    let waits = wait_until_asleep(writer.pid(), stage.clock())?;
    let messages = sent.load(Relaxed); // Whoever sleeps, or has ended, adds no more.
    drop(opener.take());
    ensure!(writer.wait()? == Exit::Code(0), "the writer failed");
    ensure!(reader.wait()? == Exit::Code(0), "the reader failed");
    let then = if waits { Then::Waits { or_error: None } } else { Then::NeverWaited };
    let (bytes, arrived) = (messages * BYTES as u64, arrived.load(Relaxed));
    Ok(Row { name: name.to_owned(), messages: Some(messages), bytes, then, arrived })
}

/// In the child: nothing until the gate opens, then everything, in order.
fn read_on(mut gate: File, from: &IpcReceiver<Vec<u8>>, arrived: &AtomicU64) -> Result<()> {
    let _ = gate.read(&mut [0])?; // A bare read: all that can come is the end.
    for expected in 0..MOST {
        let number = number_of(&from.recv()?)?;
        ensure!(number == expected, "message {number} came in place of {expected}");
        arrived.fetch_add(1, Relaxed);
    }
    Ok(())
}
