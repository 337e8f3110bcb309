//! Who runs: on which stack, at which instruction, beside whom, and by which numbers?

use std::fs::{self, File};
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::unistd::{Pid, getpid, getppid, gettid};
use process_demo::asleep::look_until;
use shared::measure::SystemClock;

use super::memory::{peek, poke};
use super::thing::{How, InTurn, NOWHERE, Places, Thing, nothing};

/// The stack on which the caller runs: the maker's word on it, or, on another stack, where that one lies.
pub const STACK: Thing = Thing {
    name: "stack",
    how: How::InTurn(InTurn {
        set_up: |site| Ok([site.stack_word as u64, own_stack().context("finding the stack")?]),
        look: |[word, stack]| {
            let own = own_stack()?;
            if own == *stack { peek(*word) } else { Some(own) }
        },
        change: |places, value| poke(places[0], value),
    }),
};

/// Where the mapping ends in which the caller's stack lies. (Its start may grow.)
fn own_stack() -> Option<u64> {
    let here = 0;
    let address = (&raw const here).addr() as u64;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let ends = maps.lines().filter_map(|line| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        Some([from, to].map(|end| u64::from_str_radix(end, 16)))
    });
    ends.filter_map(|[from, to]| Some((from.ok()?, to.ok()?)))
        .find(|(from, to)| (*from..*to).contains(&address))
        .map(|it| it.1)
}

pub const PROGRAM_COUNTER: Thing = Thing { name: "program counter", how: How::FromOutside(counters) };

/// At which instruction the maker is, and the task, which waits: in different calls if each has a counter of its own.
fn counters(task: Pid) -> Result<[u64; 2]> {
    let look = || {
        let theirs = fs::read_to_string(format!("/proc/{task}/syscall")).map_err(unless_built)?;
        io::Result::Ok((theirs.trim() != "running").then_some(theirs)) // Else it is on its way to its wait.
    };
    let theirs = look_until(SystemClock, look).context("asking where a task is")?;
    let theirs = theirs.context("the task did not come to its wait")?;
    // By another call than the task's, which reads too.
    let mut text = [0; 256];
    let count = File::open("/proc/thread-self/syscall").and_then(|own| own.read_at(&mut text, 0));
    let ours = String::from_utf8_lossy(&text[..count.context("asking where this thread is")?]).into_owned();
    let counter = |line: &str| {
        let last = line.split_whitespace().last()?.strip_prefix("0x")?;
        u64::from_str_radix(last, 16).ok()
    };
    counter(&ours).zip(counter(&theirs)).map(|(ours, theirs)| [ours, theirs]).context("no counter is told")
}

/// Not every kernel is built to tell.
fn unless_built(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound { Errno::ENOSYS.into() } else { error }
}

/// One more thread of the maker, which waits until it is told to end.
pub const OTHER_THREADS: Thing = Thing {
    name: "other threads",
    how: How::InTurn(InTurn {
        set_up: |_| second_thread(),
        look: |[thread, _]| entry_of(*thread).exists().then_some(1),
        change: |places, value| if value == super::create::SET { Ok(()) } else { end_thread(places) },
    }),
};

fn second_thread() -> Result<Places> {
    let (mut gate, opener) = io::pipe().context("a pipe")?;
    let (mut told, teller) = io::pipe().context("a pipe")?;
    let wait = move || {
        let told = (&teller).write_all(&gettid().as_raw().to_ne_bytes());
        told.and_then(|()| gate.read_exact(&mut [0])) // From here on it does nothing but wait.
    };
    thread::Builder::new().spawn(wait).context("starting a thread")?;
    let mut number = [0; 4];
    told.read_exact(&mut number)?;
    Ok([i32::from_ne_bytes(number) as u64, opener.into_raw_fd() as u64])
}

fn end_thread([thread, opener]: &Places) -> io::Result<()> {
    // SAFETY: the descriptor stays open as long as the maker lives.
    let opener = unsafe { BorrowedFd::borrow_raw(*opener as RawFd) }.try_clone_to_owned()?;
    match PipeWriter::from(opener).write_all(&[0]) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()), // It has ended.
        written => written?,
    }
    // The kernel shows an ended thread for a moment.
    look_until(SystemClock, || Ok((!entry_of(*thread).exists()).then_some(()))).map(|_| ())
}

fn entry_of(thread: u64) -> PathBuf {
    PathBuf::from(format!("/proc/self/task/{thread}"))
}

pub const PID: Thing = Thing {
    name: "pid",
    how: How::InTurn(InTurn { set_up: |_| Ok(NOWHERE), look: |_| Some(getpid().as_raw() as u64), change: nothing }),
};

pub const PARENT: Thing = Thing {
    name: "parent's pid",
    how: How::InTurn(InTurn { set_up: |_| Ok(NOWHERE), look: |_| Some(getppid().as_raw() as u64), change: nothing }),
};
