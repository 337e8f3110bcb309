//! A counter in memory that several processes share.
//!
//! Needs: std
//! Runs on: anything with threads
//! Tests need: nix 0.31 (mman, process)
//! Instead: std::sync::atomic::AtomicU64 (from_ptr) itself; this one puts the bug beside the fix.
//!
//! An atomic works between processes as between threads: the processor knows addresses in memory, not who maps them.
//! And so does its misuse: a load and a separate store lose additions there too.
//!
//! What it does not do: map memory, or publish anything but the number: its orderings are Relaxed. It does not notice
//! that the other side has died: what that had added stays.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
//! use nix::sys::wait::waitpid;
//! use nix::unistd::{ForkResult, fork};
//!
//! let page = std::num::NonZeroUsize::new(4096).unwrap();
//! let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
//! // SAFETY: the kernel chooses a free address, so no memory in use is replaced.
//! let memory = unsafe { mmap_anonymous(None, page, access, MapFlags::MAP_SHARED) }?;
//! // SAFETY: the page is zeroed, aligned, mapped until the munmap below, and used as a counter only.
//! let counter = unsafe { SharedCounter::at(memory.as_ptr().cast()) };
//! // SAFETY: this process has one thread, and the child only adds and exits.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         (0..1000).for_each(|_| counter.add());
//!         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
//!         unsafe { nix::libc::_exit(0) }
//!     }
//!     ForkResult::Parent { child } => {
//!         (0..1000).for_each(|_| counter.add());
//!         waitpid(child, None)?;
//!     }
//! }
//! assert_eq!(counter.total(), 2000); // The child's end, seen by waitpid, orders its additions before this load.
//! // SAFETY: exactly what was mapped; the counter is not used again.
//! unsafe { munmap(memory, 4096) }?;
//! # Ok::<(), nix::errno::Errno>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that lies in memory of the caller's choice, shared or not. All of its bytes are the number.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct SharedCounter {
    total: AtomicU64,
}

impl SharedCounter {
    /// A counter of zero, to be placed into memory; memory that is all zero is one already.
    pub const fn new() -> SharedCounter {
        SharedCounter { total: AtomicU64::new(0) }
    }

    /// The counter that lies at this address.
    ///
    /// # Safety
    /// For as long as the reference is used, the address is that of 8 mapped, readable and writable bytes, aligned to
    /// 8, that all threads and processes reach by atomic accesses of 8 bytes only, as this type's methods do.
    ///
    /// # Panics
    /// When the address is not aligned.
    pub unsafe fn at<'a>(memory: *mut u8) -> &'a SharedCounter {
        let counter = memory.cast::<SharedCounter>();
        assert!(counter.is_aligned(), "a shared counter lies at a multiple of its alignment");
        // SAFETY: aligned as just checked, mapped and atomically accessed as the caller promises; any bytes are a number.
        unsafe { &*counter }
    }

    /// The bug: adds one by a load and a separate store, and does something else in between.
    pub fn add_in_two_steps(&self, meanwhile: impl FnOnce()) {
        let seen = self.total.load(Relaxed);
        meanwhile();
        self.total.store(seen.wrapping_add(1), Relaxed);
    }

    /// The fix: adds one in one indivisible step; wraps around at the end. Relaxed, for it publishes nothing but itself.
    pub fn add(&self) {
        self.total.fetch_add(1, Relaxed);
    }

    /// The number as it is now; other processes may be adding.
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Sets the number; additions made meanwhile by others are before it or after it.
    pub fn set(&self, total: u64) {
        self.total.store(total, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_in_the_middle_of_two_steps_is_lost() {
        let counter = SharedCounter::new();
        counter.add_in_two_steps(|| counter.add());
        assert_eq!(counter.total(), 1);
        counter.add_in_two_steps(|| ());
        assert_eq!(counter.total(), 2);
    }

    #[test]
    fn zeroed_memory_is_a_counter_of_zero() {
        let mut memory = [0u64; 2];
        // SAFETY: eight aligned bytes of a local array, used as a counter only while the reference lives.
        let counter = unsafe { SharedCounter::at(memory.as_mut_ptr().cast()) };
        assert_eq!(counter.total(), 0);
        counter.add();
        assert_eq!(counter.total(), 1);
        assert_eq!(memory, [1, 0]);
    }

    #[test]
    #[should_panic(expected = "multiple of its alignment")]
    fn an_address_that_is_not_aligned_is_refused() {
        let mut memory = [0u64; 2];
        // SAFETY: it panics before it makes a reference.
        unsafe { SharedCounter::at(memory.as_mut_ptr().cast::<u8>().wrapping_add(1)) };
    }

    #[test]
    fn one_indivisible_step_loses_nothing() {
        let counter = SharedCounter::new();
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..10_000).for_each(|_| counter.add()));
            }
        });
        assert_eq!(counter.total(), 40_000);
    }
}
