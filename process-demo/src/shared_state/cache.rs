//! What do all workers look up? Values of one KiB by key, in slots that lie under a lock in memory that a fork copies or shares.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::server::answer::mixed;

/// The key, words that follow from it, and their sum. Zeroed memory is an empty slot: no key is zero.
pub type Slot = [u64; WORDS];
pub const WORDS: usize = 128; // One KiB.
pub const EMPTY: Slot = [0; WORDS];

/// The value of this key, and whether it was there already; else it is made anew, as from a database, in place of whatever
/// has its slot.
pub fn find_or_put(slots: &mut [Slot], key: u64) -> (bool, &Slot) {
    let place = (mixed(key) % slots.len() as u64) as usize;
    let slot = &mut slots[place];
    let was_there = slot[0] == key;
    if !was_there {
        *slot = std::array::from_fn(|index| if index == 0 { key } else { mixed(key + index as u64) });
        slot[WORDS - 1] = sum(slot);
    }
    (was_there, slot)
}

/// Reads the whole value: one that somebody else changed meanwhile would not add up.
pub fn is_right(slot: &Slot, key: u64) -> bool {
    slot[0] == key && slot[1] == mixed(key + 1) && slot[WORDS - 1] == sum(slot)
}

fn sum(slot: &Slot) -> u64 {
    slot[..WORDS - 1].iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

/// The keys that one worker is asked for: the same ones at every run, twice as many as there are slots, and some far more
/// often than others (half of the requests want an eighth of the keys).
pub fn keys(worker: usize, slots: usize, how_many: u64) -> impl Iterator<Item = u64> {
    let different = 2.0 * slots as f64;
    (0..how_many).map(move |number| {
        let lot = mixed(number + ((worker as u64 + 1) << 40)) as f64 / u64::MAX as f64;
        1 + (different * lot.powi(3)) as u64
    })
}

/// Slots and a counter, under a lock that lies beside them: in memory that a fork copies (`MAP_PRIVATE`), or that it shares
/// (`MAP_SHARED`).
pub struct Cache {
    start: NonNull<Head>,
    slots: usize,
    bytes: NonZeroUsize,
}

#[repr(C)]
struct Head {
    lock: UnsafeCell<libc::pthread_mutex_t>,
    count: AtomicU64,
}

// SAFETY: the slots are reached under the lock alone, which any thread may take, and the counter is atomic.
unsafe impl Sync for Cache {}

impl Cache {
    pub fn mapped(slots: usize, flags: MapFlags) -> io::Result<Cache> {
        let bytes = NonZeroUsize::new((1 + slots) * size_of::<Slot>()).ok_or(Errno::EINVAL)?; // The head has a slot's place.
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, bytes, access, flags) }?.cast::<Head>();
        let cache = Cache { start, slots, bytes };
        let mut kind = MaybeUninit::uninit();
        // nix has no such locks. Whoever dies with a robust one does not lock it for ever: the next one is told.
        // SAFETY: the attributes are initialized by the first call before the next ones use them, and the lock lies in
        // zeroed memory that nobody else knows yet, aligned as the page is.
        let codes = unsafe {
            [
                libc::pthread_mutexattr_init(kind.as_mut_ptr()),
                libc::pthread_mutexattr_setpshared(kind.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_mutexattr_setrobust(kind.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST),
                libc::pthread_mutex_init(cache.head().lock.get(), kind.as_ptr()),
                libc::pthread_mutexattr_destroy(kind.as_mut_ptr()),
            ]
        };
        match codes.into_iter().find(|code| *code != 0) {
            Some(code) => Err(Errno::from_raw(code).into()),
            None => Ok(cache),
        }
    }

    /// # Panics
    /// If another one has died with the lock: the slots may be half written.
    pub fn locked<T>(&self, work: impl FnOnce(&mut [Slot]) -> T) -> T {
        // SAFETY: the lock was initialized before anybody had this.
        let code = unsafe { libc::pthread_mutex_lock(self.head().lock.get()) };
        assert_eq!(code, 0, "locking a cache");
        let first = self.start.cast::<Slot>().as_ptr().wrapping_add(1);
        // SAFETY: all slots lie in the mapping, zeroed or written, and nobody else reads or writes while this has the lock.
        let result = work(unsafe { slice::from_raw_parts_mut(first, self.slots) });
        // SAFETY: this thread has locked it.
        unsafe { libc::pthread_mutex_unlock(self.head().lock.get()) };
        result
    }

    pub fn count(&self) -> &AtomicU64 {
        &self.head().count
    }

    fn head(&self) -> &Head {
        // SAFETY: the mapping is as large, zeroed at first, and lives as long as `self`.
        unsafe { self.start.as_ref() }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the mapping any more; other processes have mappings of their own.
        let _ = unsafe { munmap(self.start.cast(), self.bytes.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_again_until_another_has_its_slot() {
        let mut slots = [EMPTY; 1];
        for (key, was_there) in [(5, false), (5, true), (6, false), (5, false)] {
            let (found, slot) = find_or_put(&mut slots, key);
            assert!(found == was_there && is_right(slot, key) && !is_right(slot, key + 1));
        }
        slots[0][60] ^= 1;
        assert!(!is_right(&slots[0], 5));
    }
}
