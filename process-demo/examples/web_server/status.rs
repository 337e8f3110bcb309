//! What does the server say about itself?
//!
//! The counters lie in memory that all workers share, be they threads or processes: each counts in a slot of its own,
//! and whoever is asked for `/status` adds them up.

use std::fmt::Write;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use nix::libc::c_void;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::unistd::{Pid, getpid, gettid};
use process_demo::connections::Counters;

/// What one worker counts. Each number stands for itself, so none publishes anything else: all are relaxed.
#[repr(C, align(128))] // Two lines of a cache: no worker takes another's away.
pub struct Slot {
    pid: AtomicI32,
    thread: AtomicI32,
    restarts: AtomicU64,
    pub requests: AtomicU64,
    pub connections: Counters,
    /// At the stop, because they took too long.
    pub cut_off: AtomicU64,
}

impl Slot {
    /// The calling thread is this worker from now on.
    pub fn begin(&self) {
        self.begin_as(getpid(), gettid());
    }

    /// That process's main thread is this worker from now on.
    pub fn begin_in(&self, child: Pid) {
        self.begin_as(child, child);
    }

    fn begin_as(&self, process: Pid, thread: Pid) {
        self.pid.store(process.as_raw(), Relaxed);
        self.thread.store(thread.as_raw(), Relaxed);
    }

    /// What it had open is closed, and another one takes its place.
    pub fn died(&self) {
        self.begin_as(NOBODY, NOBODY);
        self.restarts.fetch_add(1, Relaxed);
        self.connections.open.store(0, Relaxed);
    }
}

const NOBODY: Pid = Pid::from_raw(0);

/// The slots of all workers, and what does not change.
pub struct Status {
    model: String,
    since: Instant,
    slots: NonNull<Slot>,
    workers: NonZeroUsize,
}

// SAFETY: the slots are mapped as long as the value lives, and consist of atomics alone.
unsafe impl Sync for Status {}

impl Status {
    /// Made before the workers start: threads share it, and so do forked processes.
    pub fn new(model: String, workers: NonZeroUsize) -> io::Result<Status> {
        let (access, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, bytes_of(workers), access, flags) }?;
        Ok(Status { model, since: Instant::now(), slots: start.cast(), workers })
    }

    pub fn slots(&self) -> &[Slot] {
        // SAFETY: so many were mapped, page-aligned, and all zeros are a valid slot.
        unsafe { slice::from_raw_parts(self.slots.as_ptr(), self.workers.get()) }
    }

    /// Over all workers.
    pub fn cut_off(&self) -> u64 {
        self.slots().iter().map(|slot| slot.cut_off.load(Relaxed)).sum()
    }

    /// For people, and for programs that read `key: value`.
    pub fn text(&self) -> String {
        let sum = |of: fn(&Slot) -> &AtomicU64| self.slots().iter().map(|slot| of(slot).load(Relaxed)).sum::<u64>();
        let mut text = format!(
            "model: {}\nuptime_s: {}\nrequests: {}\nconnections: {}\naccepted: {}\nrefused: {}\ntimed_out: {}\n\
             restarts: {}\n",
            self.model,
            self.since.elapsed().as_secs(),
            sum(|slot| &slot.requests),
            sum(|slot| &slot.connections.open),
            sum(|slot| &slot.connections.accepted),
            sum(|slot| &slot.connections.refused),
            sum(|slot| &slot.connections.timed_out),
            sum(|slot| &slot.restarts),
        );
        for (number, slot) in self.slots().iter().enumerate() {
            // A write to a string cannot fail.
            let _ = writeln!(
                text,
                "worker {number}: pid {} thread {} requests {} connections {} accepted {} restarts {}",
                slot.pid.load(Relaxed),
                slot.thread.load(Relaxed),
                slot.requests.load(Relaxed),
                slot.connections.open.load(Relaxed),
                slot.connections.accepted.load(Relaxed),
                slot.restarts.load(Relaxed),
            );
        }
        text
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        // SAFETY: nothing borrows a slot any more, and nobody else unmaps them in this process.
        let _ = unsafe { munmap(self.slots.cast::<c_void>(), bytes_of(self.workers).get()) };
    }
}

fn bytes_of(workers: NonZeroUsize) -> NonZeroUsize {
    workers.saturating_mul(const { NonZeroUsize::new(size_of::<Slot>()).unwrap() })
}
