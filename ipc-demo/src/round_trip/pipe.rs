//! A message by a pipe: between threads, between processes, and to nobody but oneself.

use anyhow::{Result, ensure};
use ipc_demo::pipe_pair::{PipeEnd, pipe_pair};
use shared::Placement;
use shared::measure::{Ready, Rival};

use super::exchange::{End, processes, threads};
use super::message::{BYTES, Message};
use super::tally::Tally;

pub const THREADS: &str = "pipe, threads";
pub const PROCESSES: &str = "pipe, processes";
pub const ALONE: &str = "own pipe twice, nobody else";

pub fn between_threads(placement: Placement, tally: &Tally) -> Rival<'_> {
    threads(THREADS, placement, tally, ends)
}

pub fn between_processes(placement: Placement, tally: &Tally) -> Rival<'_> {
    processes(PROCESSES, placement, tally, ends)
}

/// The control: the same two writes and two reads, but nobody to wait for, so no switch from one party to the other.
pub fn alone<'a>(placement: Placement) -> Rival<'a> {
    Rival::of_threads(ALONE, placement, |_| {
        let (mut there, mut back) = ends()?;
        let mut number = 0;
        Ok(Ready::new(move |steps| {
            let mut right = 0;
            for _ in 0..steps {
                let message = Message::numbered(number);
                End::send(&mut there, message)?;
                let seen = End::receive(&mut back)?;
                End::send(&mut back, seen)?;
                right += u64::from(End::receive(&mut there)? == message);
                number += 1;
            }
            Ok(right)
        }))
    })
}

pub fn ends() -> Result<(PipeEnd, PipeEnd)> {
    Ok(pipe_pair()?)
}

impl End for PipeEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(PipeEnd::send(self, &message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        ensure!(PipeEnd::receive(self, &mut bytes)?, "the other end of the pipe is gone");
        Ok(Message::from_bytes(bytes))
    }
}
