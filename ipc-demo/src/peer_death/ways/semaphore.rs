//! A semaphore in shared memory: it counts, and knows nothing of who counts. nix has no semaphores.

use std::rc::Rc;

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::libc::{self, c_int, sem_t};

use super::{Ends, Names, Receiver, Refusal, Sender, Undo};

/// Memory without a name, with a semaphore in front.
struct Semaphore(Rc<SharedRegion>);

impl Semaphore {
    fn call(&self, function: unsafe extern "C" fn(*mut sem_t) -> c_int) -> nix::Result<()> {
        // SAFETY: the semaphore was initialised before anybody forked, and its memory lives as long as the region; each
        // of the functions that come here may be called at any time by any process that has it mapped.
        Errno::result(unsafe { function(self.0.as_ptr().cast()) }).map(drop)
    }
}

impl Sender for Semaphore {
    fn send(&mut self) -> Result<u64, Refusal> {
        self.call(libc::sem_post)?;
        Ok(1)
    }
}

impl Receiver for Semaphore {
    fn receive(&mut self) -> Result<u64, Refusal> {
        self.call(libc::sem_wait)?;
        Ok(1)
    }
}

pub fn open(_: &Names) -> Result<Ends> {
    const SHARED_BETWEEN_PROCESSES: c_int = 1;
    let region = Rc::new(SharedRegion::new(size_of::<sem_t>())?);
    // SAFETY: the memory is large enough, aligned to a page and used by nobody yet.
    let made = unsafe { libc::sem_init(region.as_ptr().cast(), SHARED_BETWEEN_PROCESSES, 0) };
    Errno::result(made).context("sem_init")?;
    let [sender, receiver, newcomer, last] = [(); 4].map(|()| Semaphore(Rc::clone(&region)));
    // Whoever gets the memory finds what was counted.
    let fetch = move || std::iter::from_fn(|| newcomer.call(libc::sem_trywait).ok()).count() as u64;
    let undo = Undo::by(move || {
        let _ = last.call(libc::sem_destroy); // Nobody waits for it: both sides are gone.
    });
    Ok(Ends { newcomer: Box::new(fetch), undo, ..Ends::private(sender, receiver) })
}
