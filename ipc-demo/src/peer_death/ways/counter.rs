//! An eventfd, which counts: alone, and waited for together with the death of the peer.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::unistd::Pid;

use super::{Ends, Names, Receiver, Refusal, Sender};

/// Two of them and nothing more fit into the counter: the third add has to wait.
const HALF_OF_ITS_ROOM: u64 = (u64::MAX - 1) / 2;

struct Bare(Rc<EventFd>);

impl Sender for Bare {
    fn send(&mut self) -> Result<u64, Refusal> {
        self.0.write(HALF_OF_ITS_ROOM)?;
        Ok(1)
    }
}

impl Receiver for Bare {
    fn receive(&mut self) -> Result<u64, Refusal> {
        Ok(self.0.read()? / HALF_OF_ITS_ROOM)
    }
}

/// The same, but it never waits for the counter alone.
struct Beside {
    counter: Bare,
    peer: Option<OwnedFd>,
}

impl Beside {
    fn watch(&mut self, peer: Pid) -> Result<(), Refusal> {
        self.peer = Some(pidfd_of(peer)?);
        Ok(())
    }

    fn wait_for(&self, what: PollFlags) -> Result<(), Refusal> {
        let peer = self.peer.as_ref().ok_or(Errno::EBADF)?;
        let mut either = [PollFd::new(self.counter.0.as_fd(), what), PollFd::new(peer.as_fd(), PollFlags::POLLIN)];
        poll(&mut either, PollTimeout::NONE)?;
        // What is there is taken first: only when nothing can be done is the peer's death the answer.
        if either[0].any() == Some(true) { Ok(()) } else { Err(Refusal("pidfd tells".to_owned())) }
    }
}

impl Sender for Beside {
    fn meet(&mut self, peer: Pid) -> Result<(), Refusal> {
        self.watch(peer)
    }

    fn send(&mut self) -> Result<u64, Refusal> {
        self.wait_for(PollFlags::POLLOUT)?;
        self.counter.send()
    }
}

impl Receiver for Beside {
    fn meet(&mut self, peer: Pid) -> Result<(), Refusal> {
        self.watch(peer)
    }

    fn receive(&mut self) -> Result<u64, Refusal> {
        self.wait_for(PollFlags::POLLIN)?;
        self.counter.receive()
    }
}

/// A descriptor that becomes readable when the process ends. nix has no pidfd_open.
fn pidfd_of(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: the kernel just made this descriptor, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

pub fn bare(_: &Names) -> Result<Ends> {
    let counter = Rc::new(EventFd::new().context("eventfd")?);
    Ok(with_newcomer(&counter, Ends::private(Bare(Rc::clone(&counter)), Bare(Rc::clone(&counter)))))
}

pub fn beside_a_pidfd(_: &Names) -> Result<Ends> {
    pidfd_of(nix::unistd::getpid()).context("pidfd_open")?; // A kernel without it skips the row.
    let counter = Rc::new(EventFd::new().context("eventfd")?);
    let end = || Beside { counter: Bare(Rc::clone(&counter)), peer: None };
    Ok(with_newcomer(&counter, Ends::private(end(), end())))
}

/// Who gets the descriptor reads what was added.
fn with_newcomer(counter: &Rc<EventFd>, ends: Ends) -> Ends {
    let counter = Rc::clone(counter);
    let is_readable =
        |counter: &EventFd| poll(&mut [PollFd::new(counter.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1);
    let fetch = move || if is_readable(&counter) { counter.read().unwrap_or(0) / HALF_OF_ITS_ROOM } else { 0 };
    Ends { newcomer: Box::new(fetch), ..ends }
}
