//! Does a forked child come to its end, or does it sleep for what nobody can give it?

use std::process::Command;
use std::{fs, io};

use anyhow::{Result, bail};
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid};
use process_demo::asleep::{Activity, SystemCall, activity_of, look_until};
use shared::measure::SystemClock;

/// A child of a process with several threads; killed and waited for when dropped.
pub struct Watched(Pid);

impl Watched {
    /// Forks a child, whatever the other threads of this process are doing, to do `work` and exit with its value.
    ///
    /// # Safety
    /// `work` must not panic, and must keep to async-signal-safe calls but for one that is tried: that one may then sleep
    /// for ever, or crash. The child shares no memory with this process, so it harms nobody else; whoever calls this must
    /// watch it, and drop the handle to end it.
    pub unsafe fn fork(work: impl FnOnce() -> u8) -> io::Result<Watched> {
        // SAFETY: prctl and _exit are async-signal-safe; what lies between is the caller's promise.
        match unsafe { nix::unistd::fork() }? {
            ForkResult::Parent { child } => Ok(Watched(child)),
            ForkResult::Child => {
                let code = if set_pdeathsig(Signal::SIGKILL).is_ok() { work() } else { 255 };
                // SAFETY: it ends the child without running anything of it.
                unsafe { libc::_exit(code.into()) }
            }
        }
    }

    pub fn start(program: &mut Command) -> io::Result<Watched> {
        program.spawn().map(|child| Watched(Pid::from_raw(child.id() as i32))) // Its own handle waits for nobody.
    }

    /// Looks until it has ended by itself, with this exit code; none if it sleeps for ever: its only thread is in a private
    /// futex call without a time-out, so only another thread could wake it.
    ///
    /// # Errors
    /// If it does neither for long, or the kernel does not show in which call it sleeps.
    pub fn exit_code(&self, clock: SystemClock) -> Result<Option<u8>> {
        let only_look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let mut asleep = Ok(false);
        let look = || match waitid(Id::Pid(self.0), only_look)? {
            WaitStatus::Exited(_, code) => Ok(Some(Some(code as u8))),
            WaitStatus::StillAlive => {
                asleep = self.sleeps_for_ever(); // Not shown of one that ends at this moment, or becomes another program.
                Ok(matches!(asleep, Ok(true)).then_some(None))
            }
            other => bail!("a child did not end by itself: {other:?}"),
        };
        if let Some(fate) = look_until(clock, look)? {
            return Ok(fate);
        }
        asleep?;
        bail!("a child neither ended nor slept for ever")
    }

    /// Looked at before and after the threads are counted: of one that ends, the others may be gone already.
    pub fn sleeps_for_ever(&self) -> io::Result<bool> {
        let threads = || Ok::<_, io::Error>(fs::read_dir(format!("/proc/{}/task", self.0))?.count());
        Ok(self.sleeps()? && threads()? == 1 && self.sleeps()?)
    }

    /// Is its first thread in a private futex call without a time-out?
    fn sleeps(&self) -> io::Result<bool> {
        let Activity::Asleep(sleep) = activity_of(self.0)? else { return Ok(false) };
        let SystemCall { number, arguments: [_word, operation, _value, timeout, ..] } = sleep.call?;
        let is_private = operation & libc::FUTEX_PRIVATE_FLAG as u64 != 0;
        Ok(number == libc::SYS_futex && is_private && timeout == 0)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL); // Not waited for yet, so the number is its own.
        let _ = waitpid(self.0, None);
    }
}
