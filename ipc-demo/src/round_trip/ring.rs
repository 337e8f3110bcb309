//! A message by the adaptive ring in shared memory, one ring for each direction.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use ipc_demo::ring::{Receiver, Ring, Sender};

use super::desk::{ASKER, PEER};
use super::exchange::End;
use super::message::{BYTES, Message};

/// One end. It claims its roles at its first use, which is in the process that uses them, as the ring wants it.
pub struct RingEnd {
    to_side: Arc<[Ring; 2]>,
    side: usize,
    claimed: Option<(Sender, Receiver)>,
}

pub const SLOTS: usize = 16; // One message is under way at a time; with so many, slots are given back four at once.

pub fn pair() -> Result<(RingEnd, RingEnd)> {
    let ring = || Ring::new(SLOTS, BYTES).context("a ring");
    let to_side = Arc::new([ring()?, ring()?]);
    let end = |side| RingEnd { to_side: Arc::clone(&to_side), side, claimed: None };
    Ok((end(ASKER), end(PEER)))
}

impl RingEnd {
    fn roles(&mut self) -> Result<&mut (Sender, Receiver)> {
        if self.claimed.is_none() {
            let (to, from) = (&self.to_side[1 - self.side], &self.to_side[self.side]);
            self.claimed = Some((to.sender()?, from.receiver()?));
        }
        self.claimed.as_mut().context("claimed above")
    }
}

impl End for RingEnd {
    fn open(&mut self) -> Result<()> {
        self.roles().map(drop)
    }

    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.roles()?.0.send(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        let length = self.roles()?.1.receive(&mut bytes)?;
        ensure!(length == BYTES, "a message of {length} bytes");
        Ok(Message::from_bytes(bytes))
    }
}
