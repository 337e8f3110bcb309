//! A stand-in for nix: the futex call as futex(2) promises it, made of what loom can explore.
//!
//! The model orders more than the kernel promises: who is woken sees all that its waker did before. So a protocol must
//! not lean on the call for order, and a check that only a woken waiter could fail proves nothing about orderings. It
//! has no signals, no wake-up without a cause, and no time: a sleep with a time-out ends by a wake-up alone, so no
//! time-out hides a lost one.
//!
//! All else of nix is nix's own: memory that a snippet maps is real, with loom's atomics written into it.

pub use nix::{errno, fcntl, sys};

pub mod libc {
    use std::sync::Arc;

    use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use loom::sync::{Condvar, Mutex};
    use nix::errno::Errno;

    pub use nix::libc::{
        F_UNLCK, F_WRLCK, FUTEX_WAIT, FUTEX_WAKE, SEEK_SET, SYS_futex, c_int, c_long, flock, timespec,
    };

    /// The futex call, and no other; always with these five arguments, for a stand-in cannot be variadic.
    ///
    /// # Safety
    /// To wait, the word must be alive until the call returns.
    pub unsafe fn syscall(
        number: c_long,
        word: *const AtomicU32,
        operation: c_int,
        value: u32,
        _timeout: *const timespec,
    ) -> c_long {
        assert!(number == SYS_futex, "only futex calls are modelled");
        match operation {
            // SAFETY: the caller keeps the word alive.
            FUTEX_WAIT => wait(unsafe { &*word }, value),
            FUTEX_WAKE => wake(word, value),
            other => panic!("futex operation {other} is not modelled"),
        }
    }

    /// Who sleeps, oldest first: the word's address, and where it sleeps. Its lock is the kernel's: compare and sleep
    /// are one step.
    type Sleepers = Vec<(usize, Arc<Condvar>)>;

    loom::lazy_static! {
        static ref SLEEPERS: Mutex<Sleepers> = Mutex::new(Vec::new());
    }

    fn wait(word: &AtomicU32, expected: u32) -> c_long {
        let mut sleepers = SLEEPERS.lock().unwrap();
        if word.load(Relaxed) != expected {
            Errno::EAGAIN.set();
            return -1;
        }
        let bed = Arc::new(Condvar::new());
        sleepers.push((std::ptr::from_ref(word).addr(), Arc::clone(&bed)));
        while sleepers.iter().any(|(_, other)| Arc::ptr_eq(other, &bed)) {
            sleepers = bed.wait(sleepers).unwrap();
        }
        0
    }

    fn wake(word: *const AtomicU32, most: u32) -> c_long {
        let mut sleepers = SLEEPERS.lock().unwrap();
        let mut woken = 0;
        while woken < most
            && let Some(first) = sleepers.iter().position(|(address, _)| *address == word.addr())
        {
            sleepers.remove(first).1.notify_one();
            woken += 1;
        }
        woken.into()
    }
}
