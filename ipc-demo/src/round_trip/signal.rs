//! A message in shared memory, told by a queued real-time signal that carries the message's number.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipc_demo::queued_signal::{block, send, take};
use nix::libc::{SIGRTMIN, c_int};
use nix::unistd::{Pid, getpid};

use super::desk::{self, ASKER, Beside, Notice, PEER, Place};

pub struct Signals {
    own: c_int,
    theirs: c_int,
    to: Pid,
}

/// Before the first thread starts: a thread that had them not blocked would get one, and end the process.
pub fn block_first() -> Result<()> {
    Ok(block(&[to_side(ASKER), to_side(PEER)])?)
}

pub fn pair() -> Result<(Beside<Signals>, Beside<Signals>)> {
    for side in [ASKER, PEER] {
        // A refusal (RLIMIT_SIGPENDING) shows itself here, and not while a peer waits.
        send(getpid(), to_side(side), 0).context("a queued signal")?;
        take(&[to_side(side)], Duration::ZERO)?.context("a signal to oneself, while it is blocked")?;
    }
    let to = getpid(); // Right for the peer, and for an asker whose peer is a thread; any other one meets its peer.
    desk::pair(|_, side| Ok(Signals { own: to_side(side), theirs: to_side(1 - side), to }))
}

/// One for each direction: a signal goes to a process, and of its threads to the one that waits for this number.
fn to_side(side: usize) -> c_int {
    SIGRTMIN() + side as c_int
}

impl Notice for Signals {
    fn wait(&mut self, _place: &Place, number: u32) -> Result<()> {
        const LONG: Duration = Duration::from_secs(3600); // A bound that the call wants; then it is asked again.
        loop {
            if let Some(taken) = take(&[self.own], LONG)? {
                ensure!(taken.number == number as usize, "told of message {}, not {number}", taken.number);
                return Ok(());
            }
        }
    }

    fn give(&mut self, _place: &Place, number: u32) -> Result<()> {
        Ok(send(self.to, self.theirs, number as usize)?)
    }

    fn meet(&mut self, process: Pid) {
        self.to = process;
    }
}
