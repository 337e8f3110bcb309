//! A message by two pipes, one for each direction.

use anyhow::{Result, ensure};
use ipc_demo::pipe_pair::{PipeEnd, pipe_pair};

use super::exchange::End;
use super::message::{BYTES, Message};

pub fn pair() -> Result<(PipeEnd, PipeEnd)> {
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
