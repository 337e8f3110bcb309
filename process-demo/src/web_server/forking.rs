//! How does a server fork a process for each connection?

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use process_demo::child::{self, Child};
use process_demo::connections;

use super::handler::{Desk, Keeps, Visit};
use super::models::bounds;

/// Accepts, forks a child that serves the connection, and reaps those that have ended, until `stop` has a byte.
pub fn serve(
    listener: &TcpListener,
    desk: &Desk,
    keeps: Keeps,
    note_ended: &dyn Fn(),
    stop: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGCHLD);
    ends.thread_block()?;
    let ends = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut children = HashMap::new();
    for number in 0.. {
        match next(listener, &ends, stop)? {
            Next::Stop => break,
            Next::Ended => {
                reap(&mut children)?;
                note_ended();
            }
            Next::Connection => {
                let child = take(listener, number, desk, keeps)?;
                children.extend(child.map(|child| (child.pid(), child)));
            }
        }
    }
    Ok(()) // Those that are left are ended and reaped by their guards.
}

enum Next {
    Stop,
    Ended,
    Connection,
}

fn next(listener: &TcpListener, ends: &SignalFd, stop: BorrowedFd<'_>) -> io::Result<Next> {
    loop {
        let mut watched = [stop, ends.as_fd(), listener.as_fd()].map(|it| PollFd::new(it, PollFlags::POLLIN));
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [stop, ended, connection] = watched.map(|it| it.any().unwrap_or(true));
        match (stop, ended, connection) {
            (true, ..) => return Ok(Next::Stop),
            (_, true, _) => {
                ends.read_signal()?; // One signal may stand for many ends: whoever reaps looks for all.
                return Ok(Next::Ended);
            }
            (.., true) => return Ok(Next::Connection),
            _ => {}
        }
    }
}

fn take(listener: &TcpListener, number: usize, desk: &Desk, keeps: Keeps) -> io::Result<Option<Child>> {
    let (stream, _) = listener.accept()?;
    let serve = move || {
        let mut visit = Visit::new(desk, number, keeps);
        u8::from(connections::serve_one(&stream, &bounds(), &mut visit).is_err())
    };
    // SAFETY: the child uses its connection and pipes; of what is shared it touches nothing.
    match unsafe { child::fork(serve) } {
        Ok(child) => Ok(Some(child)),
        // Without room for a process the connection is closed, and the others are served on.
        Err(error) if matches!(error.raw_os_error(), Some(code) if code == Errno::EAGAIN as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks who has ended without taking it, so that each child's guard can.
fn reap(children: &mut HashMap<Pid, Child>) -> io::Result<()> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        let pid = match waitid(Id::All, look) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
            Ok(_) | Err(Errno::ECHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(child) = children.remove(&pid) else { return Ok(()) };
        child.wait()?;
    }
}
