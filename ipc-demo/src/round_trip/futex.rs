//! A message in shared memory, told by a futex: the kernel is asked for every wake-up and for every sleep.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::Acquire};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;

use super::desk::{self, Beside, Notice, Place};

pub struct Futex;

pub fn pair() -> Result<(Beside<Futex>, Beside<Futex>)> {
    desk::pair(|_, _| Ok(Futex))
}

impl Notice for Futex {
    fn wait(&mut self, place: &Place, number: u32) -> Result<()> {
        wait_for(&place.number, number)
    }

    fn give(&mut self, place: &Place, _number: u32) -> Result<()> {
        wake_one(&place.number);
        Ok(())
    }
}

/// Sleeps until the word has this value.
pub fn wait_for(word: &AtomicU32, value: u32) -> Result<()> {
    loop {
        let seen = word.load(Acquire);
        if seen == value {
            return Ok(());
        }
        wait(word, seen)?;
    }
}

/// Sleeps while the word has that value, until it is woken; may return early.
pub fn wait(word: &AtomicU32, value: u32) -> Result<()> {
    let for_ever = ptr::null::<libc::timespec>();
    // nix has no futex. Without FUTEX_PRIVATE_FLAG the kernel finds the waiters of other processes too.
    // SAFETY: the word outlives the call, and the kernel only reads it.
    let done = unsafe { libc::syscall(libc::SYS_futex, ptr::from_ref(word), libc::FUTEX_WAIT, value, for_ever) };
    match Errno::result(done) {
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()), // EAGAIN says that the word had changed.
        Err(error) => Err(error).context("waiting on a futex"),
    }
}

/// Wakes one that sleeps on the word, if there is one.
pub fn wake_one(word: &AtomicU32) {
    let unused = ptr::null::<libc::timespec>();
    // nix has no futex.
    // SAFETY: a wake-up reads and writes none of our memory.
    unsafe { libc::syscall(libc::SYS_futex, ptr::from_ref(word), libc::FUTEX_WAKE, 1_u32, unused) };
}
