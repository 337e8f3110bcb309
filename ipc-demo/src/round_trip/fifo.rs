//! A message by two pipes with names (FIFO), whose names are gone once both sides have them open.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use ipc_demo::fifo::{FifoReader, connect};

use super::exchange::End;
use super::message::{BYTES, Message};

pub struct FifoEnd {
    to: PipeWriter,
    from: PipeReader,
}

pub fn pair(directory: &Path) -> Result<(FifoEnd, FifoEnd)> {
    let (to_peer, from_asker) = one_way(&directory.join("there"))?;
    let (to_asker, from_peer) = one_way(&directory.join("back"))?;
    Ok((FifoEnd { to: to_peer, from: from_peer }, FifoEnd { to: to_asker, from: from_asker }))
}

fn one_way(path: &Path) -> Result<(PipeWriter, PipeReader)> {
    let expected = FifoReader::make(path).context("a named FIFO")?;
    let to = connect(path)?;
    let from = expected.accept(Duration::from_secs(1))?; // The writer is there already: it does not wait.
    Ok((to, from))
}

impl End for FifoEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.to.write_all(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        self.from.read_exact(&mut bytes)?;
        Ok(Message::from_bytes(bytes))
    }
}
