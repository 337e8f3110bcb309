//! Channels between threads: the standard library's, crossbeam-channel's, kanal's and flume's, all bounded alike.

use std::sync::mpsc;

use anyhow::Result;

use crate::exchange::{End, Pair};
use crate::message::Message;
use crate::offers::version;

pub fn std_name(slots: usize) -> String {
    format!("std mpsc::sync_channel({slots})")
}

/// A crate's, which all call theirs so.
pub fn bounded(name: &str, slots: usize) -> String {
    format!("{name} {} bounded({slots})", version(name))
}

type Std = (mpsc::SyncSender<Message>, mpsc::Receiver<Message>);
type Crossbeam = (crossbeam_channel::Sender<Message>, crossbeam_channel::Receiver<Message>);
type Kanal = (kanal::Sender<Message>, kanal::Receiver<Message>);
type Flume = (flume::Sender<Message>, flume::Receiver<Message>);

pub fn std(slots: usize) -> Result<Pair<Std>> {
    pair(|| mpsc::sync_channel(slots))
}

pub fn crossbeam(slots: usize) -> Result<Pair<Crossbeam>> {
    pair(|| crossbeam_channel::bounded(slots))
}

pub fn kanal(slots: usize) -> Result<Pair<Kanal>> {
    pair(|| kanal::bounded(slots))
}

pub fn flume(slots: usize) -> Result<Pair<Flume>> {
    pair(|| flume::bounded(slots))
}

fn pair<S: Send + 'static, R: Send + 'static>(channel: impl Fn() -> (S, R)) -> Result<Pair<(S, R)>> {
    let ((there, theirs), (back, mine)) = (channel(), channel());
    Ok(Pair { own: Box::new(move || Ok((there, mine))), theirs: Box::new(move || Ok((back, theirs))) })
}

impl End for Std {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}

impl End for Crossbeam {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}

impl End for Kanal {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}

impl End for Flume {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.1.recv()?)
    }
}
