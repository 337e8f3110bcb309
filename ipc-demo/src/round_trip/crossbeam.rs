//! A message by crossbeam's channels, between threads.

use anyhow::Result;
use crossbeam_channel::{Receiver, Sender};

use super::exchange::End;
use super::message::Message;

type Channel = (Sender<Message>, Receiver<Message>);

pub fn unbounded() -> (Channel, Channel) {
    let (to_second, from_first) = crossbeam_channel::unbounded();
    let (to_first, from_second) = crossbeam_channel::unbounded();
    ((to_second, from_second), (to_first, from_first))
}

/// Room for no message is a rendezvous: a sender waits for its receiver.
pub fn bounded(messages: usize) -> (Channel, Channel) {
    let (to_second, from_first) = crossbeam_channel::bounded(messages);
    let (to_first, from_second) = crossbeam_channel::bounded(messages);
    ((to_second, from_second), (to_first, from_first))
}

impl End for Channel {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}
