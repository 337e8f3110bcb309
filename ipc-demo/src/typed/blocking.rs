//! Does `send` block when nobody receives, and after how many messages?

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, bail, ensure};
use ipc_channel::ipc::{IpcBytesReceiver, bytes_channel};
use ipc_demo::shared_region::SharedRegion;
use nix::sched::sched_yield;
use nix::unistd::Pid;
use process_demo::child::fork;
use shared::{Cell, Column, Stage, Table};

use crate::asleep::{Nap, nap_of};

/// How many messages of this size a sender got rid of while nobody received.
pub struct Filled {
    pub bytes: usize,
    pub sent: u64,
    /// The call; none if it never slept.
    pub asleep_in: Option<String>,
    /// It went on once somebody received, and all that it sent arrived.
    pub freed: bool,
}

const SIZES: [usize; 4] = [3, 64, 4096, 65536]; // The first is what the report of 2021 sent.
const MORE: u64 = 100; // Messages beyond those that fit.

pub fn show(stage: &mut Stage) -> Result<Vec<Filled>> {
    let filled: Vec<Filled> = SIZES.into_iter().map(fill).collect::<Result<_>>()?;
    stage.table(table(&filled));
    let blocked = || filled.iter().filter(|filled| filled.asleep_in.is_some());
    let freed = blocked().filter(|filled| filled.freed).count();
    let says = "Every send() that sleeps because nobody receives goes on once somebody does";
    stage.fact(says, freed == blocked().count(), format!("{freed} of {}", blocked().count()));
    Ok(filled)
}

/// A child sends and nobody receives, until it sleeps; then everything is received.
fn fill(bytes: usize) -> Result<Filled> {
    let region = SharedRegion::new(size_of::<AtomicU64>())?;
    // SAFETY: the region is eight zeroed bytes, aligned to a page, and lives longer than the reference.
    let sent = unsafe { &*region.as_ptr().cast::<AtomicU64>() };
    let (to, from) = bytes_channel().context("a channel")?;
    let (mut to, mut from) = (Some(to), Some(from));
    let work = || {
        drop(from.take()); // The sender's process must not be the one that could receive.
        let message = vec![7; bytes];
        let Some(to) = to.take() else { return 1 };
        loop {
            if to.send(&message).is_err() {
                return 1;
            }
            if sent.fetch_add(1, Relaxed) + 1 == LIMIT {
                return 0; // It never blocks, as far as anybody would wait.
            }
        }
    };
    // SAFETY: what is shared is an atomic number.
    let child = unsafe { fork(work) }.context("starting a process")?;
    drop(to.take());
    let from = from.take().context("the receiver stays here")?;
    let nap = until_asleep(child.pid(), sent)?;
    let fitted = sent.load(Relaxed);
    if nap.is_none() {
        return Ok(Filled { bytes, sent: fitted, asleep_in: None, freed: false });
    }
    receive(&from, bytes, fitted + MORE)?;
    let freed = sent.load(Relaxed) >= fitted + MORE - 1; // The last one may have arrived before it was counted.
    drop(child); // It sleeps again, or sends: it is ended.
    Ok(Filled { bytes, sent: fitted, asleep_in: nap.map(|nap| nap.call), freed })
}

const LIMIT: u64 = 20_000; // Of the largest size more than a GiB: no buffer of a socket is as large.
const LOOKS: usize = 5_000_000; // A bound of some seconds.

/// Seen at two looks in the same sleep, with the same count: nobody is left to wake it but a receiver.
fn until_asleep(pid: Pid, sent: &AtomicU64) -> Result<Option<Nap>> {
    let mut last = None;
    for _ in 0..LOOKS {
        let now = nap_of(pid)?.map(|nap| (nap, sent.load(Relaxed)));
        match now {
            Some(seen) if Some(&seen) == last.as_ref() => return Ok(Some(seen.0)),
            seen => last = seen,
        }
        if sent.load(Relaxed) == LIMIT {
            return Ok(None);
        }
        sched_yield()?;
    }
    bail!("the sender was never seen asleep")
}

fn receive(from: &IpcBytesReceiver, bytes: usize, count: u64) -> Result<()> {
    for _ in 0..count {
        let message = from.recv()?;
        ensure!(message.len() == bytes && message.iter().all(|&byte| byte == 7), "a message came changed");
    }
    Ok(())
}

fn table(filled: &[Filled]) -> Table {
    let row = |filled: &Filled| {
        let Filled { bytes, sent, asleep_in, .. } = filled;
        let call = asleep_in.as_deref().unwrap_or("never");
        vec![Cell::Number(*bytes as f64), Cell::Number(*sent as f64), Cell::Text(call.to_owned())]
    };
    Table {
        title: "Messages that send() takes while nobody receives".to_owned(),
        columns: vec![Column::x("size", "bytes"), Column::value("taken", ""), Column::value("then asleep in", "")],
        rows: filled.iter().map(row).collect(),
    }
}
