//! A message by two POSIX message queues, whose name is gone before the first message.

use anyhow::{Context, Result};
use ipc_demo::message_queue::MessageQueue;

use super::exchange::End;
use super::message::{BYTES, Message};

pub struct QueueEnd {
    to: MessageQueue,
    from: MessageQueue,
}

pub fn pair(name: &str) -> Result<(QueueEnd, QueueEnd)> {
    let (to_peer, from_asker) = one_way(name)?;
    let (to_asker, from_peer) = one_way(name)?;
    Ok((QueueEnd { to: to_peer, from: from_peer }, QueueEnd { to: to_asker, from: from_asker }))
}

pub const MESSAGES: usize = 1; // No more are ever under way, and a user's share of queued bytes is small.

/// Two handles of one queue.
fn one_way(name: &str) -> Result<(MessageQueue, MessageQueue)> {
    let (to, name_of_both) = MessageQueue::create(name, MESSAGES, BYTES).context("a POSIX queue")?;
    let from = MessageQueue::open(name)?;
    drop(name_of_both);
    Ok((to, from))
}

impl End for QueueEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        const PRIORITY: u32 = 0;
        Ok(self.to.send(&message.to_bytes(), PRIORITY)?)
    }

    fn receive(&mut self) -> Result<Message> {
        let bytes = self.from.receive()?.bytes;
        Ok(Message::from_bytes(bytes.as_slice().try_into().context("a message of another size")?))
    }
}
