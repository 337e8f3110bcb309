//! How many are inside at once? A room that counts.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread;

use ipc_demo::shared_region::SharedRegion;

/// A room for threads and for child processes alike: all of it lies in shared memory.
pub struct Room {
    region: SharedRegion,
}

/// Every order here is relaxed: whether two are inside at once is up to the lock, and the room must not help it.
#[repr(C)]
struct Counts {
    inside: AtomicU32,
    most: AtomicU32,
    additions: AtomicU64,
}

impl Room {
    pub fn new() -> io::Result<Room> {
        Ok(Room { region: SharedRegion::new(size_of::<Counts>())? })
    }

    pub fn enter(&self) {
        let inside = self.counts().inside.fetch_add(1, Relaxed) + 1;
        self.counts().most.fetch_max(inside, Relaxed);
    }

    /// Adds one in two steps, as nobody should who is not alone.
    pub fn add(&self) {
        let additions = &self.counts().additions;
        let seen = additions.load(Relaxed);
        thread::yield_now(); // Whoever can get in gets in now.
        additions.store(seen + 1, Relaxed);
    }

    pub fn leave(&self) {
        self.counts().inside.fetch_sub(1, Relaxed);
    }

    pub fn inside(&self) -> u32 {
        self.counts().inside.load(Relaxed)
    }

    /// The most that were ever inside at once.
    pub fn most(&self) -> u32 {
        self.counts().most.load(Relaxed)
    }

    pub fn additions(&self) -> u64 {
        self.counts().additions.load(Relaxed)
    }

    fn counts(&self) -> &Counts {
        // SAFETY: the region is page-aligned, large enough and lives as long as this; zeroed, it is counts.
        unsafe { &*self.region.as_ptr().cast() }
    }
}
