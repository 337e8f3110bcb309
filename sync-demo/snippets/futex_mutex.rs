//! A mutex of one futex word: it keeps threads apart, and processes that share its memory.
//!
//! Needs: nix 0.31
//! Runs on: Linux
//! Tests need: nix 0.31 (mman, process)
//! Instead: parking_lot::Mutex between threads of one process; this one is for memory that processes share.
//!
//! What it does not do: recover. It waits for ever if its holder dies, or if a process that waits for it is killed as
//! it is woken. It has no time-out. A caught signal does not end its waits. It does not survive a fork: a child that
//! drops its copy of a guard unlocks for its parent. It is not for signal handlers, not fair, and not poisoned by a
//! panic.
//!
//! Two processes add to one number in memory that both map:
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
//! use nix::sys::wait::waitpid;
//! use nix::unistd::{ForkResult, fork};
//!
//! let length = std::num::NonZeroUsize::new(size_of::<FutexMutex<u64>>()).unwrap();
//! let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
//! // SAFETY: a new mapping, at an address of the kernel's choice, disturbs no other.
//! let place = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) }?.cast::<FutexMutex<u64>>();
//! // SAFETY: the mapping is page-aligned, large enough, seen by nobody yet, and stays to the end.
//! let total = unsafe {
//!     place.write(FutexMutex::new(0));
//!     place.as_ref()
//! };
//! let add = || (0..1000).for_each(|_| *total.lock() += 1);
//! // SAFETY: this process has one thread.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         add();
//!         // SAFETY: it ends the child and runs nothing more.
//!         unsafe { nix::libc::_exit(0) }
//!     }
//!     ForkResult::Parent { child } => {
//!         add();
//!         waitpid(child, None)?;
//!     }
//! }
//! assert_eq!(*total.lock(), 2000);
//! # Ok::<(), nix::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

use nix::libc;

/// A value that one thread at a time may use, of whichever process.
///
/// The three states are those of `mutex2` in U. Drepper, "Futexes are tricky" (2011); see futex(2) as well. Between
/// processes: one writes a new mutex to memory that all map `MAP_SHARED`, and then each makes a reference of its
/// pointer. The value must mean the same in all of them: no pointer, no reference, no descriptor. A holder that panics
/// unlocks as it unwinds; one that is killed leaves it locked forever.
#[repr(C)]
#[derive(Debug)]
pub struct FutexMutex<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

const FREE: u32 = 0;
const HELD: u32 = 1; // And nobody waits: to unlock takes no system call.
const AWAITED: u32 = 2; // Held, and there may be waiters.

// SAFETY: the value is reached through a guard alone, and there is one guard at a time.
unsafe impl<T: Send> Sync for FutexMutex<T> {}

/// The right to use the value; dropping it unlocks.
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct Guard<'a, T> {
    mutex: &'a FutexMutex<T>,
}

// SAFETY: a shared guard gives shared references to the value, and no more.
unsafe impl<T: Sync> Sync for Guard<'_, T> {}

impl<T> FutexMutex<T> {
    /// A free mutex around `value`.
    pub fn new(value: T) -> FutexMutex<T> {
        FutexMutex { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Locks; sleeps in the kernel while another holds it. To lock it twice in one thread waits forever.
    pub fn lock(&self) -> Guard<'_, T> {
        if let Some(guard) = self.try_lock() {
            return guard;
        }
        // Who once waited takes it as AWAITED: others may still wait, and one wake-up too many is harmless.
        while self.state.swap(AWAITED, Acquire) != FREE {
            futex_wait(&self.state, AWAITED);
        }
        Guard { mutex: self } // The swap read FREE: it sees what the last holder wrote.
    }

    /// Locks if nobody holds it now.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        // Acquire sees what the last holder wrote; a failure sees nothing.
        self.state.compare_exchange(FREE, HELD, Acquire, Relaxed).ok()?;
        Some(Guard { mutex: self })
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        let before = self.mutex.state.swap(FREE, Release); // Publishes the value to the next holder.
        if before == AWAITED {
            futex_wake_one(&self.mutex.state);
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard holds the lock: nobody else has a reference.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard holds the lock and is borrowed alone.
        unsafe { &mut *self.mutex.value.get() }
    }
}

/// Sleeps while the word is as expected, until it is woken; may return early, so the caller looks again.
fn futex_wait(word: &AtomicU32, expected: u32) {
    let no_limit = ptr::null::<libc::timespec>();
    // nix has no futex. Without FUTEX_PRIVATE_FLAG the kernel finds the waiters of other processes too.
    // SAFETY: the word outlives the call, and the kernel only reads it.
    unsafe { libc::syscall(libc::SYS_futex, ptr::from_ref(word), libc::FUTEX_WAIT, expected, no_limit) };
    // Its errors are no errors here: EAGAIN says that the word had changed, EINTR that a signal came.
}

/// Wakes one that sleeps on the word, if there is one.
fn futex_wake_one(word: &AtomicU32) {
    let unused = ptr::null::<libc::timespec>();
    // nix has no futex. Another may hold the lock again by now: the kernel takes the address as a mere name.
    // SAFETY: a wake-up reads and writes none of our memory.
    unsafe { libc::syscall(libc::SYS_futex, ptr::from_ref(word), libc::FUTEX_WAKE, 1_u32, unused) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn while_one_holds_it_no_other_gets_it() {
        let mutex = FutexMutex::new(());
        let guard = mutex.lock();
        thread::scope(|s| assert!(s.spawn(|| mutex.try_lock().is_none()).join().unwrap()));
        drop(guard);
        assert!(mutex.try_lock().is_some());
    }

    #[test]
    fn additions_in_two_steps_are_exact_under_it() {
        let total = FutexMutex::new(0);
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..500 {
                        let mut total = total.lock();
                        let seen = *total;
                        thread::yield_now(); // Whoever could get in would get in now.
                        *total = seen + 1;
                    }
                });
            }
        });
        assert_eq!(*total.lock(), 2000);
    }

    #[test]
    fn a_holder_that_panics_unlocks() {
        let mutex = FutexMutex::new(());
        let holder = thread::scope(|s| {
            let panics = || {
                let _guard = mutex.lock();
                std::panic::resume_unwind(Box::new("on purpose"));
            };
            s.spawn(panics).join()
        });
        assert!(holder.is_err() && mutex.try_lock().is_some());
    }
}
