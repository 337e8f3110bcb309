//! The ring in shared memory: a message is two of its messages.

use std::rc::Rc;

use anyhow::Result;
use ipc_demo::ring::{self, Error, Ring};
use nix::unistd::Pid;

use super::{Ends, HALF_BYTES, MARK, Names, Receiver, Refusal, Sender, check};

const SLOTS: usize = 8; // Few, so that it is soon full.

/// A role is claimed in the process that plays it.
struct Sending(Rc<Ring>, Option<ring::Sender>);
struct Receiving(Rc<Ring>, Option<ring::Receiver>);

impl Sender for Sending {
    fn meet(&mut self, _peer: Pid) -> Result<(), Refusal> {
        self.1 = Some(self.0.sender()?);
        Ok(())
    }

    fn send(&mut self) -> Result<u64, Refusal> {
        let sender = self.1.as_mut().ok_or_else(|| Refusal("no role".to_owned()))?;
        sender.send(&[MARK; HALF_BYTES]).map_err(refusal)?;
        Ok(1)
    }
}

impl Receiver for Receiving {
    fn meet(&mut self, _peer: Pid) -> Result<(), Refusal> {
        self.1 = Some(self.0.receiver()?);
        Ok(())
    }

    fn receive(&mut self) -> Result<u64, Refusal> {
        let receiver = self.1.as_mut().ok_or_else(|| Refusal("no role".to_owned()))?;
        let mut half = [0; HALF_BYTES];
        receiver.receive(&mut half).map_err(refusal)?;
        check(&half)?;
        Ok(1)
    }
}

fn refusal(error: Error) -> Refusal {
    Refusal(format!("{error:?}"))
}

pub fn open(_: &Names) -> Result<Ends> {
    let ring = Rc::new(Ring::new(SLOTS, HALF_BYTES)?);
    Ok(Ends::private(Sending(Rc::clone(&ring), None), Receiving(ring, None)))
}
