//! Giving up privileges for good: new ones by exec, another user, all files but some, all system calls but some.
//!
//! Needs: nix 0.31 (process, user)
//! Tests need: nix 0.31 (process, signal, user)
//! Runs on: Linux
//! Instead: landlock, seccompiler and caps for finer rules: ports, arguments of calls, single capabilities.
//!
//! In this order, since each step takes away what an earlier one needs:
//! 1. Open what the work needs. Descriptors that are open stay usable, whatever is forbidden later.
//! 2. `no_new_privileges`: from now on no exec of a set-user-ID program gives back what the next steps take; and without
//!    it, only root may install 3b and 3c.
//! 3. `become_user` (a): groups before user, because only root may change groups; then `read_only_beneath` (b), which
//!    opens the directories that it allows; then `allow_only` (c), which would forbid the calls of all steps before it.
//!
//! Each part says whether it is in force or why this kernel cannot do it: what to do without it is for the caller to
//! decide. After an error do not go on: half a sandbox is none.
//!
//! Call all this before a second thread starts. The kernel keeps these things for each thread: but for `become_user`,
//! which the C library carries out in every thread, they bind the calling thread and those that it, and its children,
//! make from then on. And between threads they protect nothing at all: a confined thread may write into the memory of a
//! free one and let that do the work. Confine processes.
//!
//! What it does not do: protect from mistakes in the kernel behind the allowed calls; what lies behind descriptors that
//! are open already; the network (`read_only_beneath` is about files); processes of the same user that may be traced or
//! signalled; using up memory, CPU time or descriptors (limits do that); what measuring time can tell. What is run by
//! exec inside the sandbox gets it too, and most programs do not start with few system calls. `become_user` does not
//! see the way back that PR_SET_KEEPCAPS leaves open, and a child that calls it outlives its parent.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::{fs, path::Path};
//! use nix::{libc, sys::prctl, sys::signal::Signal, sys::wait::{WaitStatus, waitpid}, unistd::{ForkResult, fork}};
//!
//! fn in_a_child(work: fn() -> u8) -> WaitStatus {
//!     // SAFETY: an example's process has one thread here.
//!     match unsafe { fork() }.unwrap() {
//!         ForkResult::Child => {
//!             prctl::set_dumpable(false).unwrap(); // No core dump where the filter kills.
//!             let value = work();
//!             // SAFETY: `_exit` ends the child without running anything of it.
//!             unsafe { libc::_exit(value.into()) }
//!         }
//!         ForkResult::Parent { child } => waitpid(child, None).unwrap(),
//!     }
//! }
//!
//! // Files beneath one directory can be read, and nothing else can be opened or changed.
//! let files = in_a_child(|| {
//!     no_new_privileges().unwrap();
//!     match read_only_beneath(&[Path::new("/proc/self")]).unwrap() {
//!         State::InForce => {
//!             let allowed = fs::read("/proc/self/stat").is_ok();
//!             let forbidden = fs::read("/proc/version").is_err();
//!             u8::from(allowed && forbidden)
//!         }
//!         State::Unavailable(_) => 1,
//!     }
//! });
//! assert!(matches!(files, WaitStatus::Exited(_, 1)), "{files:?}");
//!
//! // Who may only read, write and exit is killed when it opens a file.
//! let calls = in_a_child(|| {
//!     no_new_privileges().unwrap();
//!     match allow_only(&[libc::SYS_read, libc::SYS_write, libc::SYS_exit_group], Otherwise::Kill).unwrap() {
//!         State::InForce => u8::from(fs::File::open("/dev/null").is_ok()), // Never gets an answer.
//!         State::Unavailable(_) => 2,
//!     }
//! });
//! let killed = matches!(calls, WaitStatus::Signaled(_, Signal::SIGSYS, false));
//! assert!(killed || matches!(calls, WaitStatus::Exited(_, 2)), "{calls:?}");
//!
//! // Root becomes nobody and cannot come back; who is not root cannot become another at all.
//! let user = in_a_child(|| {
//!     let nobody = (nix::unistd::Uid::from_raw(65534), nix::unistd::Gid::from_raw(65534));
//!     no_new_privileges().unwrap();
//!     match become_user(nobody.0, nobody.1).unwrap() {
//!         State::InForce => u8::from(nix::unistd::setuid(0.into()).is_err()),
//!         State::Unavailable(_) => 1,
//!     }
//! });
//! assert!(matches!(user, WaitStatus::Exited(_, 1)), "{user:?}");
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::{fmt, io, ptr};

use nix::errno::Errno;
use nix::libc::{self, c_long, sock_filter, sock_fprog};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};

/// Whether a part of the sandbox holds.
#[derive(Debug)]
#[must_use = "a part that is not in force protects nothing"]
pub enum State {
    /// From now on, for good.
    InForce,
    /// This kernel cannot do it, or does not let us; nothing has changed.
    Unavailable(io::Error),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::InForce => write!(f, "in force"),
            State::Unavailable(why) => write!(f, "unavailable: {why}"),
        }
    }
}

/// No exec gives this thread, or what it starts, more rights than it has: set-user-ID bits and file capabilities count no
/// more (`PR_SET_NO_NEW_PRIVS` of `prctl(2)`, Linux 3.5).
///
/// # Errors
/// EINVAL from an older kernel.
pub fn no_new_privileges() -> io::Result<()> {
    Ok(prctl::set_no_new_privs()?)
}

/// Makes this process, with all its threads, another user's: real, effective and saved, with no group but `group`.
///
/// Unavailable, with EPERM, to whoever is not root. A process whose user changed can be neither traced by its new user's
/// other processes nor dump core, until it runs another program.
///
/// # Errors
/// When it is in force in part only, or a way back is left open: then the process should end. The same for root as the
/// user to become, who gives nothing up.
pub fn become_user(user: Uid, group: Gid) -> io::Result<State> {
    if user.is_root() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "becoming root gives nothing up"));
    }
    match setgroups(&[group]) {
        Ok(()) => {}
        Err(error @ (Errno::EPERM | Errno::ENOSYS)) => return Ok(State::Unavailable(error.into())),
        Err(error) => return Err(error.into()),
    }
    setresgid(group, group, group)?;
    setresuid(user, user, user)?; // Last: from here on, none of this is allowed.
    let (users, groups) = (getresuid()?, getresgid()?);
    let changed = [users.real, users.effective, users.saved] == [user; 3]
        && [groups.real, groups.effective, groups.saved] == [group; 3]
        && getgroups()?.iter().all(|other| *other == group);
    // Asking is the proof: capabilities could have been kept, and whoever has them can go back.
    let can_return = setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok();
    if changed && !can_return {
        Ok(State::InForce)
    } else {
        Err(io::Error::other("the old user or group was not given up: there is a way back"))
    }
}

/// This thread can open and list what lies beneath these directories, and can open, make, change, run and remove no other
/// file; nor can it trace a process that is not as confined (Landlock, `landlock(7)`, Linux 5.13).
///
/// Older versions of Landlock leave some gaps, as the kernel's documentation lists: truncating is restricted from Linux
/// 6.2 on, device ioctls from 6.10 on. Reading metadata (`stat`) and changing owner or mode are not restricted by any.
/// Unavailable where the kernel has no Landlock (ENOSYS) or was started without it (EOPNOTSUPP).
///
/// # Errors
/// Of opening a directory; EPERM without `no_new_privileges`, unless root; E2BIG beyond 16 such layers.
pub fn read_only_beneath(directories: &[&Path]) -> io::Result<State> {
    // nix has no Landlock, and the C library has no wrappers for it: these are the bare system calls.
    // SAFETY: with this flag the kernel reads no attributes; it returns its version.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0, ASK_VERSION) };
    let version = match Errno::result(version) {
        Ok(version) => version,
        Err(error @ (Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPERM)) => return Ok(State::Unavailable(error.into())),
        Err(error) => return Err(error.into()),
    };
    let handled = handled_access(version);
    // SAFETY: the attributes are one number of eight bytes, which lives until the call returns.
    let rules = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of::<u64>(), 0) };
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    let rules = unsafe { OwnedFd::from_raw_fd(Errno::result(rules)? as i32) };
    for directory in directories {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let place = File::options().read(true).custom_flags(flags).open(directory)?;
        let rule = PathBeneath { allowed: READ_FILE | READ_DIRECTORY, parent: place.as_raw_fd() };
        // SAFETY: both descriptors are open, and the rule, which the kernel copies, lives until the call returns.
        let added = unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), RULE_PATH_BENEATH, &raw const rule, 0)
        };
        Errno::result(added)?;
    }
    // SAFETY: it takes two numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) })?;
    Ok(State::InForce)
}

/// What becomes of a system call that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// It fails with EPERM, and the program goes on.
    Refuse,
    /// The kernel ends the whole process, by SIGSYS.
    Kill,
}

/// This thread may make these system calls, by number (`libc::SYS_read`), with any arguments, and no other
/// (`seccomp(2)`, Linux 3.17).
///
/// A number means a call of this program's own architecture; another one's calls are not allowed. A Rust program needs
/// more calls than it shows: allocating takes `brk`, `mmap`, `munmap` and `mremap`, waiting for a lock `futex`, ending
/// `exit_group`, a handler's return `rt_sigreturn`. Unavailable without seccomp in the kernel, and on machines other than
/// x86-64 and 64-bit Arm.
///
/// # Errors
/// EACCES without `no_new_privileges`, unless root; EINVAL for more than some 2000 calls.
pub fn allow_only(calls: &[c_long], otherwise: Otherwise) -> io::Result<State> {
    let Some(architecture) = ARCHITECTURE else {
        return Ok(State::Unavailable(io::Error::other("the filter is not written for this architecture")));
    };
    let mut filter = filter(architecture, calls, otherwise);
    let length = u16::try_from(filter.len()).map_err(|_| io::Error::from(Errno::EINVAL))?;
    let program = sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // nix has no seccomp, and the C library no wrapper: this is the bare system call.
    // SAFETY: the program and its instructions live until the call returns; the kernel copies them.
    let installed = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    match Errno::result(installed) {
        Ok(_) => Ok(State::InForce),
        Err(error @ Errno::ENOSYS) => Ok(State::Unavailable(error.into())),
        Err(error) => Err(error.into()),
    }
}

// Landlock's numbers, as linux/landlock.h has them.
const ASK_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIRECTORY: u64 = 1 << 3;

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// All that this version of Landlock can forbid about files: asking for more would be refused.
fn handled_access(version: c_long) -> u64 {
    let rights = match version {
        ..=1 => 13,  // Execute, write, read, list, remove two ways, make seven ways.
        2 => 14,     // And move into another directory.
        3 | 4 => 15, // And truncate.
        _ => 16,     // And ioctl of devices.
    };
    (1 << rights) - 1
}

// The architecture's number in linux/audit.h. Calls of one machine have other numbers on another, and an x86-64 program can
// make a 32-bit machine's calls: a filter that does not ask whose number it sees lets those through.
const ARCHITECTURE: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(0xC000_003E)
} else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
    Some(0xC000_00B7)
} else {
    None
};

/// Load the architecture; is it ours? Load the number; is it this one: allow; is it that one: allow; ...; else not.
///
/// x86-64 has a second set of numbers (x32) for the same architecture; they begin at 2^30, so none is on the list.
fn filter(architecture: u32, calls: &[c_long], otherwise: Otherwise) -> Vec<sock_filter> {
    const NUMBER_AT: u32 = 0; // In `struct seccomp_data`.
    const ARCHITECTURE_AT: u32 = 4;
    let load = |from: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, from);
    let answer = |action: u32| statement(libc::BPF_RET | libc::BPF_K, action);
    // If equal, the next instruction, else one more is left out.
    let skip_unless =
        |value: u32| sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt: 0, jf: 1, k: value };
    let skip_if = |value: u32| sock_filter { jt: 1, jf: 0, ..skip_unless(value) };
    let mut filter =
        vec![load(ARCHITECTURE_AT), skip_if(architecture), answer(libc::SECCOMP_RET_KILL_PROCESS), load(NUMBER_AT)];
    for call in calls {
        filter.extend([skip_unless(*call as u32), answer(libc::SECCOMP_RET_ALLOW)]);
    }
    filter.push(answer(match otherwise {
        Otherwise::Refuse => libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        Otherwise::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    }));
    filter
}

fn statement(code: u32, value: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k: value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_no_user_to_become() {
        assert!(become_user(Uid::from_raw(0), Gid::from_raw(0)).is_err());
    }

    #[test]
    fn a_confined_thread_opens_nothing_and_its_parent_everything() {
        let confined = std::thread::spawn(|| {
            no_new_privileges().unwrap();
            let calls = [libc::SYS_write, libc::SYS_munmap, libc::SYS_madvise, libc::SYS_futex, libc::SYS_exit];
            let more = [libc::SYS_rt_sigprocmask, libc::SYS_sigaltstack, libc::SYS_mprotect];
            match allow_only(&[&calls[..], &more].concat(), Otherwise::Refuse).unwrap() {
                State::InForce => File::open("/dev/null").unwrap_err().raw_os_error() == Some(libc::EPERM),
                State::Unavailable(_) => true,
            }
        });
        assert!(confined.join().unwrap());
        File::open("/dev/null").unwrap();
    }

    /// What the kernel would do with a call: the few instructions that the filter is made of.
    fn decide(program: &[sock_filter], architecture: u32, number: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = program[at];
            match u32::from(step.code) & 7 {
                libc::BPF_LD => loaded = if step.k == 4 { architecture } else { number },
                libc::BPF_JMP => at += usize::from(if loaded == step.k { step.jt } else { step.jf }),
                _ => return step.k,
            }
            at += 1;
        }
    }

    #[test]
    fn a_filter_allows_the_calls_on_its_list_and_only_of_its_own_architecture() {
        let program = filter(7, &[40, 42], Otherwise::Refuse);
        let (kill, allow) = (libc::SECCOMP_RET_KILL_PROCESS, libc::SECCOMP_RET_ALLOW);
        let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        assert_eq!([40, 41, 42, 43].map(|number| decide(&program, 7, number)), [allow, refuse, allow, refuse]);
        assert_eq!([40, 41, 42, 43].map(|number| decide(&program, 8, number)), [kill; 4]);
        assert_eq!(decide(&program, 7, 40 + (1 << 30)), refuse); // The same number of the x32 set.
        assert_eq!(decide(&filter(7, &[40], Otherwise::Kill), 7, 41), kill);
    }
}
