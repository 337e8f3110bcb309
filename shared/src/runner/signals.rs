//! Which signal came? They are blocked and read from a descriptor, so that one loop waits for everything.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use signal_hook::flag;

/// The signals that the runner answers: interrupt, terminate, hang up, stop from the terminal, child's change.
const ANSWERED: [Signal; 5] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP, Signal::SIGCHLD];

pub(crate) struct Signals {
    descriptor: SignalFd,
    /// The process group that stops and goes on with this process.
    group: Cell<Option<Pid>>,
}

impl Signals {
    /// Blocks the answered signals but for those that this program was started to ignore (as `nohup` does).
    pub(crate) fn block() -> Result<Signals> {
        let ignored = procfs::process::Process::myself().and_then(|me| me.status()).map_or(0, |status| status.sigign);
        let is_ignored = |signal: Signal| ignored & (1u64 << (signal as u32 - 1)) != 0;
        if is_ignored(Signal::SIGCHLD) {
            // So the kernel would reap every child, here and in all that this program starts. With an action of its own it
            // is ignored no more; blocked as it is, the action never comes.
            flag::register(Signal::SIGCHLD as i32, Arc::default()).context("taking SIGCHLD")?;
        }
        let mut set = SigSet::empty();
        for signal in ANSWERED {
            if !is_ignored(signal) || signal == Signal::SIGCHLD {
                set.add(signal);
            }
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None).context("blocking signals")?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Signals { descriptor: SignalFd::with_flags(&set, flags).context("signalfd")?, group: Cell::new(None) })
    }

    /// From now on this group, or none, stops and goes on with this process.
    pub(crate) fn take_along(&self, group: Option<Pid>) {
        self.group.set(group);
    }

    /// Ctrl-Z: the group stops, then this process; when somebody continues it, the group goes on too.
    pub(crate) fn stop(&self) {
        let group = |signal| self.group.get().map(|group| killpg(group, signal)); // It may have ended a moment ago.
        let _ = group(Signal::SIGSTOP);
        let _ = raise(Signal::SIGSTOP); // Cannot be refused.
        let _ = group(Signal::SIGCONT);
    }

    /// The next signal that has come; none if none is waiting.
    pub(crate) fn next(&self) -> Option<Signal> {
        let info = self.descriptor.read_signal().ok()??;
        Signal::try_from(info.ssi_signo as i32).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A process that inherited blocked signals must unblock them before it does anything else.
pub(crate) fn unblock_all() -> Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).context("unblocking signals")
}
