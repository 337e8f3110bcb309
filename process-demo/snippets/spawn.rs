//! This program again, as a new process that plays a role and is handed descriptors.
//!
//! Needs: nix 0.31 (fs, process, signal)
//! Runs on: Linux
//! Instead: std::process::Command (command-fds for descriptors) for other programs; this one starts itself.
//!
//! Where a program with threads must not fork, it may do this, from any thread: `posix_spawn(3)` leaves no moment in which
//! the new process runs with a copy of this one's memory and locks. It is started by the link /proc/self/exe, so it is
//! this very program even if the file has been rebuilt or deleted since.
//!
//! Why not std's `Command` with `pre_exec`: what it calls runs between fork and exec, where nothing may allocate or lock; a
//! `dup2` there can hit the pipe by which `Command` learns of a failed exec, which then counts as a success; and the fork
//! copies page tables, the longer the more memory there is.
//!
//! What it does not do: end or limit what the new process itself starts. `wait` has no time-out: it waits for ever if
//! the process lives. SIGCHLD must not be ignored, and nobody else may wait for any child. A role that changes its user
//! outlives its parent. Whatever a role starts by other means inherits its SPAWNED_ROLE, and refuses if it asks for its
//! `role`. A descriptor above a limit (RLIMIT_NOFILE) that was lowered since slips in.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::io::Write;
//! use std::os::{fd::AsFd, unix::net::UnixStream};
//!
//! // First in `main`: is this the program as the user started it, or one of its roles?
//! if let Some(Role { name, descriptors }) = role().unwrap() {
//!     assert_eq!(name, "shout");
//!     let [from, to] = <[_; 2]>::try_from(descriptors).unwrap().map(UnixStream::from);
//!     let words = std::io::read_to_string(from).unwrap();
//!     return (&to).write_all(words.to_uppercase().as_bytes()).unwrap();
//! }
//! let ((their_mouth, mut listen), (their_ear, mut speak)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
//! // They arrive as 3 and 4, whatever they are here: most likely 5 and 3.
//! let handed = [their_ear.as_fd(), their_mouth.as_fd()];
//! let shouter = spawn("shout", &[], &handed, WithParent::End).unwrap();
//! drop((their_ear, their_mouth)); // While a copy is open here, nobody sees the end.
//! speak.write_all(b"hello").unwrap();
//! drop(speak);
//! assert_eq!(std::io::read_to_string(&mut listen).unwrap(), "HELLO");
//! assert!(shouter.wait().unwrap().success());
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::ffi::{CString, OsStr, OsString};
use std::mem::ManuallyDrop;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::{env, fs, io};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getpid, getppid};

/// What becomes of the new process when the thread that spawned it ends, or the whole process with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithParent {
    /// It is killed (PR_SET_PDEATHSIG), from the moment on in which it has called `role`.
    End,
    /// It lives on, as somebody else's child, if it has called `role` by then.
    LiveOn,
}

/// Starts this program again in the role, with these arguments after its name, and with this process's environment.
///
/// The descriptors arrive as 3, 4, ... in their order; of all others only 0, 1 and 2 do. (One that another thread opens in
/// this very moment, and not close-on-exec as the standard library does, may slip through.) Signals are as a program
/// expects them: none blocked, SIGPIPE not ignored.
///
/// # Errors
/// InvalidInput if the role or an argument holds a zero byte; EMFILE if there is no room for a copy of each descriptor; and
/// as for `posix_spawn(3)`: EAGAIN at the limit of processes, ENOMEM, E2BIG.
pub fn spawn(
    role: &str,
    arguments: &[&OsStr],
    descriptors: &[BorrowedFd<'_>],
    with_parent: WithParent,
) -> io::Result<Spawned> {
    let parent = getpid();
    // Which parent may call it so: the new process compares it with its own.
    let told = OsString::from(format!("{VARIABLE}={parent} {} {with_parent:?} {role}", descriptors.len()));
    let kept = env::vars_os().filter(|(name, _)| name != VARIABLE);
    let kept = kept.map(|(name, value)| [name, value].join("=".as_ref()));
    let environment = kept.chain([told]).map(to_c).collect::<io::Result<Vec<_>>>()?;
    let name = env::args_os().next().unwrap_or_default();
    let arguments = arguments.iter().map(|argument| OsString::from(*argument));
    let arguments = [name].into_iter().chain(arguments).map(to_c).collect::<io::Result<Vec<_>>>()?;

    // A descriptor may stand where another is to arrive. So each is copied to above all these places first.
    let above = FIRST + descriptors.len() as RawFd;
    let mut actions = PosixSpawnFileActions::init()?;
    let mut copies = Vec::with_capacity(descriptors.len()); // Close-on-exec, open until the new process has its own.
    for (place, descriptor) in (FIRST..).zip(descriptors) {
        let copy = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(above))?;
        // SAFETY: the kernel has just given this number to nobody else.
        copies.push(unsafe { OwnedFd::from_raw_fd(copy) });
        actions.add_dup2(copy, place)?; // The copy in its place is not close-on-exec.
    }
    for number in inheritable(above)? {
        actions.add_close(number)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)?;
    attributes.set_sigmask(&SigSet::empty())?; // Else it would inherit what this thread blocks,
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?; // and that every Rust program ignores SIGPIPE.
    let pid = posix_spawn(c"/proc/self/exe", &actions, &attributes, &arguments, &environment)?;
    Ok(Spawned { pid, parent })
}

/// What this process was spawned for.
#[derive(Debug)]
pub struct Role {
    /// As `spawn` was told it.
    pub name: String,
    /// In the order in which `spawn` was given them; close-on-exec again.
    pub descriptors: Vec<OwnedFd>,
}

/// The role in which `spawn` started this process; none if something else did. To be called first in `main`.
///
/// # Errors
/// Refused if the environment names a role, but not from this process's parent: the variable was set by hand, or it was
/// handed on to a program that was started in another way, or the parent is dead. Such a process must not go on as if the
/// user had started it: a role that started itself like that, again and again, would fill the machine. Refused also when
/// called a second time, since the descriptors are gone by then; and if one of them is not open.
pub fn role() -> io::Result<Option<Role>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);

    let Some(told) = env::var_os(VARIABLE) else { return Ok(None) };
    let told = told.into_string().map_err(|_| refused("it cannot be read"))?;
    let Some((parent, descriptors, with_parent, name)) = parse_role(&told) else {
        return Err(refused("it cannot be read"));
    };
    if with_parent == WithParent::End {
        set_pdeathsig(Signal::SIGKILL)?;
    }
    // After the request: a parent that died before it is no parent any more.
    if getppid() != parent {
        return Err(refused("it is not this process's parent that set it"));
    }
    // Relaxed: it publishes nothing, it only lets one caller through.
    if TAKEN.swap(true, Relaxed) {
        return Err(refused("the role was taken before"));
    }
    let take = |number: RawFd| {
        // SAFETY: borrowed for the check alone, which fails if nothing is open by that number.
        fcntl(unsafe { BorrowedFd::borrow_raw(number) }, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        // SAFETY: it is open. The parent, which is alive and set the variable, put it there for whoever takes the role, and
        // the flag lets only one take it.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    };
    let descriptors = (FIRST..FIRST + descriptors).map(take).collect::<io::Result<_>>()?;
    Ok(Some(Role { name: name.to_owned(), descriptors }))
}

const VARIABLE: &str = "SPAWNED_ROLE";
const FIRST: RawFd = 3; // After standard input, output and error.

fn parse_role(told: &str) -> Option<(Pid, RawFd, WithParent, &str)> {
    let mut words = told.splitn(4, ' ');
    let (parent, descriptors) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let with_parent = [WithParent::End, WithParent::LiveOn];
    let word = words.next()?;
    let with_parent = with_parent.into_iter().find(|variant| format!("{variant:?}") == word)?;
    Some((Pid::from_raw(parent), descriptors, with_parent, words.next()?))
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{VARIABLE} in the environment is refused: {why}"))
}

/// The open descriptors from this number on that would survive an exec: a shell's, or those of whatever made this process.
fn inheritable(from: RawFd) -> io::Result<Vec<RawFd>> {
    let entries = fs::read_dir("/proc/self/fd")?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let survives = |number: &RawFd| {
        // SAFETY: it only asks for a flag; a number that was closed in between gives an error, which has all bits set.
        *number >= from && unsafe { libc::fcntl(*number, libc::F_GETFD) } & libc::FD_CLOEXEC == 0
    };
    Ok(numbers.filter(survives).collect())
}

fn to_c(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}

/// A running process that was spawned; it is killed and reaped when this is dropped.
///
/// Its number stays its own because nobody else waits for it. So this process must not ignore SIGCHLD, and no other part of
/// it may wait for any child that comes, by `waitpid(-1)`: else the drop might kill a stranger.
#[derive(Debug)]
pub struct Spawned {
    pid: Pid,
    parent: Pid,
}

impl Spawned {
    /// Stays this process's until it has been waited for.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// ECHILD, if somebody else has reaped it (SIGCHLD is ignored, or another part waits for any child).
    pub fn wait(self) -> io::Result<ExitStatus> {
        let spawned = ManuallyDrop::new(self); // Once reaped, its number may be another's: nothing must kill that.
        exit_status(spawned.pid)
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // A process forked from this one has a copy of this handle; its drop must not end a sibling.
        if getpid() == self.parent {
            let _ = kill(self.pid, Signal::SIGKILL); // Not reaped yet, so the number is still its own.
            let _ = exit_status(self.pid);
        }
    }
}

fn exit_status(pid: Pid) -> io::Result<ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one number, which lives here.
        match Errno::result(unsafe { libc::waitpid(pid.as_raw(), &mut status, 0) }) {
            Ok(_) => return Ok(ExitStatus::from_raw(status)),
            Err(Errno::EINTR) => {} // A handler may interrupt the wait.
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, AsRawFd};
    use std::process::Command;

    const REPORT: &str = concat!(module_path!(), "::what_a_role_finds");

    /// The arguments by which this test program runs that one function again, which then plays a role.
    fn again() -> [&'static OsStr; 3] {
        let name = REPORT.split_once("::").unwrap().1; // Tests are named without their crate.
        ["--exact", "--nocapture", name].map(OsStr::new)
    }

    /// As a test it does nothing. In a role it tells by its last descriptor what it was given; refused, it fails.
    #[test]
    fn what_a_role_finds() {
        let Some(Role { name, descriptors }) = role().unwrap() else { return };
        assert!(role().is_err(), "a role can be taken once");
        let mut open: Vec<RawFd> = fs::read_dir("/proc/self/fd")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect();
        open.sort_unstable();
        open.pop(); // The directory's own: the last to be opened.
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let blocked = SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR1);
        let (last, others) = descriptors.split_last().unwrap();
        let read = |descriptor: &OwnedFd| io::read_to_string(fs::File::from(descriptor.try_clone().unwrap())).unwrap();
        let texts: Vec<String> = others.iter().map(read).collect();
        let report = format!("{name} {numbers:?} {open:?} {blocked} {texts:?}");
        fs::File::from(last.try_clone().unwrap()).write_all(report.as_bytes()).unwrap();
    }

    #[test]
    fn descriptors_arrive_in_their_order_and_no_others_in_a_program_with_threads() {
        SigSet::from(Signal::SIGUSR1).thread_block().unwrap();
        let (mut report, reporter) = io::pipe().unwrap();
        let file = |text: &str| {
            let (reader, mut writer) = io::pipe().unwrap();
            writer.write_all(text.as_bytes()).unwrap();
            reader
        };
        let (one, two) = (file("one"), file("two"));
        // Twice the same, and in an order that no numbering gives.
        let handed = [two.as_fd(), one.as_fd(), two.as_fd(), reporter.as_fd()];
        let spawned = spawn("tell", &again(), &handed, WithParent::End).unwrap();
        drop(reporter);
        let mut told = String::new();
        report.read_to_string(&mut told).unwrap();
        assert!(spawned.wait().unwrap().success(), "{told}");
        assert_eq!(told, r#"tell [3, 4, 5, 6] [0, 1, 2, 3, 4, 5, 6] false ["two", "one", ""]"#);
    }

    #[test]
    fn a_role_that_another_process_names_is_refused() {
        let mut command = Command::new("/proc/self/exe");
        command.args(again()).env(VARIABLE, format!("{} 0 End tell", getpid().as_raw() + 1));
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let says = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&says).contains("not this process's parent"));
    }

    #[test]
    fn a_spawned_process_is_gone_once_it_is_dropped() {
        let (gate, opener) = io::pipe().unwrap();
        let (_report, reporter) = io::pipe().unwrap();
        let spawned = spawn("wait", &again(), &[gate.as_fd(), reporter.as_fd()], WithParent::LiveOn).unwrap();
        let pid = spawned.pid();
        assert_eq!(kill(pid, None), Ok(())); // It waits for the end of the gate's pipe, which is open here.
        drop(spawned);
        assert_eq!(kill(pid, None), Err(Errno::ESRCH));
        drop(opener);
    }
}
