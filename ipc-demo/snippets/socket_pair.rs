//! A two-way byte stream on one descriptor per side: a pair of connected Unix sockets.
//!
//! Needs: std
//! Runs on: Linux
//! Tests need: nix 0.31 (process)
//! Instead: std::os::unix::net::UnixStream::pair for time-outs, polling, or two threads at one end.
//!
//! The stream keeps no message boundaries, so both sides agree on the size of each message. After a fork both processes
//! hold both ends. Each drops the other's first: while any copy of an end is open, the other side never sees it close.
//! A side that has no more to send can say so and still receive.
//!
//! What it does not do: let itself be polled, or send and receive at once in two threads. It has no time-out: it waits
//! for ever if the other side lives and says nothing. A caught signal does not end its waits. To receive no bytes
//! succeeds even if the other end is gone.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::wait::{WaitStatus, waitpid};
//! use nix::unistd::{ForkResult, fork};
//!
//! let (mut ours, mut theirs) = socket_pair()?;
//! // SAFETY: this process has one thread, and the child only reads, writes and exits.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         drop(ours); // Else the child would hold open the very socket whose end it waits for.
//!         let (mut sum, mut byte) = (0, [0]);
//!         while let Ok(true) = theirs.receive(&mut byte) {
//!             sum += byte[0];
//!         }
//!         let told = theirs.send(&[sum]);
//!         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
//!         unsafe { nix::libc::_exit(i32::from(told.is_err())) }
//!     }
//!     ForkResult::Parent { child } => {
//!         drop(theirs);
//!         ours.send(&[20, 22])?;
//!         ours.finish_sending()?; // The child sees the end; the way back stays open.
//!         let mut sum = [0];
//!         assert!(ours.receive(&mut sum)?);
//!         assert_eq!(sum, [42]);
//!         assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 0));
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// One end of the stream: what it sends, the other end receives.
///
/// The kernel holds some bytes for each direction. Two ends that both send more than that before they receive wait for
/// each other for ever.
#[derive(Debug)]
pub struct SocketEnd {
    stream: UnixStream,
}

/// Two connected ends. Their descriptors close on exec, and they have no name in the file system. Errors: what
/// socketpair(2) says, EMFILE and ENFILE among them.
pub fn socket_pair() -> Result<(SocketEnd, SocketEnd)> {
    let (first, second) = UnixStream::pair()?;
    Ok((SocketEnd { stream: first }, SocketEnd { stream: second }))
}

impl SocketEnd {
    /// Sends all bytes; blocks while the buffer is full. The error `BrokenPipe` once nobody can receive any more, or
    /// `ConnectionReset` if the other end goes while this waits for room. Before Rust 1.90 the first comes with
    /// SIGPIPE, which kills a program that does not ignore it; Rust's start-up ignores it.
    pub fn send(&mut self, message: &[u8]) -> Result<()> {
        self.stream.write_all(message)
    }

    /// Fills the whole message; blocks until it is there. False if the other end is gone, or has finished, and sent
    /// nothing more; the error `UnexpectedEof` if that happened in the middle of a message; the error
    /// `ConnectionReset` if the other end went with something of ours unread.
    pub fn receive(&mut self, message: &mut [u8]) -> Result<bool> {
        read_whole(&mut self.stream, message)
    }

    /// Tells the other end that no more will come; receiving goes on. Errors: what shutdown(2) says.
    pub fn finish_sending(&self) -> Result<()> {
        self.stream.shutdown(Shutdown::Write)
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
    use std::thread;

    use super::*;

    #[test]
    fn a_message_goes_each_way() {
        let (mut ours, mut theirs) = socket_pair().unwrap();
        let mut message = [0; 5];
        ours.send(b"there").unwrap();
        assert!(theirs.receive(&mut message).unwrap());
        assert_eq!(&message, b"there");
        theirs.send(b"again").unwrap();
        assert!(ours.receive(&mut message).unwrap());
        assert_eq!(&message, b"again");
    }

    #[test]
    fn a_message_larger_than_the_buffer_arrives_whole() {
        let (mut ours, mut theirs) = socket_pair().unwrap();
        let sent: Vec<u8> = (0..1_000_000).map(|index| (index % 251) as u8).collect();
        let copy = sent.clone();
        let sender = thread::spawn(move || ours.send(&copy).unwrap());
        let mut received = vec![0; sent.len()];
        assert!(theirs.receive(&mut received).unwrap());
        sender.join().unwrap();
        assert!(received == sent);
    }

    #[test]
    fn the_end_within_a_message_is_an_error() {
        let (mut ours, mut theirs) = socket_pair().unwrap();
        ours.send(&[1]).unwrap();
        drop(ours);
        assert_eq!(theirs.receive(&mut [0; 2]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_end_that_goes_while_another_waits_for_room_resets_it() {
        let (mut ours, theirs) = socket_pair().unwrap();
        ours.stream.set_nonblocking(true).unwrap();
        while ours.send(&[0]).is_ok() {} // Until there is no room.
        ours.stream.set_nonblocking(false).unwrap();
        let sender = thread::spawn(move || ours.send(&[0]).unwrap_err().kind());
        drop(theirs); // The sender waits, or comes only now and finds nobody.
        assert!(matches!(sender.join().unwrap(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
    }

    #[test]
    fn who_finished_sending_still_receives() {
        let (mut ours, mut theirs) = socket_pair().unwrap();
        ours.finish_sending().unwrap();
        assert!(!theirs.receive(&mut [0]).unwrap());
        theirs.send(&[7]).unwrap();
        let mut byte = [0];
        assert!(ours.receive(&mut byte).unwrap());
        assert_eq!(byte, [7]);
        assert_eq!(ours.send(&[1]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
