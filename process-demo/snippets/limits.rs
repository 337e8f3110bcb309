//! A limit on what a process may take: for a child before it does its work, or for this process for a while.
//!
//! Needs: nix 0.31 (resource)
//! Tests need: nix 0.31 (process, resource, signal)
//! Runs on: Linux
//! Instead: rlimit on other systems too, systemd-run (MemoryMax=) for memory that is really used.
//!
//! A limit belongs to the whole process: each of its threads can set it, and it binds them all. A child inherits it,
//! by fork and through exec. It has two values: the kernel enforces the soft one, which anyone may move up to the hard
//! one; lowering the hard one is for good, unless one has the capability CAP_SYS_RESOURCE, as root has.
//!
//! How it shows that a limit is reached (`getrlimit(2)`):
//! - `RLIMIT_AS`, bytes of address space: mapping and allocating fail with ENOMEM. `Vec::try_reserve` returns that;
//!   `push`, `vec!` and `Box::new` abort the process (SIGABRT).
//! - `RLIMIT_CPU`, seconds of CPU time of all threads together: SIGXCPU at the soft limit and each second after it,
//!   SIGKILL at the hard one. A soft limit of 0 is reached at the next tick of the clock.
//! - `RLIMIT_NOFILE`, descriptors: `open`, `socket`, `accept`, `dup` fail with EMFILE. It limits the numbers, which
//!   are below it; descriptors above it that are open already stay open.
//! - `RLIMIT_FSIZE`, bytes of a file: writing beyond ends the process by SIGXFSZ, or fails with EFBIG if that is ignored.
//! - `RLIMIT_STACK`, bytes of the main thread's stack: growing beyond ends the process by SIGSEGV.
//! - `RLIMIT_NPROC`, processes and threads of the user, all together: `fork` and `pthread_create` fail with EAGAIN. It
//!   counts what is not the child's own too, and does not bind root.
//! - `RLIMIT_CORE`, bytes of a core dump: 0 forbids it; nothing else shows.
//!
//! What it does not do: limit memory that is really used (`RLIMIT_RSS` has no effect since Linux 2.4.30), limit a
//! family of processes together, or hold root, who may raise it again. Control groups do that: `cgroups(7)`. Two
//! threads that have one limit `Lowered` at once put back each other's value.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::{os::unix::process::ExitStatusExt, process::Command};
//! use nix::{libc, sys::resource::Resource, sys::wait::waitpid, unistd::{ForkResult, fork}};
//!
//! // A program that would count to ten million is given no CPU time: the kernel ends it.
//! let mut command = Command::new("sh");
//! command.args(["-c", "i=0; while [ $i -lt 10000000 ]; do i=$((i+1)); done"]);
//! limit_command(&mut command, vec![Limit::lower(Resource::RLIMIT_CPU, 0).unwrap()]);
//! assert_eq!(command.status().unwrap().signal(), Some(libc::SIGXCPU));
//!
//! // A forked child that limits itself before its work; its parent is not limited.
//! # nix::sys::prctl::set_name(c"\xc3").unwrap(); // A program's name may be cut inside a letter.
//! let before = Limit::now(Resource::RLIMIT_AS).unwrap();
//! // SAFETY: an example's process has one thread here.
//! match unsafe { fork() }.unwrap() {
//!     ForkResult::Child => {
//!         more_address_space(8 << 20).and_then(Limit::set).unwrap();
//!         let refused = Vec::<u8>::new().try_reserve_exact(1 << 30).is_err();
//!         // SAFETY: `_exit` ends the child without running anything of it.
//!         unsafe { libc::_exit(refused.into()) }
//!     }
//!     ForkResult::Parent { child } => {
//!         let end = waitpid(child, None).unwrap();
//!         assert_eq!(end, nix::sys::wait::WaitStatus::Exited(child, 1));
//!     }
//! }
//! assert_eq!(Limit::now(Resource::RLIMIT_AS).unwrap(), before);
//!
//! // This process itself, for a while.
//! let lowered = Lowered::to(Resource::RLIMIT_NOFILE, 3).unwrap();
//! let error = std::fs::File::open("/dev/null").unwrap_err();
//! assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
//! drop(lowered);
//! std::fs::File::open("/dev/null").unwrap();
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{fs, io};

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Both values of one limit, in the resource's own unit: bytes, seconds, or a count. No limit is `RLIM_INFINITY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is limited.
    pub resource: Resource,
    /// What the kernel enforces; never above `hard`.
    pub soft: rlim_t,
    /// How far `soft` may be raised again.
    pub hard: rlim_t,
}

impl Limit {
    /// What holds for this process now.
    ///
    /// # Errors
    /// EINVAL for a resource that this kernel does not know.
    pub fn now(resource: Resource) -> io::Result<Limit> {
        let (soft, hard) = getrlimit(resource)?;
        Ok(Limit { resource, soft, hard })
    }

    /// The soft limit lowered to `soft`, or as it is if it is lower by now; the hard one as it is. Nothing is set yet.
    ///
    /// # Errors
    /// As for `now`.
    pub fn lower(resource: Resource, soft: rlim_t) -> io::Result<Limit> {
        let now = Limit::now(resource)?;
        Ok(Limit { soft: soft.min(now.soft), ..now })
    }

    /// The same without a way back: the hard limit is as low as the soft one.
    pub fn for_good(self) -> Limit {
        Limit { hard: self.soft, ..self }
    }

    /// Makes it hold for this process, all its threads, and the children it makes from now on.
    ///
    /// # Errors
    /// EPERM when it raises the hard limit, EINVAL when the soft one is above the hard one.
    pub fn set(self) -> io::Result<()> {
        Ok(setrlimit(self.resource, self.soft, self.hard)?)
    }
}

/// A limit of address space that leaves room for so many bytes more than this process has mapped now.
///
/// What an allocator has set aside counts as mapped, and is still there to be given out: in glibc, up to 64 MiB for each
/// thread but the first.
///
/// # Errors
/// Where /proc cannot be read.
pub fn more_address_space(bytes: u64) -> io::Result<Limit> {
    let status = fs::read("/proc/self/status")?;
    let status = String::from_utf8_lossy(&status); // The name in it may be any bytes.
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB"));
    let size_kib = size.and_then(|size| size.parse::<u64>().ok());
    let size_kib = size_kib.ok_or_else(|| io::Error::other("/proc/self/status does not say how much is mapped"))?;
    Limit::lower(Resource::RLIMIT_AS, (size_kib << 10).saturating_add(bytes))
}

/// Lets the program start under these limits. They are set in the child, before the program replaces this one there; if
/// one of them cannot be set, nothing runs, and `spawn` returns the error.
pub fn limit_command(command: &mut Command, limits: Vec<Limit>) -> &mut Command {
    let set_all = move || limits.iter().try_for_each(|limit| limit.set());
    // SAFETY: between fork and exec the closure makes only system calls: it takes no lock and allocates nothing.
    unsafe { command.pre_exec(set_all) }
}

/// A soft limit of this process, lowered until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Lowered {
    before: Limit,
}

impl Lowered {
    /// Lowers the soft limit for all threads of this process, and the children that it makes meanwhile.
    ///
    /// # Errors
    /// As for `Limit::now`.
    pub fn to(resource: Resource, soft: rlim_t) -> io::Result<Lowered> {
        let before = Limit::now(resource)?;
        Limit::lower(resource, soft)?.set()?;
        Ok(Lowered { before })
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        let _ = self.before.set(); // Up to the hard limit anyone may; a drop could not report it.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::EPERM;

    // Core dumps, since no other test feels their limit: limits are the whole process's, and tests share one.
    #[test]
    fn a_soft_limit_comes_back_and_a_hard_one_does_not() {
        let before = Limit::now(Resource::RLIMIT_CORE).unwrap();
        let lowered = Lowered::to(Resource::RLIMIT_CORE, 0).unwrap();
        assert_eq!(Limit::now(Resource::RLIMIT_CORE).unwrap(), Limit { soft: 0, ..before });
        drop(lowered);
        assert_eq!(Limit::now(Resource::RLIMIT_CORE).unwrap(), before);

        Limit::lower(Resource::RLIMIT_CORE, 0).unwrap().for_good().set().unwrap();
        let raised = Limit { resource: Resource::RLIMIT_CORE, soft: 0, hard: 1 }.set();
        // Who may raise it has the capability; to all others the kernel says no.
        assert!(raised.is_ok() || raised.unwrap_err().raw_os_error() == Some(EPERM));
    }

    #[test]
    fn lowering_never_raises() {
        let now = Limit::now(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(Limit::lower(Resource::RLIMIT_NOFILE, rlim_t::MAX).unwrap(), now);
    }
}
