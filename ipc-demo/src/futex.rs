//! Sleeping on a word of shared memory, and waking who sleeps there. nix has no futex.

use std::ptr::null;
use std::sync::atomic::AtomicU32;

use nix::errno::Errno;
use nix::libc;

/// Sleeps as long as the word has that value; may return early, so the caller looks again.
pub fn wait(word: &AtomicU32, value: u32) -> nix::Result<()> {
    let forever = null::<libc::timespec>();
    // SAFETY: the word lives as long as the call, and nothing else is pointed to. Without FUTEX_PRIVATE_FLAG the kernel
    // finds the waiters of other processes too.
    let slept = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, forever) };
    match Errno::result(slept) {
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()), // Woken, or changed before.
        Err(error) => Err(error),
    }
}

/// Wakes one.
pub fn wake(word: &AtomicU32) {
    // SAFETY: the call only looks the word's address up.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}
