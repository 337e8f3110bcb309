//! Who is this thread: its ids, where its stack lies, and where it sleeps.
//!
//! Needs: nix 0.31 (process)
//! Runs on: Linux
//! Instead: std::thread::current().id() to tell threads apart, procfs for the threads of other processes.
//!
//! What it does not do: stay true. Once a thread has ended, its ids may be another's. It does not survive a fork: the
//! child has ids of its own. `registers` tells nothing of a thread that runs, nor of another process's.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! let own = ThreadIdentity::of_caller()?;
//! let other = std::thread::spawn(ThreadIdentity::of_caller).join().unwrap()?;
//! assert_eq!(own.pid, other.pid);
//! assert_ne!(own.tid, other.tid);
//! let local = 0_u8;
//! assert!(own.stack.contains(&std::ptr::from_ref(&local).addr()));
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.
#![allow(unsafe_code)] // Only the C library knows where a thread's stack lies: it made it.

use std::fs::{DirEntry, read_dir};
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Pid, getpid, gettid};

/// What tells one thread from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadIdentity {
    /// The process: the same in all its threads.
    pub pid: Pid,
    /// The thread; the first one's equals the pid.
    pub tid: Pid,
    /// The addresses of its stack, without the guard page below. The first thread's may still grow down to the start.
    pub stack: Range<usize>,
}

impl ThreadIdentity {
    /// The identity of the thread that calls. The error is the C library's (ENOMEM).
    pub fn of_caller() -> io::Result<ThreadIdentity> {
        Ok(ThreadIdentity { pid: getpid(), tid: gettid(), stack: stack_of_caller()? })
    }
}

/// The ids of all threads that this process has now, from /proc/self/task, in no particular order.
pub fn tids() -> io::Result<Vec<Pid>> {
    let tid_of = |entry: io::Result<DirEntry>| {
        let name = entry?.file_name();
        Ok(Pid::from_raw(name.to_string_lossy().parse().map_err(io::Error::other)?))
    };
    read_dir("/proc/self/task")?.map(tid_of).collect()
}

/// Where a thread stands while it sleeps in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// The address of its innermost frame.
    pub stack_pointer: usize,
    /// The address of the instruction with which it will go on.
    pub program_counter: usize,
}

/// The registers of a thread of this process that sleeps, from /proc/self/task/TID/syscall (proc(5)); none while it
/// runs. The error is the kernel's: ENOENT if the thread has ended or the kernel has no such file, EPERM if it is
/// forbidden.
pub fn registers(tid: Pid) -> io::Result<Option<Registers>> {
    let line = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall"))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [.., stack_pointer, program_counter] = words[..] else { return Ok(None) };
    let address = |word: &str| usize::from_str_radix(word.trim_start_matches("0x"), 16).map_err(io::Error::other);
    Ok(Some(Registers { stack_pointer: address(stack_pointer)?, program_counter: address(program_counter)? }))
}

/// nix has no pthread_getattr_np (see pthread_getattr_np(3)).
fn stack_of_caller() -> io::Result<Range<usize>> {
    let check = |code| if code == 0 { Ok(()) } else { Err(io::Error::from(Errno::from_raw(code))) };
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut low, mut size_bytes) = (ptr::null_mut(), 0);
    // SAFETY: pthread_self names a live thread, the caller; the call initialises the attributes if it returns 0.
    check(unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) })?;
    // SAFETY: the attributes were initialised above, and the two others are places of the right type.
    let code = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size_bytes) };
    // SAFETY: initialised above, and used for the last time.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    check(code)?;
    Ok(low.addr()..low.addr() + size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::sync::Barrier;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn living_threads_share_the_pid_and_nothing_else() {
        let all_live = Barrier::new(3);
        let identify = || {
            let identity = ThreadIdentity::of_caller().unwrap();
            let local = 0_u8;
            assert!(identity.stack.contains(&ptr::from_ref(&local).addr()));
            all_live.wait(); // A thread that has ended may hand its tid and its stack to the next.
            identity
        };
        let found: Vec<ThreadIdentity> = thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(identify)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (index, one) in found.iter().enumerate() {
            for other in &found[..index] {
                assert_eq!(one.pid, other.pid);
                assert_ne!(one.tid, other.tid);
                assert!(one.stack.end <= other.stack.start || other.stack.end <= one.stack.start);
            }
        }
    }

    #[test]
    fn the_caller_is_among_the_threads() {
        assert!(tids().unwrap().contains(&gettid()));
    }

    #[test]
    fn a_sleeper_stands_on_its_own_stack() {
        let (tell, told) = channel();
        let (_never_sends, never_sent) = channel::<()>();
        thread::spawn(move || {
            tell.send(ThreadIdentity::of_caller().unwrap()).unwrap();
            never_sent.recv()
        });
        let sleeper = told.recv().unwrap();
        loop {
            match registers(sleeper.tid) {
                Ok(Some(found)) => return assert!(sleeper.stack.contains(&found.stack_pointer), "{found:x?}"),
                Ok(None) => thread::yield_now(), // On its way.
                Err(error) => {
                    return assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied));
                }
            }
        }
    }
}
