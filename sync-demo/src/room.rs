//! How many are inside at once? A room that counts, and in which visitors can be made to stay.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread;

use ipc_demo::shared_region::SharedRegion;
use sync_demo::posix_semaphore::PosixSemaphore;

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
    arrived: PosixSemaphore,
    leave: PosixSemaphore,
}

impl Room {
    pub fn new() -> io::Result<Room> {
        let region = SharedRegion::new(size_of::<Counts>())?;
        let counts = region.as_ptr().cast::<Counts>();
        // SAFETY: the region is page-aligned, large enough, seen by nobody else yet, and lives as long as the room.
        unsafe {
            PosixSemaphore::init(&raw mut (*counts).arrived, 0)?;
            PosixSemaphore::init(&raw mut (*counts).leave, 0)?;
        }
        Ok(Room { region })
    }

    /// Adds one in two steps, as nobody should who is not alone.
    pub fn visit(&self) {
        self.enter();
        let additions = &self.counts().additions;
        let seen = additions.load(Relaxed);
        thread::yield_now(); // Whoever can get in gets in now.
        additions.store(seen + 1, Relaxed);
        self.leave();
    }

    /// Stays inside until `let_go`.
    pub fn stay(&self) {
        self.enter();
        let told = self.counts().arrived.post().and_then(|()| self.counts().leave.wait());
        told.expect("the room's own semaphores are in order");
        self.leave();
    }

    /// Waits until so many more have come to stay.
    pub fn await_arrivals(&self, count: u32) -> io::Result<()> {
        (0..count).try_for_each(|_| self.counts().arrived.wait())
    }

    /// Lets so many leave, those that have not arrived yet among them.
    pub fn let_go(&self, count: u32) -> io::Result<()> {
        (0..count).try_for_each(|_| self.counts().leave.post())
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

    fn enter(&self) {
        let inside = self.counts().inside.fetch_add(1, Relaxed) + 1;
        self.counts().most.fetch_max(inside, Relaxed);
    }

    fn leave(&self) {
        self.counts().inside.fetch_sub(1, Relaxed);
    }

    fn counts(&self) -> &Counts {
        // SAFETY: `new` has made the semaphores, the zeroed rest is atomic counts, and the region lives as long as
        // this.
        unsafe { &*self.region.as_ptr().cast() }
    }
}
