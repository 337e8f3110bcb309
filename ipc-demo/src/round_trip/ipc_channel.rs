//! A message by ipc-channel, between processes: as a typed value, and as bytes that nobody encodes.

use anyhow::{Context, Result};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};
use ipc_demo::typed::{TypedEnd, typed_pair};

use super::exchange::End;
use super::message::Message;

type Typed = TypedEnd<Message, Message>;

pub fn typed_ends() -> Result<(Typed, Typed)> {
    Ok(typed_pair()?)
}

pub fn bytes_ends() -> Result<(BytesEnd, BytesEnd)> {
    let (to_second, from_first) = bytes_channel()?;
    let (to_first, from_second) = bytes_channel()?;
    Ok((BytesEnd { to: to_second, from: from_second }, BytesEnd { to: to_first, from: from_first }))
}

impl End for Typed {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(TypedEnd::send(self, message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        TypedEnd::receive(self)?.context("the other end of the channel is gone")
    }
}

pub struct BytesEnd {
    to: IpcBytesSender,
    from: IpcBytesReceiver,
}

impl End for BytesEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.to.send(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let bytes = self.from.recv()?;
        Ok(Message::from_bytes(bytes.as_slice().try_into().context("a message of another size")?))
    }
}
