//! A message by a variable under a mutex, told by a condition variable; threads only.

use std::sync::{Arc, Condvar, Mutex};

use anyhow::{Context, Result};

use super::exchange::End;
use super::message::Message;

pub struct CondvarEnd {
    to: Arc<Monitor>,
    from: Arc<Monitor>,
}

#[derive(Default)]
struct Monitor {
    message: Mutex<Option<Message>>,
    arrived: Condvar,
}

pub fn pair() -> (CondvarEnd, CondvarEnd) {
    let (there, back) = (Arc::new(Monitor::default()), Arc::new(Monitor::default()));
    (CondvarEnd { to: Arc::clone(&there), from: Arc::clone(&back) }, CondvarEnd { to: back, from: there })
}

impl End for CondvarEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        *self.to.message.lock().unwrap() = Some(message);
        self.to.arrived.notify_one(); // After the unlock: who is woken need not wait for the mutex.
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        let message = self.from.message.lock().unwrap();
        let mut message = self.from.arrived.wait_while(message, |message| message.is_none()).unwrap();
        message.take().context("there is one: it was waited for")
    }
}
