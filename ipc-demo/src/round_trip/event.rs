//! A message in shared memory, told by an eventfd, which carries no more than a count.

use std::sync::Arc;

use anyhow::{Result, ensure};
use ipc_demo::event::Event;

use super::desk::{self, ASKER, Beside, Notice, Place};

pub struct Events {
    own: Arc<Event>,
    theirs: Arc<Event>,
}

pub fn pair() -> Result<(Beside<Events>, Beside<Events>)> {
    let (askers, peers) = (Arc::new(Event::counter()?), Arc::new(Event::counter()?));
    desk::pair(|_, side| {
        let (own, theirs) = if side == ASKER { (&askers, &peers) } else { (&peers, &askers) };
        Ok(Events { own: Arc::clone(own), theirs: Arc::clone(theirs) })
    })
}

impl Notice for Events {
    fn wait(&mut self, _place: &Place, _number: u32) -> Result<()> {
        let count = self.own.wait()?;
        ensure!(count == 1, "told {count} times of one message");
        Ok(())
    }

    fn give(&mut self, _place: &Place, _number: u32) -> Result<()> {
        Ok(self.theirs.add(1)?)
    }
}
