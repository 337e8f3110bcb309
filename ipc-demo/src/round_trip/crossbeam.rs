//! A message by crossbeam's channels, between threads.

use anyhow::Result;
use crossbeam_channel::{Receiver, Sender};
use shared::Placement;
use shared::measure::Rival;

use super::exchange::{End, threads};
use super::message::Message;
use super::tally::Tally;

pub const UNBOUNDED: &str = "crossbeam unbounded, threads";
pub const BOUNDED: &str = "crossbeam bounded(1), threads";

pub fn unbounded(placement: Placement, tally: &Tally) -> Rival<'_> {
    threads(UNBOUNDED, placement, tally, || {
        let (to_second, from_first) = crossbeam_channel::unbounded();
        let (to_first, from_second) = crossbeam_channel::unbounded();
        Ok(((to_second, from_second), (to_first, from_first)))
    })
}

pub fn bounded(placement: Placement, tally: &Tally) -> Rival<'_> {
    threads(BOUNDED, placement, tally, || {
        let (to_second, from_first) = crossbeam_channel::bounded(1);
        let (to_first, from_second) = crossbeam_channel::bounded(1);
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
