//! Does a timer that the maker set run for the created task too?

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::ptr;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::{self, c_int};

use super::thing::{How, InTurn, NOWHERE, Places, Thing};

const STEP_S: libc::time_t = 10_000; // None of them ever comes to its end.

/// Of `setitimer(2)`, which is `alarm(2)`'s too.
pub const INTERVAL: Thing = Thing {
    name: "timer (setitimer)",
    how: How::InTurn(InTurn {
        set_up: |_| Ok(NOWHERE),
        look: |_| {
            let mut timer = MaybeUninit::<libc::itimerval>::uninit();
            // SAFETY: the kernel fills it in, and it is only used if it did.
            let asked = unsafe { libc::getitimer(libc::ITIMER_REAL, timer.as_mut_ptr()) };
            // SAFETY: as above.
            let seconds = (asked == 0).then(|| unsafe { timer.assume_init() }.it_interval.tv_sec)?;
            (seconds > 0).then_some(seconds as u64)
        },
        change: |_, value| {
            let time = libc::timeval { tv_sec: value as libc::time_t * STEP_S, tv_usec: 0 };
            let timer = libc::itimerval { it_interval: time, it_value: time };
            // SAFETY: the kernel only reads the timer; no old one is asked for.
            Ok(Errno::result(unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) }).map(drop)?)
        },
    }),
};

/// Of `timer_create(2)`; by the kernel's own numbers, since the C library's may be pointers, which mean nothing after an exec.
pub const POSIX: Thing = Thing {
    name: "timer (timer_create)",
    how: How::InTurn(InTurn { set_up: |_| create(), look: interval_s, change: arm }),
};

fn create() -> Result<Places> {
    // SAFETY: all zeros are a valid event, and the one that asks for no notice is set below.
    let mut event: libc::sigevent = unsafe { zeroed() };
    event.sigev_notify = libc::SIGEV_NONE;
    let mut timer: c_int = 0;
    // SAFETY: the kernel reads the event and writes the number; both live here.
    let made = unsafe { libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
    Errno::result(made).context("making a timer")?;
    Ok([timer as u64, 0])
}

fn interval_s(places: &Places) -> Option<u64> {
    let mut setting = MaybeUninit::<libc::itimerspec>::uninit();
    // SAFETY: the kernel only writes the setting; a number that it does not know gives an error.
    let asked = unsafe { libc::syscall(libc::SYS_timer_gettime, places[0] as c_int, setting.as_mut_ptr()) };
    // SAFETY: the kernel has filled it in.
    (asked == 0).then(|| unsafe { setting.assume_init() }.it_interval.tv_sec as u64)
}

fn arm(places: &Places, value: u64) -> io::Result<()> {
    let time = libc::timespec { tv_sec: value as libc::time_t * STEP_S, tv_nsec: 0 };
    let setting = libc::itimerspec { it_interval: time, it_value: time };
    let no_old_one = ptr::null_mut::<libc::itimerspec>();
    // SAFETY: the kernel only reads the setting; a number that it does not know gives an error.
    let armed =
        unsafe { libc::syscall(libc::SYS_timer_settime, places[0] as c_int, 0, &raw const setting, no_old_one) };
    Ok(Errno::result(armed).map(drop)?)
}
