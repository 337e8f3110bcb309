//! What happens where this program itself is process 1, and nobody else takes numbers?

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::ForkResult;
use process_demo::child::{self, Exit};

const FAILED: u8 = 255; // No error number of Linux.

/// Performs the work as process 1 of a new pid namespace and returns its numbers; or why this machine does not let us.
pub fn perform<const N: usize>(work: impl FnOnce() -> Result<[i32; N]>) -> Result<Result<[i32; N], String>> {
    let (mut told, mut teller) = io::pipe().context("a pipe")?;
    let keep = move || match enter() {
        Err(refused) => refused as u8,
        Ok(ForkResult::Parent { child }) => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => code as u8,
            _ => FAILED,
        },
        Ok(ForkResult::Child) => {
            let done = set_pdeathsig(Signal::SIGKILL).map_err(anyhow::Error::from).and_then(|()| work());
            let told = done.and_then(|words| Ok(teller.write_all(words.map(i32::to_ne_bytes).as_flattened())?));
            told.map_or_else(|error| code_of(&error), |()| 0)
        }
    };
    // SAFETY: the child makes children as this does and writes to a pipe; nothing here is in shared memory.
    let keeper = unsafe { child::fork(keep) }.context("forking")?;
    let mut words = [[0; 4]; N];
    let heard = told.read_exact(words.as_flattened_mut());
    match (keeper.wait()?, heard) {
        (Exit::Code(0), Ok(())) => Ok(Ok(words.map(i32::from_ne_bytes))),
        (Exit::Code(code), _) if code != 0 && code != i32::from(FAILED) => {
            let error = io::Error::from_raw_os_error(code);
            // Read-only /proc/sys, a kernel without namespaces or without a choice of numbers, too many namespaces.
            let not_here = [Errno::EROFS, Errno::EINVAL, Errno::ENOENT, Errno::EUSERS];
            let not_here = not_here.map(|errno| errno as i32).contains(&code);
            match shared::refused(&io::Error::from_raw_os_error(code).into()) {
                None if !not_here => bail!("in a pid namespace: {error}"),
                _ => Ok(Err(format!("a pid namespace with numbers of our choice was refused ({error})"))),
            }
        }
        (exit, _) => bail!("in a pid namespace: {exit}"),
    }
}

/// From here on, children are in a new namespace; forks the first, which is process 1 there.
fn enter() -> nix::Result<ForkResult> {
    let alone = CloneFlags::CLONE_NEWPID;
    // Without privileges, a user namespace of one's own gives them, where that is allowed.
    unshare(alone).or_else(|_| unshare(alone | CloneFlags::CLONE_NEWUSER))?;
    // SAFETY: this process has one thread, as `child::fork` has checked, so the child inherits no lock that is held.
    // That function is of no use here: in the child, the number of a parent outside the namespace is zero.
    unsafe { nix::unistd::fork() }
}

fn code_of(error: &anyhow::Error) -> u8 {
    let by_std = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
    let by_nix = error.chain().find_map(|cause| Some(*cause.downcast_ref::<Errno>()? as i32));
    by_std.or(by_nix).and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}
