//! ipc-channel: one value, so large that one call of `send` goes in many pieces.

use anyhow::Result;
use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcReceiver, IpcSender, channel};
use ipc_channel::platform::OsIpcSender;

use super::{Ends, MARK, Names, Receiver, Refusal, Sender, check};

/// Far above what a socket's buffer takes, whatever this machine's is: `send` waits in its middle.
fn bytes() -> usize {
    const PIECES: usize = 8;
    PIECES * OsIpcSender::get_max_fragment_size()
}

struct Inbox(IpcReceiver<Vec<u8>>);

impl Sender for IpcSender<Vec<u8>> {
    fn send(&mut self) -> Result<u64, Refusal> {
        IpcSender::send(self, vec![MARK; bytes()]).map_err(refusal)?;
        Ok(1)
    }
}

impl Receiver for Inbox {
    fn receive(&mut self) -> Result<u64, Refusal> {
        check(&self.0.recv().map_err(refusal)?)?;
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
