//! Starting a thread (two calls) or a process (five calls), and waiting for its end.
//!
//! Needs: nix 0.31 (process, sched, signal)
//! Runs on: Linux
//! Instead: std::thread and std::process::Command for work; this one compares seven kinds of start.
//!
//! Each function can be called from any thread: between fork and exec or exit, the child calls nothing that needs a lock
//! or memory.
//!
//! What it does not do: run work of yours: what is started does nothing but end with a value, which proves that it ran.
//! It has no time-out: it waits for ever for a program that does not end. SIGCHLD must not be ignored, and nobody else
//! may wait for any child. What it has started outlives its death.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! assert_eq!(thread(7).unwrap(), 7);
//! assert_eq!(fork(7).unwrap(), 7);
//! if let Some(program) = find("true") {
//!     assert_eq!(posix_spawn(&program).unwrap(), 0);
//! }
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::{env, fs, io, ptr};

use nix::errno::Errno;
use nix::libc::{self, c_void};
use nix::sched::{CloneFlags, clone};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

/// A thread by the standard library; returns the value that the thread returned.
///
/// # Errors
/// EAGAIN when there may be no further thread.
pub fn thread(value: u8) -> io::Result<u8> {
    let worker = std::thread::Builder::new().spawn(move || value)?;
    Ok(worker.join().unwrap())
}

/// A thread by `pthread_create(3)`, with its default attributes; returns the value that the thread returned.
///
/// # Errors
/// EAGAIN when there may be no further thread.
pub fn pthread(value: u8) -> io::Result<u8> {
    extern "C" fn give_back(value: *mut c_void) -> *mut c_void {
        value
    }
    let mut worker = 0;
    let argument = ptr::without_provenance_mut(value.into());
    // SAFETY: the thread borrows nothing: the value travels inside the pointer, which nobody follows.
    check(unsafe { libc::pthread_create(&mut worker, ptr::null(), give_back, argument) })?;
    let mut returned = ptr::null_mut();
    // SAFETY: the thread was just created, is joinable by default, and is joined once.
    check(unsafe { libc::pthread_join(worker, &mut returned) })?;
    Ok(returned.addr() as u8)
}

/// A process that is a copy of this one; returns its exit code.
///
/// # Errors
/// EAGAIN when there may be no further process, ENOMEM when there is no room for the copy.
pub fn fork(value: u8) -> io::Result<u8> {
    // SAFETY: the child only exits; `_exit` is async-signal-safe.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => exit_code(child),
        // SAFETY: it ends the child without running anything of it.
        ForkResult::Child => unsafe { libc::_exit(value.into()) },
    }
}

/// A new process with a program, by `posix_spawn(3)`; returns the program's exit code.
///
/// The program gets no arguments and no environment; this holds for the two below as well.
///
/// # Errors
/// ENOENT when there is no such program, and as for `fork`.
pub fn posix_spawn(program: &CStr) -> io::Result<u8> {
    let (actions, attributes) = (PosixSpawnFileActions::init()?, PosixSpawnAttr::init()?);
    let no_environment: [&CStr; 0] = [];
    exit_code(nix::spawn::posix_spawn(program, &actions, &attributes, &[program], &no_environment)?)
}

/// A copy of this process that becomes the program at once; returns the program's exit code, 127 if it could not run.
///
/// # Errors
/// As for `fork`.
pub fn fork_and_exec(program: &CStr) -> io::Result<u8> {
    let arguments = [program.as_ptr(), ptr::null()];
    let no_environment = [ptr::null()];
    // SAFETY: the child only calls `execve`, whose arguments are ready, and `_exit`; both are async-signal-safe.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => exit_code(child),
        // SAFETY: both lists end with a null pointer, and their strings are this function's to lend.
        ForkResult::Child => unsafe {
            libc::execve(program.as_ptr(), arguments.as_ptr(), no_environment.as_ptr());
            libc::_exit(NOT_RUN) // Only reached if the program could not be run.
        },
    }
}

/// A new process that borrows this one's memory until it becomes the program, by `clone(2)` as `vfork(2)` does it;
/// returns the program's exit code, 127 if it could not run.
///
/// The calling thread stands still until then, so nothing is copied, however much memory there is. `posix_spawn(3)` and
/// std's `Command` do the same inside, and take care of signal handlers: use one of those.
///
/// # Errors
/// EAGAIN when there may be no further process.
///
/// # Safety
/// A signal handler of this process may run in the child, on this process's memory, while the calling thread stands
/// still. Every handler that is installed must bear that.
pub unsafe fn vfork_and_exec(program: &CStr) -> io::Result<u8> {
    let mut stack = [0; 16 << 10]; // Of the child: it makes two calls.
    let arguments = [program.as_ptr(), ptr::null()];
    let become_it = || -> isize {
        let no_environment = [ptr::null()];
        // SAFETY: both lists end with a null pointer, and their strings live on: the parent stands still meanwhile.
        unsafe {
            libc::execve(program.as_ptr(), arguments.as_ptr(), no_environment.as_ptr());
            libc::_exit(NOT_RUN) // Only reached if the program could not be run.
        }
    };
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: the child has a stack of its own, calls only `execve` and `_exit`, and writes nothing but errno; the
    // parent continues, and frees the stack, after that.
    let child = unsafe { clone(Box::new(become_it), &mut stack, flags, Some(libc::SIGCHLD)) }?;
    exit_code(child)
}

/// A new process with a program, by the standard library's `Command`; returns the program's exit code.
///
/// # Errors
/// ENOENT when there is no such program, and as for `fork`.
pub fn command(program: &CStr) -> io::Result<u8> {
    let status = Command::new(OsStr::from_bytes(program.to_bytes())).env_clear().status()?;
    status.code().map(|code| code as u8).ok_or_else(|| io::Error::other(status.to_string()))
}

/// The path of the first program of that name in `PATH`.
pub fn find(name: &str) -> Option<CString> {
    let is_program = |path: &std::path::PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let path = env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(is_program)?;
    CString::new(path.into_os_string().into_vec()).ok()
}

const NOT_RUN: i32 = 127; // What a shell exits with for a program that it did not find.

fn exit_code(pid: Pid) -> io::Result<u8> {
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code as u8),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Err(io::Error::other(format!("ended by {signal}"))),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// pthread functions return their error; they leave errno alone.
fn check(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_and_a_copy_give_the_value_back() {
        for value in [0, 1, 7, 255] {
            assert_eq!(thread(value).unwrap(), value);
            assert_eq!(pthread(value).unwrap(), value);
            assert_eq!(fork(value).unwrap(), value);
        }
    }

    #[test]
    fn a_program_gives_its_exit_code() {
        for (name, code) in [("true", 0), ("false", 1)] {
            let program = find(name).unwrap();
            assert_eq!(posix_spawn(&program).unwrap(), code);
            assert_eq!(fork_and_exec(&program).unwrap(), code);
            assert_eq!(command(&program).unwrap(), code);
            // SAFETY: the tests install no signal handler; the runtime's own are for faults, which the child has none of.
            assert_eq!(unsafe { vfork_and_exec(&program) }.unwrap(), code);
        }
    }

    #[test]
    fn a_program_that_does_not_exist_is_told() {
        let nothing = c"/nothing/of/this/name";
        assert_eq!(posix_spawn(nothing).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(command(nothing).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(fork_and_exec(nothing).unwrap(), 127);
        // SAFETY: as above.
        assert_eq!(unsafe { vfork_and_exec(nothing) }.unwrap(), 127);
        assert_eq!(find("nothing of this name"), None);
    }
}
