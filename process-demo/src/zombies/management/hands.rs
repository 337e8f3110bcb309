//! How does one try each act, and how is one told to?

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use process_demo::pidfd::PidFd;

/// What the acts are tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Process,
    Thread,
}

/// A process by its id, or one of its threads.
#[derive(Clone, Copy)]
pub struct Target {
    pub kind: Kind,
    pub process: Pid,
    /// The thread's own; a process's is its pid again.
    pub id: Pid,
}

#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Act {
    Wait,
    Open,
    Stop,
    Priority,
    Limit,
    End,
    See,
    Leave,
}

const ALL: [Act; 8] = [Act::Wait, Act::Open, Act::Stop, Act::Priority, Act::Limit, Act::End, Act::See, Act::Leave];

pub const NICEST: i32 = 19; // The lowest priority: whoever may set any may set this one.
pub const DESCRIPTORS: u64 = 77; // A soft limit that nobody else sets.

/// Whoever tries: what it tries on, and the descriptor that it has opened.
pub struct Hands {
    target: Target,
    pidfd: Option<PidFd>,
    /// Waits for a thread of the same process, once; a process has no such means.
    join: Option<Box<dyn FnOnce() + Send>>,
}

impl Hands {
    pub fn on(target: Target) -> Hands {
        Hands { target, pidfd: None, join: None }
    }

    pub fn that_join(target: Target, join: impl FnOnce() + Send + 'static) -> Hands {
        Hands { target, pidfd: None, join: Some(Box::new(join)) }
    }

    /// The error's number, or zero.
    fn attempt(&mut self, act: Act) -> i32 {
        self.do_it(act).map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0)
    }

    fn do_it(&mut self, act: Act) -> io::Result<()> {
        let id = self.target.id;
        match act {
            Act::Wait => match self.join.take() {
                Some(join) => join(),
                None => wait_for(id)?,
            },
            Act::Open => self.pidfd = Some(PidFd::open(id)?),
            Act::Stop => self.send(Signal::SIGSTOP)?,
            // SAFETY: the call takes three integers. (nix has no setpriority.)
            Act::Priority => drop(Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, as_id(id), NICEST) })?),
            Act::Limit => limit(id)?,
            Act::End => self.send(Signal::SIGKILL)?,
            Act::See => {
                let ended = self.pidfd.as_ref().map(|pidfd| pidfd.ends_within(Duration::from_secs(5))).transpose()?;
                ended.unwrap_or(false).then_some(()).ok_or(io::Error::from(Errno::ETIMEDOUT))?;
            }
            Act::Leave => {}
        }
        Ok(())
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        let Target { kind, process, id } = self.target;
        match kind {
            Kind::Process => nix::sys::signal::kill(process, signal)?,
            // SAFETY: the call takes three integers. (nix has no tgkill.)
            Kind::Thread => drop(Errno::result(unsafe { libc::tgkill(process.as_raw(), id.as_raw(), signal as i32) })?),
        }
        Ok(())
    }

    /// Does what it is told, and tells how it went, until it is told to leave or nobody tells any more.
    pub fn obey(mut self, mut orders: PipeReader, mut replies: PipeWriter) -> io::Result<()> {
        loop {
            let mut order = [0];
            orders.read_exact(&mut order)?;
            let act = ALL[usize::from(order[0]) % ALL.len()];
            replies.write_all(&self.attempt(act).to_ne_bytes())?;
            if matches!(act, Act::Leave) {
                return Ok(());
            }
        }
    }
}

fn wait_for(id: Pid) -> nix::Result<()> {
    // A look, which takes nothing: for who may not wait, the answer is ECHILD at once.
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
    waitid(Id::Pid(id), look).map(drop)
}

fn limit(id: Pid) -> nix::Result<()> {
    let mut limit = get_limit(id)?;
    limit.rlim_cur = DESCRIPTORS.min(limit.rlim_max);
    // SAFETY: the kernel reads one limit and writes nothing. (nix has no prlimit.)
    Errno::result(unsafe { libc::prlimit(id.as_raw(), libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) })?;
    Ok(())
}

/// The limit of descriptors, of any process or thread.
pub fn get_limit(id: Pid) -> nix::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one limit, into one that is ours.
    Errno::result(unsafe { libc::prlimit(id.as_raw(), libc::RLIMIT_NOFILE, std::ptr::null(), &mut limit) })?;
    Ok(limit)
}

/// The niceness of a process's first thread, or of another thread.
pub fn niceness(id: Pid) -> nix::Result<i32> {
    Errno::clear(); // -1 is a niceness as well.
    // SAFETY: the call takes two integers. (nix has no getpriority.)
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, as_id(id)) };
    match Errno::last() {
        Errno::UnknownErrno => Ok(nice),
        error => Err(error),
    }
}

fn as_id(id: Pid) -> libc::id_t {
    id.as_raw().unsigned_abs()
}

/// One who is told what to try: this process itself, or another that obeys.
pub enum Actor {
    Here(Hands, Option<i32>),
    There { orders: PipeWriter, replies: PipeReader },
}

impl Actor {
    pub fn here(hands: Hands) -> Actor {
        Actor::Here(hands, None)
    }

    pub fn order(&mut self, act: Act) -> Result<()> {
        match self {
            Actor::Here(hands, reply) => *reply = Some(hands.attempt(act)),
            Actor::There { orders, .. } => orders.write_all(&[act as u8]).context("an order")?,
        }
        Ok(())
    }

    /// The reply, if it is there already.
    pub fn replied(&mut self) -> Result<Option<i32>> {
        match self {
            Actor::Here(_, reply) => Ok(reply.take()),
            Actor::There { replies, .. } => {
                let waiting = poll(&mut [PollFd::new(replies.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)?;
                if waiting == 0 { Ok(None) } else { read_reply(replies).map(Some) }
            }
        }
    }

    /// Orders and waits for the reply.
    pub fn have_done(&mut self, act: Act) -> Result<i32> {
        self.order(act)?;
        self.reply()
    }

    /// Waits for the reply.
    pub fn reply(&mut self) -> Result<i32> {
        match self {
            Actor::Here(_, reply) => reply.take().context("nothing was ordered"),
            Actor::There { replies, .. } => read_reply(replies),
        }
    }
}

fn read_reply(replies: &mut PipeReader) -> Result<i32> {
    let mut word = [0; 4];
    replies.read_exact(&mut word).context("no reply")?;
    Ok(i32::from_ne_bytes(word))
}
