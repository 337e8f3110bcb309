//! A message in shared memory, told by an unnamed semaphore that lies beside it.

use std::sync::Arc;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::{self, sem_t};
use nix::unistd::{Pid, getpid};

use super::desk::{self, ASKER, Beside, Desk, Notice, PEER, Place};

/// Keeps the semaphores alive until the last end of this process is gone.
pub struct Semaphores {
    _both: Arc<Both>,
}

struct Both {
    desk: Desk,
    made_by: Pid,
}

pub fn pair() -> Result<(Beside<Semaphores>, Beside<Semaphores>)> {
    let mut both = None;
    desk::pair(|desk, _| {
        if both.is_none() {
            both = Some(Arc::new(Both::new(desk)?));
        }
        Ok(Semaphores { _both: Arc::clone(both.as_ref().context("made above")?) })
    })
}

impl Both {
    fn new(desk: &Desk) -> Result<Both> {
        const BETWEEN_PROCESSES: libc::c_int = 1;
        for place in all(desk) {
            // nix has no unnamed semaphores.
            // SAFETY: there is room for a semaphore, and nobody else has this memory yet.
            Errno::result(unsafe { libc::sem_init(semaphore(place), BETWEEN_PROCESSES, 0) }).context("a semaphore")?;
        }
        Ok(Both { desk: desk.clone(), made_by: getpid() })
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        // A forked peer has a copy of this; its end must not destroy what the asker still uses.
        if getpid() == self.made_by {
            for place in all(&self.desk) {
                // SAFETY: it was made by `new`, and the last of this process's ends is gone; a peer process has ended.
                unsafe { libc::sem_destroy(semaphore(place)) };
            }
        }
    }
}

impl Notice for Semaphores {
    fn wait(&mut self, place: &Place, _number: u32) -> Result<()> {
        loop {
            // SAFETY: `pair` has made the semaphore, and it lives as long as this.
            match Errno::result(unsafe { libc::sem_wait(semaphore(place)) }) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("waiting for a semaphore"),
            }
        }
    }

    fn give(&mut self, place: &Place, _number: u32) -> Result<()> {
        // SAFETY: as above.
        Errno::result(unsafe { libc::sem_post(semaphore(place)) }).context("posting a semaphore")?;
        Ok(())
    }
}

fn all(desk: &Desk) -> impl Iterator<Item = &Place> {
    [ASKER, PEER].into_iter().flat_map(|side| desk.places(side))
}

fn semaphore(place: &Place) -> *mut sem_t {
    place.semaphore.get().cast()
}
