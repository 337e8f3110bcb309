//! Our ring: one that trusts nobody and copies each message in and out, and one that trusts its peer and does not.

use std::sync::Arc;

use anyhow::{Context, Result};
use ipc_demo::ring::{Receiver, ReceiverInPlace, Ring, Sender, SenderInPlace};

use crate::exchange::{End, Pair};
use crate::message::{BYTES, Message};

/// Which of the ring's ends both sides use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The peer may do what it likes.
    Copying,
    /// The peer must keep the protocol.
    InPlace,
}

impl Ends {
    pub fn says(self) -> &'static str {
        match self {
            Ends::Copying => "copied",
            Ends::InPlace => "in place",
        }
    }
}

pub fn name(slots: usize, ends: Ends) -> String {
    format!("ring Ring::new({slots}, {BYTES}), {}", ends.says())
}

pub fn copying(slots: usize) -> Result<Pair<Copying>> {
    pair(slots, |to, from| Ok(Copying { to: to.sender()?, from: from.receiver()? }))
}

pub fn in_place(slots: usize) -> Result<Pair<InPlace>> {
    pair(slots, |to, from| {
        // SAFETY: the four ends of a pair's two rings are opened here alone, and nobody else gets the rings; a child that
        // is forked later inherits copies of the parent's ends and uses none.
        let (to, from) = unsafe { (to.sender_in_place()?, from.receiver_in_place()?) };
        Ok(InPlace { to, from })
    })
}

/// Each side claims its ends in its own process.
fn pair<E: 'static>(slots: usize, open: fn(&Ring, &Ring) -> Result<E>) -> Result<Pair<E>> {
    let (there, back) = (Arc::new(Ring::new(slots, BYTES)?), Arc::new(Ring::new(slots, BYTES)?));
    let (theirs, mine) = (Arc::clone(&there), Arc::clone(&back));
    Ok(Pair { own: Box::new(move || open(&there, &mine)), theirs: Box::new(move || open(&back, &theirs)) })
}

pub struct Copying {
    to: Sender,
    from: Receiver,
}

impl End for Copying {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.to.send(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        self.from.receive(&mut bytes)?;
        Ok(Message::from_bytes(bytes))
    }
}

pub struct InPlace {
    to: SenderInPlace,
    from: ReceiverInPlace,
}

impl End for InPlace {
    fn send(&mut self, message: Message) -> Result<()> {
        let mut room = self.to.reserve(BYTES)?;
        room.copy_from_slice(&message.to_bytes());
        room.commit();
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        let received = self.from.receive()?;
        Ok(Message::from_bytes(received[..].try_into().context("a message of another size")?))
    }
}
