//! Does `send` block when nobody receives, and after how many messages?

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use ipc_channel::ipc::bytes_channel;
use ipc_demo::shared_region::SharedRegion;
use process_demo::child::fork;
use shared::{Cell, Column, Stage, Table};

use crate::asleep::wait_until_settled;

const SIZES: [usize; 4] = [3, 64, 4096, 65536]; // The first is what the report of 2021 sent.
const MORE: u64 = 100; // Messages beyond those that fit.

/// After how many messages of the largest size that blocked, and that size; none if none blocked.
pub fn fill_all(stage: &mut Stage) -> Result<Option<(u64, usize)>> {
    let (mut rows, mut blocked, mut freed) = (Vec::new(), Vec::new(), 0);
    for bytes in SIZES {
        let (messages, asleep) = fill(bytes)?;
        let call = asleep.as_ref().map_or("never", |(call, _)| call);
        rows.push(vec![Cell::Number(bytes as f64), Cell::Number(messages as f64), Cell::Text(call.to_owned())]);
        if let Some((_, went_on)) = asleep {
            blocked.push((messages, bytes));
            freed += usize::from(went_on);
        }
    }
    stage.table(Table {
        title: "Messages that send() takes while nobody receives".to_owned(),
        columns: vec![Column::x("size", "bytes"), Column::value("taken", ""), Column::value("then asleep in", "")],
        rows,
    });
    let says = "Every send() that sleeps because nobody receives goes on once somebody does";
    stage.fact(says, freed == blocked.len(), format!("{freed} of {}", blocked.len()));
    Ok(blocked.pop())
}

/// A child sends and nobody receives, until it sleeps; then everything is received. How many messages it got rid of; and
/// if it slept, in which call, and whether it went on once somebody received.
fn fill(bytes: usize) -> Result<(u64, Option<(String, bool)>)> {
    let region = SharedRegion::new(size_of::<AtomicU64>())?;
    // SAFETY: the region is eight zeroed bytes, aligned to a page, and lives longer than the reference.
    let sent = unsafe { &*region.as_ptr().cast::<AtomicU64>() };
    let (to, from) = bytes_channel().context("a channel")?;
    let (mut to, mut from) = (Some(to), Some(from));
    let work = || {
        drop(from.take()); // The sender's process must not be the one that could receive.
        let (message, Some(to)) = (vec![7; bytes], to.take()) else { return 1 };
        let send = || to.send(&message).is_ok_and(|()| sent.fetch_add(1, Relaxed) + 1 < LIMIT);
        while send() {}
        0
    };
    // SAFETY: what is shared is an atomic number.
    let child = unsafe { fork(work) }.context("starting a process")?;
    drop(to.take());
    let from = from.take().context("the receiver stays here")?;
    // Seen at two looks in the same sleep: nobody is left to wake it but a receiver.
    let nap = wait_until_settled(|| Ok((sent.load(Relaxed) < LIMIT).then_some(child.pid())))?;
    let fitted = sent.load(Relaxed);
    let Some(nap) = nap else {
        ensure!(fitted == LIMIT, "the sender was never seen asleep");
        return Ok((fitted, None)); // It never blocks, as far as anybody would wait.
    };
    for _ in 0..fitted + MORE {
        let message = from.recv()?;
        ensure!(message.len() == bytes && message.iter().all(|&byte| byte == 7), "a message came changed");
    }
    let went_on = sent.load(Relaxed) >= fitted + MORE - 1; // The last one may have arrived before it was counted.
    drop(child); // It sleeps again, or sends: it is ended.
    Ok((fitted, Some((nap.call, went_on))))
}

const LIMIT: u64 = 20_000; // Of the largest size more than a GiB: no buffer of a socket is as large.
