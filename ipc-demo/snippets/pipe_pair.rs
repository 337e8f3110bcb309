//! A two-way channel made of two pipes, one for each direction.
//!
//! Needs: std
//! Runs on: Linux
//! Tests need: nix 0.31 (process)
//! Instead: std::process::Command with piped Stdio to talk with a program; this one is for a fork.
//!
//! A pipe carries bytes one way and keeps no message boundaries, so both sides agree on the size of each message. After
//! a fork both processes hold both ends. Each drops the other's first: while any copy of a write end is open, its
//! reader never sees the end.
//!
//! What it does not do: let itself be polled, or send and receive at once in two threads. It has no time-out: it waits
//! for ever if the other side lives and says nothing. A caught signal does not end its waits. To receive no bytes
//! succeeds even if the other end is gone.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::wait::{WaitStatus, waitpid};
//! use nix::unistd::{ForkResult, fork};
//!
//! let (mut ours, mut theirs) = pipe_pair()?;
//! // SAFETY: this process has one thread, and the child only reads, writes and exits.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         drop(ours); // Else the child would hold open the very pipe whose end it waits for.
//!         let mut byte = [0];
//!         while let Ok(true) = theirs.receive(&mut byte) {
//!             let _ = theirs.send(&[byte[0] + 1]);
//!         }
//!         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
//!         unsafe { nix::libc::_exit(0) }
//!     }
//!     ForkResult::Parent { child } => {
//!         drop(theirs);
//!         let mut byte = [0];
//!         ours.send(&[41])?;
//!         assert!(ours.receive(&mut byte)?);
//!         assert_eq!(byte, [42]);
//!         drop(ours); // The child sees the end, and ends.
//!         assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 0));
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Result, Write, pipe};

/// One end of the channel: what it sends, the other end receives.
///
/// The kernel holds some bytes for each direction (65536 by default, see pipe(7)). Two ends that both send more than
/// that before they receive wait for each other for ever.
#[derive(Debug)]
pub struct PipeEnd {
    from: PipeReader,
    to: PipeWriter,
}

/// Two connected ends. Their descriptors close on exec. Errors: what pipe(2) says, EMFILE and ENFILE among them.
pub fn pipe_pair() -> Result<(PipeEnd, PipeEnd)> {
    let (from_second, to_first) = pipe()?;
    let (from_first, to_second) = pipe()?;
    Ok((PipeEnd { from: from_second, to: to_second }, PipeEnd { from: from_first, to: to_first }))
}

impl PipeEnd {
    /// Sends all bytes; blocks while the pipe is full. A program in which SIGPIPE is ignored, as Rust's start-up does,
    /// gets the error `BrokenPipe` once nobody can receive any more; another one is killed.
    pub fn send(&mut self, message: &[u8]) -> Result<()> {
        self.to.write_all(message)
    }

    /// Fills the whole message; blocks until it is there. False if the other end is gone and sent nothing more;
    /// the error `UnexpectedEof` if it went in the middle of a message.
    pub fn receive(&mut self, message: &mut [u8]) -> Result<bool> {
        read_whole(&mut self.from, message)
    }
}

/// Fills the whole buffer; false if the stream ended before its first byte.
fn read_whole(from: &mut impl Read, buffer: &mut [u8]) -> Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {} // A signal came; nothing was read.
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::thread;

    use super::*;

    #[test]
    fn a_message_goes_each_way() {
        let (mut ours, mut theirs) = pipe_pair().unwrap();
        let mut message = [0; 5];
        ours.send(b"there").unwrap();
        assert!(theirs.receive(&mut message).unwrap());
        assert_eq!(&message, b"there");
        theirs.send(b"again").unwrap();
        assert!(ours.receive(&mut message).unwrap());
        assert_eq!(&message, b"again");
    }

    #[test]
    fn a_message_larger_than_the_pipe_arrives_whole() {
        let (mut ours, mut theirs) = pipe_pair().unwrap();
        let sent: Vec<u8> = (0..1_000_000).map(|index| (index % 251) as u8).collect();
        let copy = sent.clone();
        let sender = thread::spawn(move || ours.send(&copy).unwrap());
        let mut received = vec![0; sent.len()];
        assert!(theirs.receive(&mut received).unwrap());
        sender.join().unwrap();
        assert!(received == sent);
    }

    #[test]
    fn the_end_between_messages_is_no_error() {
        let (mut ours, mut theirs) = pipe_pair().unwrap();
        ours.send(&[1, 2]).unwrap();
        drop(ours);
        assert!(theirs.receive(&mut [0; 2]).unwrap());
        assert!(!theirs.receive(&mut [0; 2]).unwrap());
    }

    #[test]
    fn the_end_within_a_message_is_an_error() {
        let (mut ours, mut theirs) = pipe_pair().unwrap();
        ours.send(&[1]).unwrap();
        drop(ours);
        assert_eq!(theirs.receive(&mut [0; 2]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn sending_to_nobody_is_an_error() {
        let (mut ours, theirs) = pipe_pair().unwrap();
        drop(theirs);
        assert_eq!(ours.send(&[1]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn the_descriptors_close_on_exec() {
        const O_CLOEXEC: u32 = 0o2000000; // As /proc shows it; the same on x86-64 and 64-bit Arm.
        let (ours, _theirs) = pipe_pair().unwrap();
        for fd in [ours.from.as_raw_fd(), ours.to.as_raw_fd()] {
            let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
            let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            assert_ne!(u32::from_str_radix(flags.trim(), 8).unwrap() & O_CLOEXEC, 0);
        }
    }
}
