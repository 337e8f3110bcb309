//! A message in shared memory, told by unparking the thread that waits for it; threads only.

use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

use anyhow::Result;

use super::desk::{self, ASKER, Beside, Notice, Place};

pub struct Unpark {
    own: Arc<OnceLock<Thread>>,
    theirs: Arc<OnceLock<Thread>>,
}

pub fn pair() -> Result<(Beside<Unpark>, Beside<Unpark>)> {
    let (asker, peer) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
    desk::pair(|_, side| {
        let (own, theirs) = if side == ASKER { (&asker, &peer) } else { (&peer, &asker) };
        Ok(Unpark { own: Arc::clone(own), theirs: Arc::clone(theirs) })
    })
}

impl Notice for Unpark {
    fn wait(&mut self, place: &Place, number: u32) -> Result<()> {
        self.own.get_or_init(thread::current);
        while !place.has(number) {
            thread::park(); // May return for nothing.
        }
        Ok(())
    }

    fn give(&mut self, _place: &Place, _number: u32) -> Result<()> {
        self.own.get_or_init(thread::current); // The other side needs it to answer.
        self.theirs.wait().unpark(); // Waits for a thread that has only just been started, once.
        Ok(())
    }
}
