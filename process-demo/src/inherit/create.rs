//! How is a task made that meets its maker on a line: a thread, a forked process, one that is another program?

use std::ffi::{CString, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, execv, fork, getpid, getppid, gettid};
use process_demo::child;

use crate::exit_number::number_of;

use super::thing::{How, InTurn, Places};
use super::things::{THINGS, threads_beside};

/// The columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Thread,
    Fork,
    Exec,
}

impl Way {
    pub const ALL: [Way; 3] = [Way::Thread, Way::Fork, Way::Exec];

    pub fn name(self) -> &'static str {
        match self {
            Way::Thread => "new thread",
            Way::Fork => "fork",
            Way::Exec => "fork and exec",
        }
    }
}

/// The role of this program after an exec.
pub const ROLE: &str = "inherit-heir";

/// Makes a task that lives through the thing's course; `meet` has the line to it, and its number.
pub fn create<T>(
    way: Way,
    thing: usize,
    places: Places,
    meet: impl FnOnce(&UnixStream, Pid) -> Result<T>,
) -> Result<T> {
    let (line, its_line) = UnixStream::pair().context("a socket pair")?;
    let meet = |line: UnixStream| {
        let task = Pid::from_raw(receive(&line)?.context("no number")? as i32);
        meet(&line, task)
    };
    match way {
        Way::Thread => thread::scope(|scope| {
            let heir = thread::Builder::new().spawn_scoped(scope, move || live(its_line, thing, &places));
            let heir = heir.context("starting a thread")?;
            let met = meet(line); // Closes the line at its end, so the thread ends.
            let lived = heir.join().unwrap();
            let met = met?; // What went wrong here first is the reason for what went wrong there.
            lived.map(|()| met)
        }),
        Way::Fork => {
            let _heir = Heir::fork(thing, move || u8::from(live(its_line, thing, &places).is_err()))?;
            meet(line)
        }
        Way::Exec => {
            let number = its_line.as_raw_fd();
            let arguments =
                ["heir".to_owned(), "--role".to_owned(), ROLE.to_owned(), number.to_string(), thing.to_string()];
            let arguments = arguments.into_iter().chain(places.map(|place| place.to_string())).map(CString::new);
            let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
            let _heir = Heir::fork(thing, move || {
                let _ = fcntl(&its_line, FcntlArg::F_SETFD(FdFlag::empty())); // Else the line would end at the exec.
                let _ = execv(c"/proc/self/exe", &arguments); // Returns only if it failed; then the line ends.
                NOT_RUN
            })?;
            meet(line)
        }
    }
}

const NOT_RUN: u8 = 127; // As a shell says it.

/// A forked process; it is ended and reaped when this is dropped.
enum Heir {
    Alone {
        _child: child::Child,
    },
    /// Of a process that has threads.
    Beside(Pid),
}

impl Heir {
    fn fork(thing: usize, work: impl FnOnce() -> u8) -> Result<Heir> {
        if !threads_beside(thing) {
            // SAFETY: what the two share are pages of atomics and descriptors.
            let _child = unsafe { child::fork(work) }.context("forking")?;
            return Ok(Heir::Alone { _child });
        }
        let maker = getpid();
        // The rule is to fork only with one thread. This is about what becomes of the others, so there is one more.
        // SAFETY: the other thread only waits in a read, where it holds no lock that the child could miss.
        match unsafe { fork() }.context("forking beside a thread")? {
            ForkResult::Parent { child } => Ok(Heir::Beside(child)),
            ForkResult::Child => {
                let watched = set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == maker;
                let value = if watched { work() } else { NOT_RUN };
                // SAFETY: it ends the child without running anything of it.
                unsafe { libc::_exit(value.into()) }
            }
        }
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        if let Heir::Beside(child) = self {
            let _ = kill(*child, Signal::SIGKILL); // Not reaped yet, so the number is still its own.
            let _ = waitpid(*child, None);
        }
    }
}

/// The created task's life; an error that it meets is told too.
fn live(line: UnixStream, thing: usize, places: &Places) -> Result<()> {
    take_part(&line, thing, places).or_else(|error| tell(&line, FAILED, number_of(&error).into()))
}

/// Look; change and look; look again.
fn take_part(line: &UnixStream, thing: usize, places: &Places) -> Result<()> {
    send(line, Some(gettid().as_raw() as u64))?;
    let How::InTurn(InTurn { look, change, .. }) = THINGS[thing].how else {
        let _ = (&mut &*line).read(&mut [0])?; // Looked at from outside, until the line ends: no byte ever comes.
        return Ok(());
    };
    let first = look(places);
    send(line, first)?;
    if receive(line)? == first {
        change(places, BY_CREATED)?; // It is the maker's; what is not is left alone.
    }
    send(line, look(places))?;
    receive(line)?; // The maker has changed it again.
    send(line, look(places))
}

/// The values that a maker sets, that the created task sets, and that the maker sets later.
pub const SET: u64 = 1;
const BY_CREATED: u64 = 2;
pub const LATER: u64 = 3;

/// After an exec: the same life; its arguments are the line's descriptor, the thing, and where it was.
pub fn play(arguments: &[OsString]) -> u8 {
    let numbers: Option<Vec<u64>> = arguments.iter().map(|word| word.to_str()?.parse().ok()).collect();
    let Some(&[line, thing, one, other]) = numbers.as_deref() else { return NOT_RUN };
    let places: Places = [one, other];
    // SAFETY: the maker left this descriptor open for this alone, and nobody else here knows of it.
    let line = UnixStream::from(unsafe { OwnedFd::from_raw_fd(line as RawFd) });
    u8::from(live(line, thing as usize, &places).is_err())
}

const NOTHING: u8 = 0; // What a message says first.
const VALUE: u8 = 1;
const FAILED: u8 = 2;

pub fn send(line: &UnixStream, value: Option<u64>) -> Result<()> {
    value.map_or_else(|| tell(line, NOTHING, 0), |value| tell(line, VALUE, value))
}

fn tell(mut line: &UnixStream, kind: u8, value: u64) -> Result<()> {
    let mut message = [kind; 9];
    message[1..].copy_from_slice(&value.to_ne_bytes());
    Ok(line.write_all(&message)?)
}

pub fn receive(mut line: &UnixStream) -> Result<Option<u64>> {
    let mut message = [0; 9];
    line.read_exact(&mut message).context("the created task ended early")?;
    let [kind, value @ ..] = message;
    let value = u64::from_ne_bytes(value);
    match kind {
        FAILED => Err(io::Error::from_raw_os_error(value as i32)).context("in the created task"),
        kind => Ok((kind == VALUE).then_some(value)),
    }
}
