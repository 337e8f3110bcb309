//! What may a worker take, and how does it lose that?

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::IntoRawFd;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::unistd::{Gid, Pid, Uid};
use process_demo::limits::Limit;
use process_demo::sandbox::{self, State};

/// The file stays open until the worker's process ends.
pub fn open_file() -> io::Result<()> {
    File::open("/dev/null").map(|file| _ = file.into_raw_fd())
}

/// Mapped until the worker's process ends: what counts is the address space, which is taken without being filled.
pub fn take_memory(bytes: usize) -> io::Result<()> {
    let bytes = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE) }?;
    Ok(())
}

pub fn set(limit: io::Result<Limit>) -> Result<u64> {
    limit.and_then(Limit::set)?;
    Ok(0)
}

/// The thread that calls it keeps to this CPU.
pub fn pin_to(cpu: usize) -> Result<u64> {
    const THIS_THREAD: Pid = Pid::from_raw(0); // What the affinity calls take zero for.
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(THIS_THREAD, &only)?;
    Ok(0)
}

const NOBODY: u32 = 65534; // The user whom nothing belongs to, on every Linux.

/// The C library changes the user in every thread, by a signal to each.
pub fn become_nobody() -> Result<u64> {
    match sandbox::become_user(Uid::from_raw(NOBODY), Gid::from_raw(NOBODY)) {
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => unknown(),
        state => in_force(state),
    }
}

/// The kernel itself changes it only in the thread that asks.
pub fn become_nobody_alone() -> Result<u64> {
    if !Uid::effective().is_root() {
        return Err(Errno::EPERM.into()); // Nobody may become nobody, which changes nothing.
    }
    // SAFETY: it takes three numbers.
    match Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) }) {
        Err(Errno::EINVAL) => unknown(),
        changed => Ok(changed.map(|_| 0)?),
    }
}

fn unknown() -> Result<u64> {
    Err(Errno::EPERM).context("this user namespace does not know the user")
}

/// Landlock: from now on it reads files only beneath these directories.
pub fn confine_to(directories: &[&Path]) -> Result<u64> {
    sandbox::no_new_privileges()?;
    in_force(sandbox::read_only_beneath(directories))
}

/// What this kernel does not offer, or does not let us have, is an error with its number.
pub fn in_force(state: io::Result<State>) -> Result<u64> {
    match state? {
        State::InForce => Ok(0),
        State::Unavailable(why) if why.raw_os_error().is_some() => Err(why.into()),
        State::Unavailable(why) => Err(Errno::ENOSYS).context(why),
    }
}
