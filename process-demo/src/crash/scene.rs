//! What happens when a failure strikes a thread, a process, and a thread that wants to catch it?

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::thread::{self, Builder, Scope};

use anyhow::{Context, Result, bail};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use process_demo::child::{self, Child, Exit};

use super::failure::{Failure, hush};
use super::siblings::{Accounts, SIBLINGS, keep_account};

/// One failure, struck once.
pub struct Scene {
    /// How many siblings answered before, and how many answered again afterwards.
    pub before: usize,
    pub after: usize,
    pub end: End,
}

/// What became of the victim.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its thread unwound and ended, its process lives.
    ThreadEnded {
        lock: Lock,
    },
    ProcessEnded {
        exit: Exit,
        core: Core,
    },
    Caught,
    /// It ran past the point where it was to fail.
    CameBack,
}

/// What the victim left of a mutex that it held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    Poisoned,
    Sound,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Core {
    None,
    Dumped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::ThreadEnded { lock: Lock::Poisoned } => write!(f, "one thread; mutex poisoned"),
            End::ThreadEnded { lock: Lock::Sound } => write!(f, "one thread alone"),
            End::ProcessEnded { exit, .. } => write!(f, "{exit}"),
            End::Caught => write!(f, "goes on"),
            End::CameBack => write!(f, "did not fail"),
        }
    }
}

const CAME_BACK: u8 = 0;
const UNWOUND: u8 = 1;
const CAUGHT: u8 = 2;
const REFUSED: u8 = 3; // In a report, followed by the error's number.

/// A process with three threads that keep accounts, and a fourth that fails while it holds a lock.
pub fn in_a_thread(failure: Failure) -> Result<Scene> {
    let mut accounts = Accounts::default();
    let lines = (0..SIBLINGS).map(|_| accounts.open()).collect::<io::Result<Vec<_>>>().context("a socket pair")?;
    let (mut control, its_control) = UnixStream::pair().context("a socket pair")?;
    let program = move || run_threads(failure, lines, its_control).map_or(REFUSED, |()| CAME_BACK);
    // SAFETY: the child uses its ends of the sockets and memory of its own; nothing here is in shared memory.
    let program = unsafe { child::fork(program) }.context("forking")?;
    let before = accounts.pay(100);
    // Where a thread could not be started, the program says so by itself; nobody may miss that because it is asked now.
    let _ = control.write_all(&[0]);
    let mut report = [0; 5];
    let end = match control.read_exact(&mut report) {
        Ok(()) => end_of_thread(report)?,
        // The last of its descriptors is closed when the last of its threads is gone.
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
            let end = end_of(program)?;
            return Ok(Scene { before, after: accounts.pay(11), end });
        }
        Err(error) => return Err(error).context("the victim's report"),
    };
    Ok(Scene { before, after: accounts.pay(11), end }) // The program still lives: its guard ends it after this.
}

/// The program's main thread: starts all, waits for the word, and reports how the victim's thread ended.
fn run_threads(failure: Failure, lines: Vec<UnixStream>, mut control: UnixStream) -> Result<()> {
    hush()?;
    let lock = Mutex::new(());
    thread::scope(|scope| {
        let report = match strike(scope, failure, lines, &control, &lock) {
            Ok(Ok(())) => [CAME_BACK, 0, 0, 0, 0],
            Ok(Err(_)) => [UNWOUND, lock.is_poisoned().into(), 0, 0, 0],
            Err(error) => {
                let [a, b, c, d] = error.raw_os_error().unwrap_or_default().to_ne_bytes();
                [REFUSED, a, b, c, d]
            }
        };
        control.write_all(&report)
    })?; // The siblings go on until this process is ended from outside.
    Ok(())
}

/// Three siblings, and then the victim.
fn strike<'scope>(
    scope: &'scope Scope<'scope, '_>,
    failure: Failure,
    lines: Vec<UnixStream>,
    mut control: &UnixStream,
    lock: &'scope Mutex<()>,
) -> io::Result<thread::Result<()>> {
    for line in lines {
        Builder::new().spawn_scoped(scope, move || keep_account(line))?;
    }
    control.read_exact(&mut [0])?; // The word comes when all siblings have answered once.
    let victim = Builder::new().spawn_scoped(scope, move || {
        let _held = lock.lock().unwrap();
        failure.happen();
    })?;
    Ok(victim.join())
}

fn end_of_thread([how, rest @ ..]: [u8; 5]) -> Result<End> {
    match how {
        CAME_BACK => Ok(End::CameBack),
        UNWOUND if rest[0] != 0 => Ok(End::ThreadEnded { lock: Lock::Poisoned }),
        UNWOUND => Ok(End::ThreadEnded { lock: Lock::Sound }),
        _ => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(rest))).context("starting a thread"),
    }
}

/// Three processes that keep accounts, and a fourth that fails.
pub fn in_a_process(failure: Failure) -> Result<Scene> {
    let mut accounts = Accounts::default();
    let mut siblings = Vec::new();
    for _ in 0..SIBLINGS {
        let line = accounts.open().context("a socket pair")?;
        // Its end goes with the closure, so that nobody else has it: a sibling's end closes its line.
        let sibling = move || u8::from(keep_account(line).is_err());
        // SAFETY: the child uses its end of a socket and memory of its own; nothing here is in shared memory.
        siblings.push(unsafe { child::fork(sibling) }.context("forking a sibling")?);
    }
    let (its_word, mut word) = io::pipe().context("a pipe")?;
    let victim = move || match hush().and_then(|()| Ok((&its_word).read_exact(&mut [0])?)) {
        Ok(()) => {
            failure.happen();
            CAME_BACK
        }
        Err(_) => REFUSED,
    };
    // SAFETY: as above, with a pipe; its work comes back only if it did not fail.
    let victim = unsafe { child::fork(victim) }.context("forking the victim")?;
    let before = accounts.pay(100);
    let _ = word.write_all(&[0]); // If the victim is gone by now, its end tells why.
    let end = end_of(victim)?;
    Ok(Scene { before, after: accounts.pay(11), end })
}

/// A process that wraps its failure in `catch_unwind`.
pub fn in_catch_unwind(failure: Failure) -> Result<End> {
    let victim = move || match hush().map(|()| catch_unwind(|| failure.happen())) {
        Ok(Ok(())) => CAME_BACK,
        Ok(Err(_)) => CAUGHT,
        Err(_) => REFUSED,
    };
    // SAFETY: the child uses memory of its own; nothing here is in shared memory.
    end_of(unsafe { child::fork(victim) }.context("forking the victim")?)
}

/// Looks before it reaps: only this look tells of a core dump.
fn end_of(victim: Child) -> Result<End> {
    let look = waitid(Id::Pid(victim.pid()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).context("waiting")?;
    let core = if matches!(look, WaitStatus::Signaled(.., true)) { Core::Dumped } else { Core::None };
    let code = |code: u8| Exit::Code(code.into());
    match victim.wait().context("reaping")? {
        exit if exit == code(CAME_BACK) => Ok(End::CameBack),
        exit if exit == code(CAUGHT) => Ok(End::Caught),
        exit if exit == code(REFUSED) => bail!("a victim could not get ready to fail"),
        exit => Ok(End::ProcessEnded { exit, core }),
    }
}
