//! Who is on the other end of a Unix socket: the kernel's answer, and how far to trust it.
//!
//! Needs: nix 0.31 (poll, process, socket, user)
//! Runs on: Linux
//! Instead: tokio::net::UnixStream::peer_cred in an asynchronous program, if user and process id are enough.
//!
//! The kernel notes the process, user and group when a connection is made (SO_PEERCRED, see unix(7)); the other side
//! cannot lie about them. But they are of that moment:
//!
//! - A process id names nobody for long. Once that process has ended, the number may be another's. So the process is
//!   held by a descriptor as well (SO_PEERPIDFD, since Linux 6.5), which never names another one.
//! - The user does not change under you, so decide by the user, and use the process id for messages to people.
//!
//! What it does not do: tell who holds the socket now. It names who called connect, listen or socketpair; the socket
//! may have been inherited by a child since, or handed over, and both ends of a socket pair name the process that made
//! it. In a user namespace without a mapping every user is 65534, this process's own too: do not decide by the user
//! there.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::io::Read;
//! use std::os::unix::net::{UnixListener, UnixStream};
//! use nix::sys::wait::{WaitStatus, waitpid};
//! use nix::unistd::{ForkResult, fork, geteuid};
//!
//! let path = std::env::temp_dir().join(format!("peer-example-{}", std::process::id()));
//! let listener = UnixListener::bind(&path)?;
//! // SAFETY: this process has one thread, and the child only connects, reads and exits.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         let read = UnixStream::connect(&path).and_then(|mut socket| socket.read(&mut [0]));
//!         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
//!         unsafe { nix::libc::_exit(i32::from(read.is_err())) }
//!     }
//!     ForkResult::Parent { child } => {
//!         let (socket, _) = listener.accept()?;
//!         std::fs::remove_file(&path)?;
//!         let peer = Peer::of(&socket)?;
//!         assert_eq!((peer.process_id, peer.user), (child, geteuid()));
//!         assert_ne!(peer.has_ended()?, Some(true));
//!         drop(socket); // The child reads the end, and ends.
//!         assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 0));
//!         assert_ne!(peer.has_ended()?, Some(false)); // None before Linux 6.5.
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io::Result;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use nix::unistd::{Gid, Pid, Uid};

/// Who made the other end, at the moment of the connection.
#[derive(Debug)]
pub struct Peer {
    /// Zero if that process is not to be seen from this pid namespace.
    pub process_id: Pid,
    /// Its effective user.
    pub user: Uid,
    /// Its effective group, without the further ones that its user may be in.
    pub group: Gid,
    process: Option<OwnedFd>,
}

impl Peer {
    /// Asks the kernel. Errors: what getsockopt(2) says.
    pub fn of(socket: &UnixStream) -> Result<Peer> {
        let process = match getsockopt(socket, PeerPidfd) {
            Ok(process) => Some(process),
            Err(Errno::ENOPROTOOPT) => None, // Before Linux 6.5.
            Err(Errno::EINVAL | Errno::ESRCH | Errno::ENODATA) => None, // That process has been reaped already.
            Err(error) => return Err(error.into()),
        };
        let noted = getsockopt(socket, PeerCredentials)?;
        let (user, group) = (Uid::from_raw(noted.uid()), Gid::from_raw(noted.gid()));
        Ok(Peer { process_id: Pid::from_raw(noted.pid()), user, group, process })
    }

    /// Whether that very process has ended, whoever bears its number now; none where the kernel gives no descriptor of
    /// it. Somebody else may hold the socket still. Errors: what poll(2) says.
    pub fn has_ended(&self) -> Result<Option<bool>> {
        let Some(process) = &self.process else { return Ok(None) };
        let mut watched = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        while let Err(error) = poll(&mut watched, PollTimeout::ZERO) {
            // It only looks, and a signal that comes in this very moment interrupts it all the same.
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        Ok(Some(watched[0].any() == Some(true))) // Readable once the process has ended, or is gone.
    }

    /// The descriptor of that process: to poll for its end, or to signal it (pidfd_send_signal).
    pub fn process(&self) -> Option<&OwnedFd> {
        self.process.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use nix::unistd::{getegid, geteuid, getpid};

    use super::*;

    #[test]
    fn both_ends_of_a_pair_name_the_process_that_made_it() {
        let (one, other) = UnixStream::pair().unwrap();
        for end in [one, other] {
            let peer = Peer::of(&end).unwrap();
            assert_eq!((peer.process_id, peer.user, peer.group), (getpid(), geteuid(), getegid()));
            assert_ne!(peer.has_ended().unwrap(), Some(true));
        }
    }

    #[test]
    fn each_side_of_a_connection_is_named() {
        let path = std::env::temp_dir().join(format!("peer-credentials-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let ours = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        assert_eq!(Peer::of(&ours).unwrap().process_id, getpid());
        assert_eq!(Peer::of(&theirs).unwrap().process_id, getpid());
    }

    #[test]
    fn who_inherited_the_other_end_is_not_named() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut heir = Command::new("cat").stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).spawn().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_ne!(peer.process_id.as_raw(), heir.id() as i32);
        drop(ours); // Its input ends, so it does.
        assert!(heir.wait().unwrap().success());
    }
}
