//! A pthread mutex that lies in shared memory and keeps processes apart.
//!
//! Needs: nix 0.31
//! Runs on: Linux
//! Tests need: nix 0.31 (mman, process)
//! Instead: parking_lot::Mutex between threads of one process; this one is for memory that processes share.
//!
//! What it does not do: recover. It waits for ever if its holder dies, or if a process that waits for it is killed as
//! it is woken (glibc). It has no time-out. A caught signal does not end its waits. It does not survive a fork: a child
//! that drops its copy of a guard unlocks for its parent. It is not for signal handlers, not fair, and not poisoned by
//! a panic.
//!
//! Two processes add to one number in memory that both map:
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
//! use nix::sys::wait::waitpid;
//! use nix::unistd::{ForkResult, fork};
//!
//! let length = std::num::NonZeroUsize::new(size_of::<ProcessMutex<u64>>()).unwrap();
//! let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
//! // SAFETY: a new mapping, at an address of the kernel's choice, disturbs no other.
//! let place = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) }?.cast::<ProcessMutex<u64>>();
//! // SAFETY: the mapping is page-aligned, large enough, seen by nobody yet, and stays to the end.
//! let total = unsafe { ProcessMutex::init(place.as_ptr(), 0) }?;
//! let add = || (0..1000).for_each(|_| *total.lock().unwrap() += 1);
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
//! assert_eq!(*total.lock()?, 2000);
//! // SAFETY: the child has ended, and nothing locks it any more.
//! unsafe { total.destroy() }?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::cell::UnsafeCell;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use nix::libc;

/// A value that one thread at a time may use, of whichever process that maps it.
///
/// See pthread_mutexattr_setpshared(3) and pthread_mutex_lock(3); nix has none of these calls, so they go through its
/// libc. A holder that panics unlocks as it unwinds; one that is killed leaves it locked forever.
#[repr(C)]
#[derive(Debug)]
pub struct ProcessMutex<T> {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a guard alone, there is one guard at a time, and any thread may lock.
unsafe impl<T: Send> Sync for ProcessMutex<T> {}

/// The right to use the value; dropping it unlocks. It stays in its thread: pthreads let only the locker unlock.
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct Guard<'a, T> {
    mutex: &'a ProcessMutex<T>,
    stays_in_its_thread: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared references to the value, and no more.
unsafe impl<T: Sync> Sync for Guard<'_, T> {}

impl<T> ProcessMutex<T> {
    /// Makes a free mutex around `value` at `place`; other processes that map the memory make a reference of their
    /// pointer.
    ///
    /// Fails if the system has no process-shared mutexes; the place then holds nothing.
    ///
    /// # Safety
    /// The place is aligned, writable, of `size_of::<ProcessMutex<T>>()` bytes, and nobody uses it during the call. It
    /// stays mapped, and is written to by this type alone, for as long as `'a`. The value means the same in every
    /// process that maps it: no pointer, no reference, no descriptor.
    pub unsafe fn init<'a>(place: *mut ProcessMutex<T>, value: T) -> io::Result<&'a ProcessMutex<T>> {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are initialised first and destroyed last; the caller vouches for the place.
        unsafe {
            check_code(libc::pthread_mutexattr_init(attributes))?;
            let made = check_code(libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED))
                // To lock it twice in one thread is undefined for the default type; it waits forever for this one.
                .and_then(|()| check_code(libc::pthread_mutexattr_settype(attributes, libc::PTHREAD_MUTEX_NORMAL)))
                .and_then(|()| check_code(libc::pthread_mutex_init((&raw mut (*place).mutex).cast(), attributes)));
            check_code(libc::pthread_mutexattr_destroy(attributes))?;
            made?;
            (&raw mut (*place).value).write(UnsafeCell::new(value));
            Ok(&*place)
        }
    }

    /// Locks; sleeps in the kernel while another holds it. To lock it twice in one thread waits forever.
    ///
    /// Fails only if the memory no longer holds a mutex.
    pub fn lock(&self) -> io::Result<Guard<'_, T>> {
        // SAFETY: `init` made the mutex, and it has not moved since: it is only ever used by reference.
        check_code(unsafe { libc::pthread_mutex_lock(self.mutex.get()) })?;
        Ok(Guard { mutex: self, stays_in_its_thread: PhantomData })
    }

    /// Locks if nobody holds it now; none if somebody does.
    ///
    /// Fails only if the memory no longer holds a mutex.
    pub fn try_lock(&self) -> io::Result<Option<Guard<'_, T>>> {
        // SAFETY: as in `lock`.
        match unsafe { libc::pthread_mutex_trylock(self.mutex.get()) } {
            libc::EBUSY => Ok(None),
            code => check_code(code).map(|()| Some(Guard { mutex: self, stays_in_its_thread: PhantomData })),
        }
    }

    /// Ends the mutex: its memory may then serve another purpose. The value is not dropped.
    ///
    /// With glibc it fails with EBUSY if somebody holds it; POSIX leaves that open, and other libraries end it all the
    /// same.
    ///
    /// # Safety
    /// Nobody, in any process, uses the mutex during the call or after its success, unless it is made anew; nor does
    /// anybody hold it, unless the library is glibc.
    pub unsafe fn destroy(&self) -> io::Result<()> {
        // SAFETY: `init` made the mutex; the caller vouches that nobody else uses it.
        check_code(unsafe { libc::pthread_mutex_destroy(self.mutex.get()) })
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this thread locked the mutex: the guard was made after a lock, and cannot leave its thread.
        let code = unsafe { libc::pthread_mutex_unlock(self.mutex.mutex.get()) };
        debug_assert_eq!(code, 0, "a mutex of the normal type, unlocked by its holder, has nothing to refuse");
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

/// pthread functions return their error; they leave errno alone.
fn check_code(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn while_one_holds_it_no_other_gets_it() {
        let mut place = MaybeUninit::uninit();
        // SAFETY: the place is large enough, aligned, and outlives the mutex.
        let mutex = unsafe { ProcessMutex::init(place.as_mut_ptr(), ()) }.unwrap();
        let guard = mutex.lock().unwrap();
        thread::scope(|s| assert!(s.spawn(|| mutex.try_lock().unwrap().is_none()).join().unwrap()));
        drop(guard);
        assert!(mutex.try_lock().unwrap().is_some());
    }

    #[test]
    fn additions_in_two_steps_are_exact_under_it() {
        let mut place = MaybeUninit::uninit();
        // SAFETY: the place is large enough, aligned, and outlives the mutex.
        let total = unsafe { ProcessMutex::init(place.as_mut_ptr(), 0) }.unwrap();
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..500 {
                        let mut total = total.lock().unwrap();
                        let seen = *total;
                        thread::yield_now(); // Whoever could get in would get in now.
                        *total = seen + 1;
                    }
                });
            }
        });
        assert_eq!(*total.lock().unwrap(), 2000);
    }

    #[test]
    #[cfg(target_env = "gnu")] // Elsewhere it may be destroyed all the same.
    fn a_mutex_that_is_held_is_not_destroyed() {
        let mut place = MaybeUninit::uninit();
        // SAFETY: the place is large enough, aligned, and outlives the mutex.
        let mutex = unsafe { ProcessMutex::init(place.as_mut_ptr(), ()) }.unwrap();
        let guard = mutex.lock().unwrap();
        // SAFETY: nobody else uses it, and it is not destroyed: glibc refuses to end a mutex that is held.
        assert_eq!(unsafe { mutex.destroy() }.unwrap_err().raw_os_error(), Some(libc::EBUSY));
        drop(guard);
        // SAFETY: nobody uses it any more.
        unsafe { mutex.destroy() }.unwrap();
    }
}
