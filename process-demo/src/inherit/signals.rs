//! What becomes of handlers, of ignored and blocked signals, and of those that wait to be delivered?

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use nix::libc::{self, c_int};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, raise, sigaction};
use nix::unistd::getpid;

use super::thing::{How, InTurn, NOWHERE, Thing};

pub const HANDLER: Thing = Thing {
    name: "signal handler",
    how: How::InTurn(InTurn { set_up: |_| Ok(NOWHERE), look: |_| disposition(), change: |_, value| handle(value) }),
};

pub const IGNORED: Thing = Thing {
    name: "ignored signal",
    how: How::InTurn(InTurn {
        set_up: |_| Ok(NOWHERE),
        look: |_| disposition(),
        change: |_, value| if value == super::create::SET { set(SigHandler::SigIgn, 0) } else { handle(value) },
    }),
};

/// A handler is known by what it blocks while it runs: the address of a function need not be its own.
fn handle(value: u64) -> io::Result<()> {
    extern "C" fn handler(_: c_int) {}
    set(SigHandler::Handler(handler), value)
}

fn set(handler: SigHandler, value: u64) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), of_bits(value));
    // SAFETY: the handler does nothing.
    Ok(unsafe { sigaction(Signal::SIGUSR1, &action) }.map(drop)?)
}

/// 0 stands for the default and 1 for ignored; a handler is known by its bits.
fn disposition() -> Option<u64> {
    const HANDLED: u64 = 8; // Above the bits.
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the kernel only fills in the old one.
    let action = unsafe {
        if libc::sigaction(libc::SIGUSR1, ptr::null(), action.as_mut_ptr()) != 0 {
            return None;
        }
        action.assume_init()
    };
    // SAFETY: the mask is the one that the kernel has filled in.
    let blocks = |signal: Signal| unsafe { libc::sigismember(&action.sa_mask, signal as c_int) == 1 };
    match action.sa_sigaction {
        libc::SIG_DFL => Some(0),
        libc::SIG_IGN => Some(1),
        _ => Some(HANDLED | to_bits(blocks)),
    }
}

const TWO: [(Signal, u64); 2] = [(Signal::SIGUSR1, 1), (Signal::SIGUSR2, 2)]; // Each with its bit of a value.

fn of_bits(value: u64) -> SigSet {
    TWO.into_iter().filter(|(_, bit)| value & bit != 0).map(|(signal, _)| signal).collect()
}

fn to_bits(contains: impl Fn(Signal) -> bool) -> u64 {
    TWO.into_iter().filter(|(signal, _)| contains(*signal)).map(|(_, bit)| bit).sum()
}

pub const MASK: Thing = Thing {
    name: "signal mask",
    how: How::InTurn(InTurn {
        set_up: |_| Ok(NOWHERE),
        look: |_| SigSet::thread_get_mask().ok().map(|blocked| to_bits(|signal| blocked.contains(signal))),
        change: |_, value| Ok(of_bits(value).thread_set_mask()?),
    }),
};

pub const PENDING: Thing = Thing {
    name: "pending signal",
    how: How::InTurn(InTurn {
        set_up: |_| Ok(SigSet::from(SENT).thread_block().map(|()| NOWHERE)?),
        look: |_| is_pending().then_some(1),
        change: |_, _| if is_pending() { take() } else { Ok(kill(getpid(), SENT)?) },
    }),
};

pub const PENDING_FOR_THREAD: Thing = Thing {
    name: "signal pending for the thread",
    how: How::InTurn(InTurn {
        set_up: |_| Ok(SigSet::from(SENT).thread_block().map(|()| NOWHERE)?),
        look: |_| is_pending().then_some(1),
        change: |_, _| if is_pending() { take() } else { Ok(raise(SENT)?) },
    }),
};

const SENT: Signal = Signal::SIGUSR2;

fn is_pending() -> bool {
    let mut pending = MaybeUninit::uninit();
    // SAFETY: the kernel fills in the set, and the set is only used if it did.
    unsafe { libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), SENT as c_int) == 1 }
}

/// Takes the signal that is pending, so it does not wait.
fn take() -> io::Result<()> {
    Ok(SigSet::from(SENT).wait().map(drop)?)
}
