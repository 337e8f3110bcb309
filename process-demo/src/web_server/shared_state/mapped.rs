//! How do several processes use one cache in shared memory, with a lock that is in it too?

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::cache::Slot;

/// A cache that a fork shares instead of copying it. If a process dies while it has the lock for writing, the lock stays
/// locked: POSIX has robust mutexes, but no robust read-write locks.
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

const HEAD_BYTES: usize = size_of::<Head>().next_multiple_of(size_of::<Slot>());

impl Mapped {
    pub fn new(slots: usize) -> io::Result<Mapped> {
        let bytes = NonZeroUsize::new(HEAD_BYTES + slots * size_of::<Slot>()).ok_or(Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }?.cast::<Head>();
        let mapped = Mapped { start, slots, bytes };
        let mut kind = MaybeUninit::uninit();
        let done = |code: i32| if code == 0 { Ok(()) } else { Err(Errno::from_raw(code)) };
        // nix has no read-write locks. SAFETY: the attributes are initialized by the first call before the next ones use
        // them, and the lock lies in zeroed memory that nobody else knows yet, aligned as the page is.
        unsafe {
            done(libc::pthread_rwlockattr_init(kind.as_mut_ptr()))?;
            done(libc::pthread_rwlockattr_setpshared(kind.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED))?;
            done(libc::pthread_rwlock_init(mapped.head().lock.get(), kind.as_ptr()))?;
            done(libc::pthread_rwlockattr_destroy(kind.as_mut_ptr()))?;
        }
        Ok(mapped)
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

    pub fn add_one(&self) {
        self.head().count.fetch_add(1, Relaxed); // Only a count: nothing else is published by it.
    }

    pub fn count(&self) -> u64 {
        self.head().count.load(Relaxed)
    }

    fn unlock(&self) {
        // SAFETY: the caller has locked it, in this very thread.
        unsafe { libc::pthread_rwlock_unlock(self.head().lock.get()) };
    }

    fn head(&self) -> &Head {
        // SAFETY: the mapping is as large, zeroed at first, and lives as long as `self`.
        unsafe { self.start.as_ref() }
    }

    fn first(&self) -> *mut Slot {
        self.start.cast::<u8>().as_ptr().wrapping_add(HEAD_BYTES).cast()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the mapping any more; other processes have mappings of their own.
        let _ = unsafe { munmap(self.start.cast(), self.bytes.get()) };
    }
}
