//! A message by ipc-channel, between processes: as a typed value, and as bytes that nobody encodes.

use anyhow::{Context, Result};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};
use ipc_demo::typed::{TypedEnd, typed_pair};
use shared::Placement;
use shared::measure::Rival;

use super::exchange::{End, processes};
use super::message::Message;
use super::tally::Tally;

pub const TYPED: &str = "ipc-channel (typed), processes";
pub const BYTES: &str = "ipc-channel (bytes), processes";

pub fn typed(placement: Placement, tally: &Tally) -> Rival<'_> {
    processes(TYPED, placement, tally, || Ok(typed_pair::<Message, Message>()?))
}

pub fn bytes(placement: Placement, tally: &Tally) -> Rival<'_> {
    processes(BYTES, placement, tally, || {
        let (to_second, from_first) = bytes_channel()?;
        let (to_first, from_second) = bytes_channel()?;
        Ok((BytesEnd { to: to_second, from: from_second }, BytesEnd { to: to_first, from: from_first }))
    })
}

impl End for TypedEnd<Message, Message> {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(TypedEnd::send(self, message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        TypedEnd::receive(self)?.context("the other end of the channel is gone")
    }
}

struct BytesEnd {
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
