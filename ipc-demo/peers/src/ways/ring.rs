//! Our ring, which copies each message in and out.

use std::sync::Arc;

use anyhow::Result;
use ipc_demo::ring::{Receiver, Ring, Sender};

use crate::exchange::{End, Pair};
use crate::message::{BYTES, Message};

pub fn name(slots: usize) -> String {
    format!("ring Ring::new({slots}, {BYTES})")
}

pub fn pair(slots: usize) -> Result<Pair<RingEnds>> {
    let (there, back) = (Arc::new(Ring::new(slots, BYTES)?), Arc::new(Ring::new(slots, BYTES)?));
    let (theirs, mine) = (Arc::clone(&there), Arc::clone(&back));
    Ok(Pair {
        own: Box::new(move || Ok(RingEnds { to: there.sender()?, from: mine.receiver()? })),
        theirs: Box::new(move || Ok(RingEnds { to: back.sender()?, from: theirs.receiver()? })),
    })
}

pub struct RingEnds {
    to: Sender,
    from: Receiver,
}

impl End for RingEnds {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.to.send(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        self.from.receive(&mut bytes)?;
        Ok(Message::from_bytes(bytes))
    }
}
