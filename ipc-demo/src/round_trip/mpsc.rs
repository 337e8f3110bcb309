//! A message by the standard library's channels, between threads.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use anyhow::Result;

use super::exchange::End;
use super::message::Message;

type Unbounded = (Sender<Message>, Receiver<Message>);
type Bounded = (SyncSender<Message>, Receiver<Message>);

pub fn unbounded() -> (Unbounded, Unbounded) {
    let (to_second, from_first) = channel();
    let (to_first, from_second) = channel();
    ((to_second, from_second), (to_first, from_first))
}

/// Room for no message is a rendezvous: a sender waits for its receiver.
pub fn bounded(messages: usize) -> (Bounded, Bounded) {
    let (to_second, from_first) = sync_channel(messages);
    let (to_first, from_second) = sync_channel(messages);
    ((to_second, from_second), (to_first, from_first))
}

impl End for Unbounded {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}

impl End for Bounded {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}
