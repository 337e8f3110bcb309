//! Typed messages between a process and its child, by ipc-channel.
//!
//! Needs: ipc-channel 0.23; serde 1
//! Runs on: Linux
//! Tests need: nix 0.31 (process)
//! Instead: ipc-channel itself for time-outs, sets of receivers and named servers; this one is for a fork.
//!
//! Each direction is a channel of its own: a Unix socket that keeps message boundaries, with the values encoded by
//! serde. After a fork both processes hold both ends. Each drops the other's first: while any copy of a sender is open,
//! its receiver never learns that nobody sends any more. Creating, sending and receiving start no thread
//! (ipc-channel's `ROUTER` does), so more forks may follow.
//!
//! What it does not do: tell a value that broke off from the end. A value larger than the socket's buffer goes in
//! pieces; who may be killed in the middle of one should know that. It has no time-out: it waits for ever if the other
//! side lives and says nothing. A signal handler without SA_RESTART interrupts either side. Without a free descriptor
//! ipc-channel panics where you would expect an error. Of serde, `flatten` and `untagged` are refused, and `skip` on a
//! variant mixes up the others.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::wait::{WaitStatus, waitpid};
//! use nix::unistd::{ForkResult, fork};
//!
//! let (ours, theirs) = typed_pair::<String, usize>()?;
//! // SAFETY: this process has one thread, so the child may allocate as well; it ends by _exit.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         drop(ours); // Else the child would hold open the very channel whose end it waits for.
//!         while let Ok(Some(word)) = theirs.receive() {
//!             let _ = theirs.send(word.len());
//!         }
//!         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
//!         unsafe { nix::libc::_exit(0) }
//!     }
//!     ForkResult::Parent { child } => {
//!         drop(theirs);
//!         ours.send("seven".to_owned())?;
//!         assert_eq!(ours.receive()?, Some(5));
//!         drop(ours); // The child learns that nobody sends any more, and ends.
//!         assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 0));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io;

use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcReceiver, IpcSender, channel};
use serde::{Deserialize, Serialize};

/// One end: it sends values of one type and receives those of another.
#[derive(Debug)]
pub struct TypedEnd<Sent, Received> {
    to: IpcSender<Sent>,
    from: IpcReceiver<Received>,
}

/// Two connected ends. Their descriptors close on exec. Errors: what socketpair(2) says, EMFILE and ENFILE among them.
#[allow(clippy::type_complexity)] // The two ends are mirror images, and their types say so.
pub fn typed_pair<A, B>() -> io::Result<(TypedEnd<A, B>, TypedEnd<B, A>)>
where
    A: Serialize + for<'de> Deserialize<'de>,
    B: Serialize + for<'de> Deserialize<'de>,
{
    let (to_second, from_first) = channel()?;
    let (to_first, from_second) = channel()?;
    Ok((TypedEnd { to: to_second, from: from_second }, TypedEnd { to: to_first, from: from_first }))
}

impl<Sent, Received> TypedEnd<Sent, Received>
where
    Sent: Serialize + for<'de> Deserialize<'de>,
    Received: Serialize + for<'de> Deserialize<'de>,
{
    /// Sends one value; blocks while the socket's buffer is full.
    ///
    /// Errors: `SerializationError` if serde refuses the value; `Io` with EPIPE or ECONNRESET once nobody can receive
    /// it any more, and with EINTR if a signal handler without SA_RESTART ran while the buffer was full: the value was
    /// not sent then, and if it goes in pieces, the other side gets none in its place.
    ///
    /// A value larger than the buffer keeps this waiting for ever if its receiver dies in the middle: while it is sent,
    /// this process holds the receiving end of its pieces too.
    pub fn send(&self, value: Sent) -> Result<(), IpcError> {
        self.to.send(value)
    }

    /// Waits for the next value; none once all copies of the other end's sender are gone, and also if the sender died,
    /// or gave up, in the middle of a value that goes in pieces.
    ///
    /// Errors: `SerializationError` if the bytes are no such value; `Io` with what recvmsg(2) says: EINTR if a signal
    /// handler without SA_RESTART ran meanwhile. This does not wait again then, for of a value that goes in pieces some
    /// may have been taken already: it is lost, and the next call would return the one after it.
    pub fn receive(&self) -> Result<Option<Received>, IpcError> {
        match self.from.recv() {
            Ok(value) => Ok(Some(value)),
            Err(IpcError::Disconnected) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_arrive_in_order_and_typed() {
        let (ours, theirs) = typed_pair::<(u32, String), Vec<u8>>().unwrap();
        ours.send((1, "one".to_owned())).unwrap();
        ours.send((2, "two".to_owned())).unwrap();
        assert_eq!(theirs.receive().unwrap(), Some((1, "one".to_owned())));
        assert_eq!(theirs.receive().unwrap(), Some((2, "two".to_owned())));
        theirs.send(vec![3, 4]).unwrap();
        assert_eq!(ours.receive().unwrap(), Some(vec![3, 4]));
    }

    #[test]
    fn what_was_sent_before_the_end_still_arrives() {
        let (ours, theirs) = typed_pair::<u32, u32>().unwrap();
        ours.send(7).unwrap();
        drop(ours);
        assert_eq!(theirs.receive().unwrap(), Some(7));
        assert_eq!(theirs.receive().unwrap(), None);
    }

    #[test]
    fn sending_to_nobody_is_an_error() {
        let (ours, theirs) = typed_pair::<u32, u32>().unwrap();
        drop(theirs);
        assert!(matches!(ours.send(7), Err(IpcError::Io(_))));
    }
}
