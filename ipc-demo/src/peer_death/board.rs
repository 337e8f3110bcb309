//! What do both sides count, so that it outlives whoever is killed?

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use ipc_demo::shared_region::SharedRegion;
use nix::unistd::Pid;

/// Counters in memory that this process and both sides map.
pub struct Board {
    region: SharedRegion,
}

#[derive(Clone, Copy)]
pub enum Side {
    Victim,
    Survivor,
}

#[repr(C)]
struct Counters {
    accepted: AtomicU64,
    received: AtomicU64,
    begun: [AtomicU64; 2],
    victim: AtomicU64,
    survivor: AtomicU64,
}

impl Board {
    pub const BYTES: usize = size_of::<Counters>();

    pub fn of(region: SharedRegion) -> Board {
        Board { region }
    }

    fn counters(&self) -> &Counters {
        // SAFETY: the region is large enough, zeroed, aligned to a page and lives as long; all zeros are counters.
        unsafe { &*self.region.as_ptr().cast() }
    }

    /// Tells each side who the other is; both still wait at their gates.
    pub fn introduce(&self, victim: Pid, survivor: Pid) {
        self.counters().victim.store(victim.as_raw() as u64, Relaxed); // The gate's pipe orders it.
        self.counters().survivor.store(survivor.as_raw() as u64, Relaxed);
    }

    pub fn victim(&self) -> Pid {
        Pid::from_raw(self.counters().victim.load(Relaxed) as i32)
    }

    pub fn survivor(&self) -> Pid {
        Pid::from_raw(self.counters().survivor.load(Relaxed) as i32)
    }

    pub fn accept(&self, taken: u64) {
        self.counters().accepted.fetch_add(taken, Relaxed);
    }

    pub fn receive(&self, taken: u64) {
        self.counters().received.fetch_add(taken, Relaxed);
    }

    /// From here on that side waits for nothing but its mechanism.
    pub fn begin(&self, side: Side) {
        self.counters().begun[side as usize].store(1, Release); // Who reads it knows that the gate lies behind.
    }

    pub fn has_begun(&self, side: Side) -> bool {
        self.counters().begun[side as usize].load(Acquire) == 1
    }

    /// What the writer got rid of, and what the reader took.
    pub fn counted(&self) -> (u64, u64) {
        (self.counters().accepted.load(Relaxed), self.counters().received.load(Relaxed))
    }
}
