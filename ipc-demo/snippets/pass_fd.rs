//! Open files, sockets and memory handed to another process: descriptors over a Unix socket, whole batches or an error.
//!
//! Needs: nix 0.31 (socket, uio)
//! Runs on: Linux
//! Instead: command-fds to hand descriptors to a child at its start; this one is for processes that run.
//!
//! A descriptor is a number that means something to one process only. The kernel translates it on the way (SCM_RIGHTS,
//! see unix(7)): the receiver gets a number of its own for the same open file, with its offset, its flags and its locks.
//!
//! Each batch travels with one byte of the stream, its count, and the receiver reads exactly that byte. So batches and
//! ordinary bytes may take turns on one stream, as long as both sides agree whose turn it is; and a batch of which the
//! kernel delivered only a part (the receiver had too few descriptors left) is known by its count. Such a batch is an
//! error, and what did arrive of it is closed.
//!
//! What it does not do: look at what it passes: what comes from a stranger may be anything, and reading it may block.
//! It has no time-out but the socket's: it waits for ever if the other side lives and says nothing. A caught signal
//! does not end its waits. Two that receive from one socket take each other's batches. It is not for sockets with
//! SO_PASSCRED or SO_PASSPIDFD: large batches fail there, or a descriptor stays open.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::io::{Read, Write};
//! use std::os::fd::AsFd;
//! use std::os::unix::net::UnixStream;
//!
//! let (giver, taker) = UnixStream::pair()?;
//! let (from, to) = std::io::pipe()?;
//! send_fds(&giver, &[from.as_fd()])?;
//! drop(from); // The copy that is under way keeps the pipe open.
//!
//! let mut batch = receive_fds(&taker, 1)?.expect("the giver is still there");
//! let mut received = std::fs::File::from(batch.remove(0));
//! (&to).write_all(b"through the other one")?;
//! drop(to);
//! let mut text = String::new();
//! received.read_to_string(&mut text)?;
//! assert_eq!(text, "through the other one");
//!
//! drop(giver);
//! assert!(receive_fds(&taker, 1)?.is_none());
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// As many descriptors as the kernel lets one batch have (SCM_MAX_FD).
pub const MOST: usize = 253;

/// Sends copies of these descriptors, 1 to `MOST` of them, and one byte; blocks while the socket's buffer is full.
///
/// The caller keeps its own and may close them at once. Errors: `InvalidInput` for none or too many; ETOOMANYREFS if
/// more are under way already than this process may have open; `BrokenPipe` once nobody can receive them any more; and
/// what sendmsg(2) says.
pub fn send_fds(socket: &UnixStream, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let count = [fds.len() as u8];
    if fds.is_empty() || fds.len() > MOST {
        return Err(Error::new(ErrorKind::InvalidInput, format!("a batch has 1 to {MOST} descriptors")));
    }
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    loop {
        // One byte goes or does not go: there is no short count.
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&count)], &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for the next batch and returns all of it, 1 to `at_most` descriptors in the order in which they were sent; none
/// once the other end is gone. They close on exec from the moment they exist.
///
/// Errors, after each of which nothing of the batch is left open here: `InvalidData` if it has more than `at_most`, or
/// if the other side sent a byte without as many descriptors as it says; EMFILE if this process may not have so many;
/// and what recvmsg(2) says.
pub fn receive_fds(socket: &UnixStream, at_most: usize) -> Result<Option<Vec<OwnedFd>>> {
    let Some((count, truncated, received)) = receive_batch(socket)? else {
        return Ok(None);
    };
    if truncated {
        return Err(Error::from(Errno::EMFILE)); // There was room for `MOST`, so what was short is the table of files.
    }
    if received.is_empty() || received.len() != usize::from(count) {
        let says = format!("{} descriptors came with a byte that says {count}", received.len());
        return Err(Error::new(ErrorKind::InvalidData, says));
    }
    if received.len() > at_most {
        let says = format!("{} descriptors came where {at_most} are allowed", received.len());
        return Err(Error::new(ErrorKind::InvalidData, says));
    }
    Ok(Some(received))
}

// SAFETY: it only computes; it is marked unsafe for historical reasons.
const ROOM_BYTES: usize = unsafe { libc::CMSG_SPACE((MOST * size_of::<RawFd>()) as u32) } as usize;

/// The byte, whether the kernel left something out, and whatever arrived; none at the stream's end.
///
/// By recvmsg(2) itself: nix shows nothing of a truncated message, and what had arrived of it would stay open for ever.
fn receive_batch(socket: &UnixStream) -> Result<Option<(u8, bool, Vec<OwnedFd>)>> {
    let mut byte = 0u8;
    let mut bytes = libc::iovec { iov_base: ptr::from_mut(&mut byte).cast(), iov_len: 1 };
    let mut room = [0u64; ROOM_BYTES.div_ceil(size_of::<u64>())]; // Words: the headers in it must be aligned.
    // SAFETY: a header of zeros has no name, no bytes and no room, which is a valid one.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&mut bytes, 1);
    (header.msg_control, header.msg_controllen) = (room.as_mut_ptr().cast(), ROOM_BYTES as _);
    loop {
        // SAFETY: the header names one byte and the room, with their sizes; both outlive the call.
        match unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, libc::MSG_CMSG_CLOEXEC) } {
            0 => return Ok(None),
            1 => break,
            _ if Errno::last() == Errno::EINTR => {}
            _ => return Err(Error::last_os_error()),
        }
    }
    // SAFETY: the kernel has just filled the header and the room, and nobody else owns what it put there.
    let received = unsafe { owned_fds(&header) };
    Ok(Some((byte, header.msg_flags & libc::MSG_CTRUNC != 0, received)))
}

/// Every descriptor that the message brought.
///
/// # Safety
/// recvmsg has filled the header, its room is still there, and this is called once for it.
unsafe fn owned_fds(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut owned = Vec::new();
    // SAFETY: the kernel wrote whole headers, each with a length that is true even of a truncated one, so these macros
    // stay within the room; each number is a new descriptor that only this process has.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while !next.is_null() {
            let one = &*next;
            if (one.cmsg_level, one.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let count = (one.cmsg_len as usize - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                let numbers = libc::CMSG_DATA(next).cast::<RawFd>();
                owned.extend((0..count).map(|index| OwnedFd::from_raw_fd(numbers.add(index).read_unaligned())));
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
    owned
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write, pipe};
    use std::os::fd::AsFd;

    use super::*;

    fn flags_of(fd: &OwnedFd) -> u32 {
        let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        u32::from_str_radix(flags.trim(), 8).unwrap()
    }

    #[test]
    fn several_arrive_in_order_and_close_on_exec() {
        let (giver, taker) = UnixStream::pair().unwrap();
        let pipes = [pipe().unwrap(), pipe().unwrap(), pipe().unwrap()];
        let readers: Vec<_> = pipes.iter().map(|(reader, _)| reader.as_fd()).collect();
        send_fds(&giver, &readers).unwrap();
        let batch = receive_fds(&taker, 3).unwrap().unwrap();
        for (index, fd) in batch.into_iter().enumerate() {
            const O_CLOEXEC: u32 = 0o2000000; // As /proc shows it; the same on x86-64 and 64-bit Arm.
            assert_ne!(flags_of(&fd) & O_CLOEXEC, 0);
            (&pipes[index].1).write_all(&[index as u8]).unwrap();
            let mut byte = [9];
            File::from(fd).read_exact(&mut byte).unwrap();
            assert_eq!(byte, [index as u8]);
        }
    }

    #[test]
    fn the_largest_batch_arrives_whole() {
        let (giver, taker) = UnixStream::pair().unwrap();
        send_fds(&giver, &[giver.as_fd(); MOST]).unwrap();
        assert_eq!(receive_fds(&taker, MOST).unwrap().unwrap().len(), MOST);
    }

    #[test]
    fn none_and_too_many_are_refused() {
        let (giver, _taker) = UnixStream::pair().unwrap();
        for count in [0, MOST + 1] {
            let refused = send_fds(&giver, &vec![giver.as_fd(); count]).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn more_than_allowed_is_an_error_and_they_are_closed() {
        let (giver, taker) = UnixStream::pair().unwrap();
        let (reader, writer) = pipe().unwrap();
        send_fds(&giver, &[reader.as_fd(), reader.as_fd()]).unwrap();
        drop(reader);
        assert_eq!(receive_fds(&taker, 1).unwrap_err().kind(), ErrorKind::InvalidData);
        // Nobody can read any more: so every copy of the read end is closed.
        assert_eq!((&writer).write(&[0]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_byte_that_brings_fewer_than_it_says_is_an_error() {
        let (mut giver, taker) = UnixStream::pair().unwrap();
        giver.write_all(&[2]).unwrap();
        assert_eq!(receive_fds(&taker, MOST).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn bytes_and_batches_take_turns() {
        let (mut giver, mut taker) = UnixStream::pair().unwrap();
        giver.write_all(b"before").unwrap();
        send_fds(&giver, &[giver.as_fd()]).unwrap();
        giver.write_all(b"after").unwrap();
        let (mut before, mut after) = ([0; 6], [0; 5]);
        taker.read_exact(&mut before).unwrap();
        assert_eq!(receive_fds(&taker, 1).unwrap().unwrap().len(), 1);
        taker.read_exact(&mut after).unwrap();
        assert_eq!((&before, &after), (b"before", b"after"));
    }

    #[test]
    fn the_end_is_none_and_sending_to_nobody_an_error() {
        let (giver, taker) = UnixStream::pair().unwrap();
        drop(giver);
        assert!(receive_fds(&taker, 1).unwrap().is_none());
        assert_eq!(send_fds(&taker, &[taker.as_fd()]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
