//! What has a parent that might be passed on: how is each thing made, seen and changed, and what is to become of it?

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::{ManuallyDrop, forget};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::{env, thread};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::{self, F_OFD_SETLK, F_SETLK, O_CLOEXEC, c_int};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{self, SigEvent, SigHandler, SigSet, SigevNotify, Signal};
use nix::sys::socket::{MsgFlags, recv};
use nix::sys::stat::{Mode, umask};
use nix::sys::timer::Timer;
use nix::time::ClockId;
use nix::unistd::{alarm, getpid, gettid};
use process_demo::asleep::look_until;
use process_demo::page::Page;
use shared::measure::SystemClock;

/// One thing that a parent has, and that a new thread or process may get.
pub struct Thing {
    pub name: &'static str,
    /// What becomes of it, by column: as pthreads(7), fork(2) and execve(2) say, and `spawn` of itself.
    pub promised: [&'static str; 4],
    /// In the parent: makes room for it, and tells where.
    pub make: fn(&AtomicU64) -> Result<Place>,
    /// Its value as whoever calls this sees it; none if it is not there.
    pub look: fn(Place) -> Option<String>,
    /// Gives it another value for each number. What nobody can change, the parent looks at from outside, by a task's id.
    pub change: Option<fn(Place, u64) -> Result<()>>,
}

/// An address, a descriptor or an id; it survives an exec as an argument.
pub type Place = u64;

pub const SHARED: &str = "shared"; // Each sees the other's change.
pub const COPY: &str = "a copy"; // The parent's value, and neither sees the other's change.
pub const SAME: &str = "the same"; // The parent's, and nobody can change it.
pub const OWN: &str = "its own"; // Another than the parent's.
pub const RESET: &str = "reset"; // As it was before the parent set it.
pub const GONE: &str = "gone"; // It is not there.

/// The values that the parent sets, that its heir sets, and that the parent sets later.
pub const SET: u64 = 1;
pub const BY_HEIR: u64 = 2;
pub const LATER: u64 = 3;

/// The first so many are what a process is said to own; the last four of these are what it has open.
pub const RESOURCES: usize = 10;
pub const OPEN: usize = 4;

pub static THINGS: [Thing; 27] = [
    thing("global variable", [SHARED, COPY, RESET, RESET], nowhere, |_| Some(format!("{GLOBAL:?}")), set_global),
    thing("heap", [SHARED, COPY, GONE, GONE], |_| address_of(Box::leak(Box::default())), peek, poke),
    thing("private mapping", [SHARED, COPY, GONE, GONE], |_| keep(Page::copied_by_fork()), peek, poke),
    thing("shared mapping", [SHARED, SHARED, GONE, GONE], |_| keep(Page::shared_by_fork()), peek, poke),
    thing("stack", [OWN, COPY, OWN, OWN], address_of, peek_on_own_stack, poke),
    fixed("program counter", [OWN, OWN, OWN, OWN], instruction_of),
    thing("descriptor", [SHARED, COPY, COPY, GONE], nowhere, |_| link(DESCRIPTOR), open::<0>),
    thing("O_CLOEXEC descriptor", [SHARED, COPY, GONE, GONE], nowhere, |_| link(DESCRIPTOR), open::<O_CLOEXEC>),
    thing("open file's offset", [SHARED, SHARED, SHARED, GONE], new_file, |_| field(OPEN_FILE, "pos"), seek),
    thing("connected socket", [SHARED, SHARED, SHARED, GONE], connect, letters_waiting, take_a_letter),
    thing("thread-local variable", [RESET, COPY, RESET, RESET], nowhere, |_| Some(LOCAL.get().to_string()), set_local),
    thing("other threads", [SHARED, GONE, GONE, GONE], second_thread, is_there, end_thread),
    fixed("pid", [SAME, OWN, OWN, OWN], |task| field(&format!("/proc/{task}/status"), "Tgid")),
    fixed("parent's pid", [SAME, OWN, OWN, OWN], |task| field(&format!("/proc/{task}/status"), "PPid")),
    thing("lock by flock", [SHARED, SHARED, SHARED, GONE], new_file, lock_held, flock),
    thing(LOCK_BY_FCNTL, [SHARED, GONE, GONE, GONE], new_file, lock_held, lock::<F_SETLK>),
    thing("lock by fcntl, OFD", [SHARED, SHARED, SHARED, GONE], new_file, lock_held, lock::<F_OFD_SETLK>),
    thing(
        "working directory",
        [SHARED, COPY, COPY, COPY],
        nowhere,
        |_| link("/proc/thread-self/cwd"),
        change_directory,
    ),
    thing("umask", [SHARED, COPY, COPY, COPY], nowhere, |_| field(STATUS, "Umask"), set_umask),
    thing("environment", [SHARED, COPY, COPY, COPY], nowhere, |_| env::var(VARIABLE).ok(), set_environment),
    thing("signal handler", [SHARED, COPY, RESET, RESET], nowhere, |_| signals_in("SigCgt"), handle),
    thing("ignored signal", [SHARED, COPY, COPY, COPY], nowhere, |_| signals_in("SigIgn"), ignore),
    thing("signal mask", [COPY, COPY, COPY, RESET], nowhere, |_| signals_in("SigBlk"), block),
    thing("pending signal", [SHARED, GONE, GONE, GONE], nowhere, |_| pending("ShdPnd"), send_to_process),
    thing("signal pending for the thread", [GONE, GONE, GONE, GONE], nowhere, |_| pending("SigPnd"), send_to_thread),
    thing("alarm", [SHARED, GONE, GONE, GONE], nowhere, alarm_in_steps, set_alarm),
    thing("POSIX timer", [SHARED, GONE, GONE, GONE], nowhere, how_many_timers, one_more_timer),
];

const fn thing(
    name: &'static str,
    promised: [&'static str; 4],
    make: fn(&AtomicU64) -> Result<Place>,
    look: fn(Place) -> Option<String>,
    change: fn(Place, u64) -> Result<()>,
) -> Thing {
    Thing { name, promised, make, look, change: Some(change) }
}

const fn fixed(name: &'static str, promised: [&'static str; 4], look: fn(Place) -> Option<String>) -> Thing {
    Thing { name, promised, make: |_| Ok(gettid().as_raw() as u64), look, change: None }
}

fn nowhere(_: &AtomicU64) -> Result<Place> {
    Ok(0)
}

// What the kernel shows of whoever asks.
const STATUS: &str = "/proc/thread-self/status";
const DESCRIPTOR: &str = "/proc/thread-self/fd/200";
const OPEN_FILE: &str = "/proc/thread-self/fdinfo/200";

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

fn link(path: &str) -> Option<String> {
    Some(fs::read_link(path).ok()?.display().to_string())
}

// Memory. The line between parent and heir orders their reads and writes.

static GLOBAL: AtomicU64 = AtomicU64::new(0);

fn set_global(_: Place, value: u64) -> Result<()> {
    GLOBAL.store(value, Relaxed);
    Ok(())
}

thread_local! {
    static LOCAL: Cell<u64> = const { Cell::new(0) };
}

fn set_local(_: Place, value: u64) -> Result<()> {
    LOCAL.set(value);
    Ok(())
}

fn address_of(word: &AtomicU64) -> Result<Place> {
    Ok((&raw const *word).expose_provenance() as u64)
}

/// Mapped as long as the parent lives.
fn keep(page: io::Result<Page>) -> Result<Place> {
    address_of(ManuallyDrop::new(page?).word())
}

/// The value at an address. In a new program nothing need be mapped there; or something is that bears no mark.
fn peek(address: Place) -> Option<String> {
    let mut word = [0; size_of::<AtomicU64>()];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut word, address).ok()?;
    let text = String::from_utf8(word.to_vec()).ok()?;
    text.starts_with("marked ").then_some(text)
}

/// Only where a word was made for this, or where `peek` saw a value; the other side waits meanwhile.
fn poke(address: Place, value: u64) -> Result<()> {
    let memory = File::options().write(true).open("/proc/self/mem")?;
    Ok(memory.write_all_at(format!("marked {value}").as_bytes(), address)?)
}

/// The parent's word, for whoever runs on the parent's stack or a copy of it; for all others, whose stack theirs is.
fn peek_on_own_stack(address: Place) -> Option<String> {
    const NEAR_BYTES: u64 = 256 << 10; // More than the calls here take, and less than lies between two stacks.
    let local = 0;
    let is_near = ((&raw const local).addr() as u64).abs_diff(address) < NEAR_BYTES;
    is_near.then(|| peek(address)).flatten().or_else(|| Some(format!("the stack of {}", gettid())))
}

// Who runs.

/// Where a task is, which waits. Whoever looks is in another call meanwhile, if each has a counter of its own.
fn instruction_of(task: Place) -> Option<String> {
    let file = File::open(format!("/proc/{task}/syscall")).ok()?;
    let look = || {
        let mut line = [0; 256];
        let count = file.read_at(&mut line, 0)?; // By a call that nobody else waits in.
        let line = String::from_utf8_lossy(&line[..count]);
        io::Result::Ok(line.trim().rsplit(' ').next().filter(|last| *last != "running").map(str::to_owned))
    };
    look_until(SystemClock, look).ok()?
}

static KEEPS_THREAD: Mutex<Option<Sender<()>>> = Mutex::new(None);

/// One more thread of the parent, which waits until nobody is left to send it anything.
fn second_thread(_: &AtomicU64) -> Result<Place> {
    let ((tell, told), (keeps, kept)) = (channel(), channel());
    let wait = move || {
        let _ = tell.send(gettid());
        let _ = kept.recv();
    };
    thread::Builder::new().spawn(wait).context("starting a thread")?;
    *KEEPS_THREAD.lock().unwrap() = Some(keeps);
    Ok(told.recv()?.as_raw() as u64)
}

fn is_there(thread: Place) -> Option<String> {
    fs::exists(format!("/proc/self/task/{thread}")).ok()?.then(|| "there".to_owned())
}

fn end_thread(thread: Place, value: u64) -> Result<()> {
    if value != SET {
        KEEPS_THREAD.lock().unwrap().take();
        // The kernel shows an ended thread for a moment.
        look_until(SystemClock, || anyhow::Ok(is_there(thread).is_none().then_some(())))?;
    }
    Ok(())
}

// Open files and connections. The parent never closes them.

const NUMBER: RawFd = 200; // It means nothing else, neither here nor in a new program.

/// Open by that number from now on.
fn keep_open(file: impl AsRawFd, flags: c_int) -> Result<Place> {
    // SAFETY: the number is the thing's own: no value of Rust's stands for it.
    Ok(Errno::result(unsafe { libc::dup3(file.as_raw_fd(), NUMBER, flags) })? as Place)
}

const DIRECTORIES: [&str; 4] = ["/", "/dev", "/proc", "/sys"]; // One for each value.

fn open<const FLAGS: c_int>(_: Place, value: u64) -> Result<()> {
    keep_open(File::open(DIRECTORIES[value as usize])?, FLAGS).map(drop)
}

/// In memory; it is gone once nobody has it open.
fn new_file(_: &AtomicU64) -> Result<Place> {
    keep_open(memfd_create("inherited", MFdFlags::MFD_CLOEXEC)?, 0)
}

fn seek(_: Place, value: u64) -> Result<()> {
    // SAFETY: it takes numbers only.
    Ok(Errno::result(unsafe { libc::lseek(NUMBER, value as libc::off_t, libc::SEEK_SET) }).map(drop)?)
}

/// A connection on which letters wait, one of which each change takes.
fn connect(_: &AtomicU64) -> Result<Place> {
    let (near, mut far) = UnixStream::pair()?;
    far.write_all(b"abcd")?;
    forget(far);
    keep_open(near, 0)
}

fn letters_waiting(_: Place) -> Option<String> {
    let mut letters = [0; 4];
    let count = recv(NUMBER, &mut letters, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT).ok()?;
    Some(String::from_utf8_lossy(&letters[..count]).into_owned())
}

fn take_a_letter(_: Place, _: u64) -> Result<()> {
    Ok(recv(NUMBER, &mut [0], MsgFlags::empty()).map(drop)?)
}

// Locks on a file. Of an open file the kernel shows those that whoever asks holds by it.

pub const LOCK_BY_FCNTL: &str = "lock by fcntl";

fn lock_held(_: Place) -> Option<String> {
    field(OPEN_FILE, "lock").map(|_| "held".to_owned())
}

fn flock(_: Place, value: u64) -> Result<()> {
    let operation = if value == BY_HEIR { libc::LOCK_UN } else { libc::LOCK_EX };
    // SAFETY: it takes numbers only.
    Ok(Errno::result(unsafe { libc::flock(NUMBER, operation | libc::LOCK_NB) }).map(drop)?)
}

/// POSIX's (F_SETLK) belongs to the process, Linux's (F_OFD_SETLK) to the open file, as that by flock does.
fn lock<const COMMAND: c_int>(_: Place, value: u64) -> Result<()> {
    let kind = if value == BY_HEIR { libc::F_UNLCK } else { libc::F_WRLCK };
    let all = libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 };
    // SAFETY: the kernel only reads what lives here.
    let locked = Errno::result(unsafe { libc::fcntl(NUMBER, COMMAND, &raw const all) });
    Ok(locked.map(drop).map_err(|_| Errno::EOPNOTSUPP)?) // An old kernel takes Linux's for a mistake.
}

// Surroundings.

fn change_directory(_: Place, value: u64) -> Result<()> {
    Ok(env::set_current_dir(DIRECTORIES[value as usize])?)
}

fn set_umask(_: Place, value: u64) -> Result<()> {
    umask(Mode::from_bits_truncate(0o700 | value as libc::mode_t));
    Ok(())
}

const VARIABLE: &str = "INHERITED_VALUE";

fn set_environment(_: Place, value: u64) -> Result<()> {
    // SAFETY: the other side waits meanwhile, so nobody else reads or writes the environment.
    unsafe { env::set_var(VARIABLE, value.to_string()) };
    Ok(())
}

// Signals. Each change does something to one more of them.

const SIGNALS: [Signal; 3] = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGALRM];

fn signal_of(value: u64) -> Signal {
    SIGNALS[value as usize - 1]
}

/// Which of them are in a set that the kernel shows.
fn signals_in(set: &str) -> Option<String> {
    let set = u64::from_str_radix(&field(STATUS, set)?, 16).ok()?;
    let contained = SIGNALS.into_iter().filter(|signal| set >> (*signal as u32 - 1) & 1 == 1);
    Some(format!("{:?}", contained.collect::<Vec<_>>()))
}

fn handle(_: Place, value: u64) -> Result<()> {
    extern "C" fn do_nothing(_: c_int) {}
    // SAFETY: the handler does nothing.
    Ok(unsafe { signal::signal(signal_of(value), SigHandler::Handler(do_nothing)) }.map(drop)?)
}

fn ignore(_: Place, value: u64) -> Result<()> {
    // SAFETY: there is no handler that could do anything.
    Ok(unsafe { signal::signal(signal_of(value), SigHandler::SigIgn) }.map(drop)?)
}

fn block(_: Place, value: u64) -> Result<()> {
    Ok(SigSet::from(signal_of(value)).thread_block()?)
}

fn pending(set: &str) -> Option<String> {
    signals_in(set).filter(|signals| signals != "[]")
}

fn send_to_process(_: Place, value: u64) -> Result<()> {
    SigSet::from_iter(SIGNALS).thread_block()?; // First by the parent, and a new thread inherits that.
    Ok(signal::kill(getpid(), signal_of(value))?)
}

fn send_to_thread(_: Place, value: u64) -> Result<()> {
    SigSet::from_iter(SIGNALS).thread_block()?;
    Ok(signal::raise(signal_of(value))?)
}

// Timers. None of them ever comes to its end.

const STEP_S: u32 = 10_000;

fn alarm_in_steps(_: Place) -> Option<String> {
    let left_s = alarm::cancel()?; // Nobody can ask for it without setting it.
    alarm::set(left_s);
    Some(left_s.div_ceil(STEP_S).to_string())
}

fn set_alarm(_: Place, value: u64) -> Result<()> {
    alarm::set(value as u32 * STEP_S);
    Ok(())
}

/// The kernel numbers the timers of a process from 0.
fn how_many_timers(_: Place) -> Option<String> {
    // SAFETY: it takes a number only, and gives an error where no timer has it.
    let exists = |timer: &c_int| unsafe { libc::syscall(libc::SYS_timer_getoverrun, *timer) } >= 0;
    let count = (0..LATER as c_int).filter(exists).count();
    (count > 0).then(|| count.to_string())
}

fn one_more_timer(_: Place, _: u64) -> Result<()> {
    forget(Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(SigevNotify::SigevNone))?);
    Ok(())
}
