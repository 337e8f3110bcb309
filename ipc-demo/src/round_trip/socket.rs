//! A message by a Unix stream socket, between processes.

use anyhow::{Result, ensure};
use ipc_demo::socket_pair::{SocketEnd, socket_pair};
use shared::Placement;
use shared::measure::Rival;

use super::exchange::{End, processes};
use super::message::{BYTES, Message};
use super::tally::Tally;

pub const PROCESSES: &str = "socketpair (Unix stream), processes";

pub fn between_processes(placement: Placement, tally: &Tally) -> Rival<'_> {
    processes(PROCESSES, placement, tally, || Ok(socket_pair()?))
}

impl End for SocketEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(SocketEnd::send(self, &message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        ensure!(SocketEnd::receive(self, &mut bytes)?, "the other end of the socket is gone");
        Ok(Message::from_bytes(bytes))
    }
}
