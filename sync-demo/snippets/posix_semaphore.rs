//! A POSIX semaphore without a name: it lies in shared memory and counts permits between processes.
//!
//! Needs: nix 0.31
//! Runs on: Linux
//! Tests need: nix 0.31 (mman, process)
//! Instead: tokio::sync::Semaphore in an asynchronous program; this one is for memory that processes share.
//!
//! What it does not do: recover. Whoever dies takes along the permits that it held; and if a process that waits for one
//! is killed as it is woken (glibc), the next one waits on beside a free permit, until somebody posts again. It has no
//! time-out: it waits for ever if nobody posts. A caught signal does not end its waits. Only `post` is for signal
//! handlers.
//!
//! A process waits until another has done its part:
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
//! use nix::sys::wait::waitpid;
//! use nix::unistd::{ForkResult, fork};
//!
//! let length = std::num::NonZeroUsize::new(size_of::<PosixSemaphore>()).unwrap();
//! let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
//! // SAFETY: a new mapping, at an address of the kernel's choice, disturbs no other.
//! let place = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) }?.cast::<PosixSemaphore>();
//! // SAFETY: the mapping is page-aligned, large enough, seen by nobody yet, and stays to the end.
//! let done = unsafe { PosixSemaphore::init(place.as_ptr(), 0) }?;
//! assert!(!done.try_wait()?);
//! // SAFETY: this process has one thread.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         let code = i32::from(done.post().is_err());
//!         // SAFETY: it ends the child and runs nothing more.
//!         unsafe { nix::libc::_exit(code) }
//!     }
//!     ForkResult::Parent { child } => {
//!         done.wait()?;
//!         waitpid(child, None)?;
//!     }
//! }
//! assert!(!done.try_wait()?);
//! // SAFETY: the child has ended, and nothing waits any more.
//! unsafe { done.destroy() }?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::cell::UnsafeCell;
use std::io;

use nix::libc;

/// Permits that processes and their threads take and give back.
///
/// See sem_overview(7); nix has none of these calls, so they go through its libc. Anyone may post, not only who waited,
/// so it serves as a signal too; and a process that is killed takes the permits that it held with it.
#[repr(transparent)]
#[derive(Debug)]
pub struct PosixSemaphore {
    semaphore: UnsafeCell<libc::sem_t>,
}

// SAFETY: any thread of any process may call any of the functions below at any time.
unsafe impl Sync for PosixSemaphore {}

impl PosixSemaphore {
    /// Makes a semaphore of `permits` at `place`; other processes that map the memory make a reference of their
    /// pointer.
    ///
    /// Fails with EINVAL above SEM_VALUE_MAX (2147483647), and with ENOSYS where semaphores cannot be shared.
    ///
    /// # Safety
    /// The place is aligned, writable, of `size_of::<PosixSemaphore>()` bytes, and nobody uses it during the call. It
    /// stays mapped, and is written to by this type alone, for as long as `'a`.
    pub unsafe fn init<'a>(place: *mut PosixSemaphore, permits: u32) -> io::Result<&'a PosixSemaphore> {
        const BETWEEN_PROCESSES: i32 = 1;
        // SAFETY: the caller vouches for the place, and after success it holds a semaphore.
        unsafe {
            check_errno(libc::sem_init(place.cast(), BETWEEN_PROCESSES, permits))?;
            Ok(&*place)
        }
    }

    /// Takes a permit; sleeps in the kernel while there is none. A signal does not end the wait.
    ///
    /// Fails only if the memory no longer holds a semaphore.
    pub fn wait(&self) -> io::Result<()> {
        loop {
            // SAFETY: `init` made the semaphore, and it has not moved since: it is only ever used by reference.
            match check_errno(unsafe { libc::sem_wait(self.semaphore.get()) }) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// Takes a permit if there is one now, and says whether there was.
    ///
    /// Fails only if the memory no longer holds a semaphore.
    pub fn try_wait(&self) -> io::Result<bool> {
        loop {
            // SAFETY: as in `wait`.
            match check_errno(unsafe { libc::sem_trywait(self.semaphore.get()) }) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives a permit and wakes one that waits for it; async-signal-safe.
    ///
    /// Fails with EOVERFLOW if there are SEM_VALUE_MAX permits already.
    pub fn post(&self) -> io::Result<()> {
        // SAFETY: as in `wait`.
        check_errno(unsafe { libc::sem_post(self.semaphore.get()) })
    }

    /// Ends the semaphore: its memory may then serve another purpose.
    ///
    /// # Safety
    /// Nobody, in any process, uses the semaphore during the call or after it, unless it is made anew.
    pub unsafe fn destroy(&self) -> io::Result<()> {
        // SAFETY: `init` made the semaphore; the caller vouches that nobody else uses it.
        check_errno(unsafe { libc::sem_destroy(self.semaphore.get()) })
    }
}

/// The sem_ functions return -1 and leave their error in errno.
fn check_errno(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;
    use std::thread;

    #[test]
    fn as_many_get_in_as_there_are_permits() {
        let mut place = MaybeUninit::uninit();
        // SAFETY: the place is large enough, aligned, and outlives the semaphore.
        let semaphore = unsafe { PosixSemaphore::init(place.as_mut_ptr(), 2) }.unwrap();
        let admitted = (0..5).filter(|_| semaphore.try_wait().unwrap()).count();
        assert_eq!(admitted, 2);
        semaphore.post().unwrap();
        assert!(semaphore.try_wait().unwrap() && !semaphore.try_wait().unwrap());
    }

    #[test]
    fn a_post_by_another_thread_ends_the_wait() {
        let mut place = MaybeUninit::uninit();
        // SAFETY: the place is large enough, aligned, and outlives the semaphore.
        let semaphore = unsafe { PosixSemaphore::init(place.as_mut_ptr(), 0) }.unwrap();
        thread::scope(|s| {
            let waits = s.spawn(|| semaphore.wait());
            semaphore.post().unwrap();
            waits.join().unwrap().unwrap();
        });
        assert!(!semaphore.try_wait().unwrap());
    }

    #[test]
    fn more_permits_than_there_can_be_are_refused() {
        let mut place = MaybeUninit::uninit();
        // SAFETY: the place is large enough, aligned, and outlives the call.
        let refused = unsafe { PosixSemaphore::init(place.as_mut_ptr(), u32::MAX) };
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
