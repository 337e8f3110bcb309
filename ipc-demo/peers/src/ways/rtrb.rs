//! rtrb's ring between threads. It has no way to wait, so both sides look again and again.

use anyhow::{Result, bail};
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::Polling;
use crate::exchange::{End, Pair};
use crate::message::Message;
use crate::offers::version;

pub fn name(slots: usize, polling: Polling) -> String {
    format!("rtrb {} RingBuffer::new({slots}), {}", version("rtrb"), polling.says())
}

pub fn pair(slots: usize, polling: Polling) -> Result<Pair<RtrbEnds>> {
    let ((there, theirs), (back, mine)) = (RingBuffer::new(slots), RingBuffer::new(slots));
    Ok(Pair {
        own: Box::new(move || Ok(RtrbEnds { to: there, from: mine, polling })),
        theirs: Box::new(move || Ok(RtrbEnds { to: back, from: theirs, polling })),
    })
}

pub struct RtrbEnds {
    to: Producer<Message>,
    from: Consumer<Message>,
    polling: Polling,
}

impl End for RtrbEnds {
    fn send(&mut self, mut message: Message) -> Result<()> {
        while let Err(PushError::Full(back)) = self.to.push(message) {
            if self.to.is_abandoned() {
                bail!("the consumer is gone");
            }
            message = back;
            self.polling.pause();
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        loop {
            if let Ok(message) = self.from.pop() {
                return Ok(message);
            }
            if self.from.is_abandoned() && self.from.is_empty() {
                bail!("the producer is gone");
            }
            self.polling.pause();
        }
    }
}
