//! ipc-channel: one value, so large that one call of `send` goes in many pieces.

use anyhow::Result;
use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcReceiver, IpcSender, channel};

use super::{Ends, Names, Receiver, Refusal, Sender};

const BYTES: usize = 4 << 20; // Far above what a socket's buffer takes: `send` waits in its middle.

struct Inbox(IpcReceiver<Vec<u8>>);

impl Sender for IpcSender<Vec<u8>> {
    fn send(&mut self) -> Result<u64, Refusal> {
        IpcSender::send(self, vec![7; BYTES]).map_err(refusal)?;
        Ok(1)
    }
}

impl Receiver for Inbox {
    fn receive(&mut self) -> Result<u64, Refusal> {
        self.0.recv().map_err(refusal)?;
        Ok(1)
    }
}

fn refusal(error: IpcError) -> Refusal {
    match error {
        IpcError::Disconnected => Refusal("Disconnected".to_owned()),
        IpcError::Io(error) => error.into(),
        IpcError::SerializationError(error) => Refusal(error.to_string()),
    }
}

pub fn open(_: &Names) -> Result<Ends> {
    let (to, from) = channel::<Vec<u8>>()?;
    Ok(Ends::private(to, Inbox(from)))
}
