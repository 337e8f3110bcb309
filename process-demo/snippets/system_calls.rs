//! The system calls that a piece of work makes, counted by name: a small `strace -f -c` for one function.
//!
//! Needs: nix 0.31 (process, ptrace, signal)
//! Runs on: Linux with glibc
//! Instead: strace -f -c for a whole program, nix::sys::ptrace itself for more than a count.
//!
//! A child does the work and stops at each call; what it starts meanwhile, thread or process, is followed too. What the
//! C library answers without the kernel (reading the clock, mostly) is no call and is not seen.
//!
//! What it does not do: let the work change anything of yours: it runs in a child, on copies, and many times slower. It
//! has no time-out: it waits for ever if the work does. It runs beside no second thread, which is refused, nor under
//! another tracer (`strace -f`). Work that a signal ends counts as done.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! // SAFETY: nothing alive here owns anything in shared memory.
//! match unsafe { count(|| _ = std::thread::spawn(nix::unistd::getppid).join()) } {
//!     Ok(calls) => assert_eq!(calls.created.get("getppid"), Some(&1)),
//!     Err(refused) => eprintln!("tracing is not allowed here: {refused}"),
//! }
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::collections::BTreeMap;
use std::io::{self, PipeWriter, Read, Write};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fs, thread};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, setpgid};

/// How often each system call was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// By the thread that did the work.
    pub own: BTreeMap<String, u64>,
    /// By all threads and processes that the work started, programs included.
    pub created: BTreeMap<String, u64>,
}

/// Does the work in a child process and counts its system calls, and those of whatever it starts.
///
/// # Errors
/// EPERM or ENOSYS where tracing is forbidden; refused if this process has a second thread; and as for `fork(2)`.
///
/// # Safety
/// Every value alive exists twice while the child lives. None of those that `work` touches may own something in memory
/// that stays shared between the two.
pub unsafe fn count(work: impl FnOnce()) -> io::Result<Calls> {
    wait_until_alone()?;
    let (mut gate, opener) = io::pipe()?;
    // SAFETY: this thread is the only one, so no lock is held by a thread that the child will not have.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => {
            drop(opener); // Else the child would wait for itself when the parent is gone.
            let value = value_of(|| {
                let Ok(()) = gate.read_exact(&mut [0]) else { return PANICKED };
                mark();
                work();
                mark();
                0
            });
            // SAFETY: `_exit` ends the process without running anything of it.
            unsafe { libc::_exit(value.into()) }
        }
        ForkResult::Parent { child } => {
            let tally = Tally { child, marks: 0, calls: Calls::default() };
            tally.follow(opener).inspect_err(|_| end(child))
        }
    }
}

const PANICKED: u8 = 101; // What a Rust program exits with when its main thread panics.

fn value_of(work: impl FnOnce() -> u8) -> u8 {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        forget(payload); // Dropping it could panic again, up into frames that belong to the parent.
        PANICKED
    })
}

/// Closes a descriptor that cannot exist: a call that nobody else makes, seen among the child's calls.
fn mark() {
    // SAFETY: closing the descriptor -1 fails and changes nothing.
    unsafe { libc::close(-1) };
}

struct Tally {
    child: Pid,
    marks: u32,
    calls: Calls,
}

impl Tally {
    fn follow(mut self, mut opener: PipeWriter) -> io::Result<Calls> {
        // A group of its own, which all that it starts is born into: so nobody else's child is waited for below.
        setpgid(self.child, self.child)?;
        let births = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
        ptrace::seize(self.child, births | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL)?;
        ptrace::interrupt(self.child)?; // From this stop on, it stops at every call.
        opener.write_all(&[0])?;
        loop {
            let (stopped, signal) = match waitpid(group_of(self.child), Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::PtraceSyscall(stopped)) => (stopped, self.enter(stopped)?),
                Ok(WaitStatus::Stopped(stopped, signal)) => (stopped, Some(signal)), // Sent to it: let it have it.
                Ok(WaitStatus::PtraceEvent(stopped, ..)) => (stopped, None),         // It was born, or gave birth.
                Ok(WaitStatus::Exited(ended, code)) if ended == self.child && code != 0 => {
                    return Err(io::Error::other("the work whose calls were to be counted panicked"));
                }
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(Errno::ECHILD) => return Ok(self.calls), // All have ended.
                Err(error) => return Err(error.into()),
            };
            match ptrace::syscall(stopped, signal) {
                Ok(()) | Err(Errno::ESRCH) => {} // It may have been killed in between; the next wait tells.
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Counts the call that it stopped at, if it is being entered; there is no signal to pass on.
    fn enter(&mut self, stopped: Pid) -> io::Result<Option<Signal>> {
        match entered(stopped)? {
            Some(Entered { marks: true, .. }) => self.marks += 1,
            Some(call) if stopped != self.child => *self.calls.created.entry(call.name).or_default() += 1,
            Some(call) if self.marks == 1 => *self.calls.own.entry(call.name).or_default() += 1,
            _ => {}
        }
        Ok(None)
    }
}

/// `waitpid` and `kill` take the negative number for the whole group.
fn group_of(child: Pid) -> Pid {
    Pid::from_raw(-child.as_raw())
}

/// Ends what is left of a child that could not be followed.
fn end(child: Pid) {
    let _ = kill(child, Signal::SIGKILL);
    let _ = kill(group_of(child), Signal::SIGKILL);
    let _ = waitpid(child, Some(WaitPidFlag::__WALL));
    while waitpid(group_of(child), Some(WaitPidFlag::__WALL)).is_ok() {}
}

struct Entered {
    name: String,
    marks: bool,
}

/// Which call is being entered; none if it is being left.
fn entered(stopped: Pid) -> io::Result<Option<Entered>> {
    let info = match ptrace::syscall_info(stopped) {
        Err(Errno::ESRCH) => return Ok(None), // Killed in between.
        info => info?,
    };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(None);
    }
    // SAFETY: `op` says that the kernel filled this variant.
    let entry = unsafe { info.u.entry };
    let marks = entry.nr == libc::SYS_close as u64 && entry.args[0] as i32 == -1;
    Ok(Some(Entered { name: name(entry.nr as libc::c_long), marks }))
}

/// The name of a system call; its number where this table does not have it.
fn name(number: libc::c_long) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("system call {number}"), |(_, name)| (*name).to_owned())
}

#[rustfmt::skip] // A table reads better in columns.
const NAMES: &[(libc::c_long, &str)] = &[
    (libc::SYS_brk, "brk"), (libc::SYS_clone, "clone"), (libc::SYS_clone3, "clone3"), (libc::SYS_close, "close"),
    (libc::SYS_dup3, "dup3"), (libc::SYS_execve, "execve"), (libc::SYS_exit, "exit"),
    (libc::SYS_exit_group, "exit_group"), (libc::SYS_faccessat, "faccessat"), (libc::SYS_fcntl, "fcntl"),
    (libc::SYS_fstat, "fstat"), (libc::SYS_futex, "futex"), (libc::SYS_getpid, "getpid"),
    (libc::SYS_getppid, "getppid"), (libc::SYS_getrandom, "getrandom"), (libc::SYS_gettid, "gettid"),
    (libc::SYS_ioctl, "ioctl"), (libc::SYS_kill, "kill"), (libc::SYS_lseek, "lseek"), (libc::SYS_madvise, "madvise"),
    (libc::SYS_mmap, "mmap"), (libc::SYS_mprotect, "mprotect"), (libc::SYS_munmap, "munmap"),
    (libc::SYS_newfstatat, "newfstatat"), (libc::SYS_openat, "openat"), (libc::SYS_pipe2, "pipe2"),
    (libc::SYS_ppoll, "ppoll"), (libc::SYS_prctl, "prctl"), (libc::SYS_pread64, "pread64"),
    (libc::SYS_prlimit64, "prlimit64"), (libc::SYS_read, "read"), (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_recvmsg, "recvmsg"), (libc::SYS_rseq, "rseq"), (libc::SYS_rt_sigaction, "rt_sigaction"),
    (libc::SYS_rt_sigprocmask, "rt_sigprocmask"), (libc::SYS_rt_sigreturn, "rt_sigreturn"),
    (libc::SYS_sched_getaffinity, "sched_getaffinity"), (libc::SYS_sched_yield, "sched_yield"),
    (libc::SYS_sendmsg, "sendmsg"), (libc::SYS_sendto, "sendto"), (libc::SYS_set_robust_list, "set_robust_list"),
    (libc::SYS_set_tid_address, "set_tid_address"), (libc::SYS_sigaltstack, "sigaltstack"),
    (libc::SYS_socketpair, "socketpair"), (libc::SYS_tgkill, "tgkill"), (libc::SYS_wait4, "wait4"),
    (libc::SYS_waitid, "waitid"), (libc::SYS_write, "write"),
    #[cfg(target_arch = "x86_64")] (libc::SYS_access, "access"),
    #[cfg(target_arch = "x86_64")] (libc::SYS_arch_prctl, "arch_prctl"),
    #[cfg(target_arch = "x86_64")] (libc::SYS_fork, "fork"),
    #[cfg(target_arch = "x86_64")] (libc::SYS_poll, "poll"),
    #[cfg(target_arch = "x86_64")] (libc::SYS_vfork, "vfork"),
];

const LOOKS: u32 = 10_000; // Some tenths of a second: far longer than the kernel needs to put a joined thread away.

fn wait_until_alone() -> io::Result<()> {
    for _ in 0..LOOKS {
        if fs::read_dir("/proc/self/task")?.count() == 1 {
            return Ok(());
        }
        thread::yield_now(); // Lets an ending thread finish, on one CPU too.
    }
    Err(io::Error::other("fork refused: this process has a second thread, which the child would not have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_its_name_and_an_unknown_one_its_number() {
        assert_eq!(name(libc::SYS_futex), "futex");
        assert_eq!(name(99_999), "system call 99999");
    }

    #[test]
    fn no_call_is_named_twice() {
        for (number, called) in NAMES {
            assert_eq!(name(*number), *called);
        }
    }
}
