//! What all workers look up: values of one KiB by key, in a block of slots that two of the keepers have in memory of their
//! own, and one in memory that processes share, under a lock that is in it too.

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

/// The value of this key, if it is there.
pub fn find(slots: &[Slot], key: u64) -> Option<&Slot> {
    Some(&slots[place(slots, key)]).filter(|slot| slot[0] == key)
}

/// Makes the value anew, as from a database, in place of whatever has its slot.
pub fn put(slots: &mut [Slot], key: u64) -> &Slot {
    let slot = &mut slots[place(slots, key)];
    *slot = std::array::from_fn(|index| if index == 0 { key } else { mixed(key + index as u64) });
    slot[WORDS - 1] = sum(slot);
    slot
}

/// The value of this key, and whether it was there already.
pub fn find_or_put(slots: &mut [Slot], key: u64) -> (bool, &Slot) {
    let was_there = find(slots, key).is_some();
    (was_there, if was_there { &slots[place(slots, key)] } else { put(slots, key) })
}

/// Reads the whole value: one that somebody else changed meanwhile would not add up.
pub fn is_right(slot: &Slot, key: u64) -> bool {
    slot[0] == key && slot[1] == mixed(key + 1) && slot[WORDS - 1] == sum(slot)
}

fn sum(slot: &Slot) -> u64 {
    slot[..WORDS - 1].iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

fn place(slots: &[Slot], key: u64) -> usize {
    (mixed(key) % slots.len() as u64) as usize
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

/// Slots and a counter that a fork shares instead of copying them. If a process dies while it has the lock for writing, the
/// lock stays locked: POSIX has robust mutexes, but no robust read-write locks.
pub struct Mapped {
    start: NonNull<Head>,
    slots: usize,
    bytes: NonZeroUsize,
}

#[repr(C)]
struct Head {
    lock: UnsafeCell<libc::pthread_rwlock_t>,
    count: AtomicU64,
}

impl Mapped {
    pub fn new(slots: usize) -> io::Result<Mapped> {
        let bytes = NonZeroUsize::new((1 + slots) * size_of::<Slot>()).ok_or(Errno::EINVAL)?; // The head has a slot's place.
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }?.cast::<Head>();
        let mapped = Mapped { start, slots, bytes };
        let mut kind = MaybeUninit::uninit();
        // nix has no read-write locks. SAFETY: the attributes are initialized by the first call before the next ones use
        // them, and the lock lies in zeroed memory that nobody else knows yet, aligned as the page is.
        let codes = unsafe {
            [
                libc::pthread_rwlockattr_init(kind.as_mut_ptr()),
                libc::pthread_rwlockattr_setpshared(kind.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_rwlock_init(mapped.head().lock.get(), kind.as_ptr()),
                libc::pthread_rwlockattr_destroy(kind.as_mut_ptr()),
            ]
        };
        match codes.into_iter().find(|code| *code != 0) {
            Some(code) => Err(Errno::from_raw(code).into()),
            None => Ok(mapped),
        }
    }

    pub fn read<T>(&self, look: impl FnOnce(&[Slot]) -> T) -> T {
        // SAFETY: the lock was initialized by `new`.
        let code = unsafe { libc::pthread_rwlock_rdlock(self.head().lock.get()) };
        assert_eq!(code, 0, "locking for reading");
        // SAFETY: all slots lie in the mapping, zeroed or written whole, and nobody writes while this has the lock.
        let result = look(unsafe { slice::from_raw_parts(self.first(), self.slots) });
        self.unlock();
        result
    }

    pub fn write<T>(&self, change: impl FnOnce(&mut [Slot]) -> T) -> T {
        // SAFETY: the lock was initialized by `new`.
        let code = unsafe { libc::pthread_rwlock_wrlock(self.head().lock.get()) };
        assert_eq!(code, 0, "locking for writing");
        // SAFETY: all slots lie in the mapping, and nobody else reads or writes while this has the lock.
        let result = change(unsafe { slice::from_raw_parts_mut(self.first(), self.slots) });
        self.unlock();
        result
    }

    fn unlock(&self) {
        // SAFETY: the caller has locked it, in this very thread.
        unsafe { libc::pthread_rwlock_unlock(self.head().lock.get()) };
    }

    pub fn count(&self) -> &AtomicU64 {
        &self.head().count
    }

    fn head(&self) -> &Head {
        // SAFETY: the mapping is as large, zeroed at first, and lives as long as `self`.
        unsafe { self.start.as_ref() }
    }

    fn first(&self) -> *mut Slot {
        self.start.cast::<Slot>().as_ptr().wrapping_add(1)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the mapping any more; other processes have mappings of their own.
        let _ = unsafe { munmap(self.start.cast(), self.bytes.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_whole_or_not_at_all() {
        let mut slots = vec![EMPTY; 8];
        assert!(find(&slots, 5).is_none());
        assert!(is_right(put(&mut slots, 5), 5));
        assert!(find(&slots, 5).is_some_and(|slot| is_right(slot, 5)));
        let at = place(&slots, 5);
        slots[at][60] ^= 1;
        assert!(!is_right(&slots[at], 5));
    }
}
