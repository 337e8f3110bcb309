//! Signals: a message is two of them.

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::{Ends, Names, Receiver, Refusal, Sender, Undo};

const BELL: Signal = Signal::SIGUSR1;

#[derive(Default)]
struct Ringer {
    peer: Option<Pid>,
}

struct Listener;

impl Sender for Ringer {
    fn meet(&mut self, peer: Pid) -> Result<(), Refusal> {
        self.peer = Some(peer);
        Ok(())
    }

    fn send(&mut self) -> Result<u64, Refusal> {
        let peer = self.peer.ok_or_else(|| Refusal("nobody to signal".to_owned()))?;
        kill(peer, BELL)?;
        Ok(1)
    }
}

impl Receiver for Listener {
    fn receive(&mut self) -> Result<u64, Refusal> {
        SigSet::from(BELL).wait()?;
        Ok(1)
    }
}

pub fn open(_: &Names) -> Result<Ends> {
    let bell = SigSet::from(BELL);
    bell.thread_block()?; // Before anybody forks: a signal that is not blocked would end the listener.
    let undo = Undo::by(move || {
        let _ = bell.thread_unblock();
    });
    Ok(Ends { undo, ..Ends::private(Ringer::default(), Listener) })
}
