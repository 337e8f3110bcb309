//! A message by the standard library's channels, between threads.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use anyhow::Result;
use shared::Placement;
use shared::measure::Rival;

use super::exchange::{End, threads};
use super::message::Message;
use super::tally::Tally;

pub const UNBOUNDED: &str = "std mpsc::channel, threads";
pub const BOUNDED: &str = "std sync_channel(1), threads";

pub fn unbounded(placement: Placement, tally: &Tally) -> Rival<'_> {
    threads(UNBOUNDED, placement, tally, || {
        let (to_second, from_first) = channel();
        let (to_first, from_second) = channel();
        Ok(((to_second, from_second), (to_first, from_first)))
    })
}

pub fn bounded(placement: Placement, tally: &Tally) -> Rival<'_> {
    threads(BOUNDED, placement, tally, || {
        let (to_second, from_first) = sync_channel(1);
        let (to_first, from_second) = sync_channel(1);
        Ok(((to_second, from_second), (to_first, from_first)))
    })
}

impl End for (Sender<Message>, Receiver<Message>) {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}

impl End for (SyncSender<Message>, Receiver<Message>) {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}
