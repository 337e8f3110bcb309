//! Can one wait for two at once, and learn which of them has something, without a thread for each?

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering::Acquire};

use anyhow::{Context, Result, anyhow, ensure};
use crossbeam_channel::Select;
use ipc_channel::ipc::{IpcReceiverSet, IpcSelectionResult, channel};
use ipc_demo::queued_signal;
use nix::errno::Errno;
use nix::libc::{self, SIGUSR1, SIGUSR2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use process_demo::child::{Exit, fork};

use super::Seen;
use super::lines::mailbox::Mapped;
use super::lines::{BYTES, CROSSBEAM, FUTEX, IPC_CHANNEL, Line, Mechanism, Refusal, SIGNAL};
use crate::names::Names;

/// By the mechanism's own means where it has one, else by poll(2), where it has a descriptor.
pub fn of_two(mechanism: &Mechanism, names: &Names) -> Result<Seen> {
    match mechanism.name {
        IPC_CHANNEL => by_receiver_set(),
        CROSSBEAM => by_select(),
        FUTEX => by_futex_waitv(),
        SIGNAL => by_signal_set(),
        _ => by_poll((mechanism.open)(names)?, (mechanism.open)(names)?),
    }
}

fn means(by: &str, told_the_second: bool) -> Seen {
    if told_the_second { Seen::Partly(by.to_owned()) } else { Seen::No(format!("{by} names the wrong one")) }
}

fn by_poll(quiet: Line, mut ready: Line) -> Result<Seen> {
    let Some((first, second)) = quiet.descriptor.zip(ready.descriptor) else {
        return Ok(Seen::No("no descriptor".to_owned()));
    };
    let (first, second) = (first()?, second()?);
    let look = |patience: PollTimeout| -> Result<[bool; 2]> {
        let mut both = [&first, &second].map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
        poll(&mut both, patience)?;
        Ok(both.map(|end| end.any() == Some(true)))
    };
    if look(PollTimeout::ZERO)? != [false; 2] {
        return Ok(Seen::No("always ready".to_owned())); // Though nothing was sent.
    }
    let mut send = (ready.sender)().map_err(|Refusal(name)| anyhow!("{name}"))?;
    send(&[7; BYTES]).map_err(|Refusal(name)| anyhow!("{name}"))?;
    Ok(means("poll", look(PollTimeout::from(1000u16))? == [false, true]))
}

fn by_receiver_set() -> Result<Seen> {
    let (_quiet, first) = channel::<u64>().context("an ipc-channel")?;
    let (ready, second) = channel::<u64>()?;
    let mut set = IpcReceiverSet::new()?;
    set.add(first)?;
    let wanted = set.add(second)?;
    ready.send(7)?;
    let mut came = set.select()?.into_iter();
    let told = matches!(came.next(), Some(IpcSelectionResult::MessageReceived(id, _)) if id == wanted);
    Ok(means("IpcReceiverSet", told && came.next().is_none()))
}

fn by_select() -> Result<Seen> {
    let (_quiet, first) = crossbeam_channel::bounded::<u64>(1);
    let (ready, second) = crossbeam_channel::bounded(1);
    let mut select = Select::new();
    select.recv(&first);
    let wanted = select.recv(&second);
    ready.send(7)?;
    let chosen = select.select();
    let told = chosen.index() == wanted && chosen.recv(&second) == Ok(7);
    Ok(means("Select", told))
}

/// One thread may wait for a set of signals; each says which it is.
fn by_signal_set() -> Result<Seen> {
    queued_signal::block(&[SIGUSR1, SIGUSR2])?;
    kill(getpid(), Signal::SIGUSR2)?;
    let taken = queued_signal::take(&[SIGUSR1, SIGUSR2], std::time::Duration::from_secs(1))?;
    Ok(means("sigwait", taken.is_some_and(|taken| taken.signal == SIGUSR2)))
}

/// A word to wait for, see futex(2); neither nix nor libc has it.
#[repr(C)]
struct Awaited {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

impl Awaited {
    /// As long as no message was written.
    fn word(word: &AtomicU32) -> Awaited {
        const OF_32_BITS: u32 = 2; // FUTEX2_SIZE_U32; without FUTEX2_PRIVATE it works between processes.
        Awaited { value: 0, address: word.as_ptr() as u64, flags: OF_32_BITS, reserved: 0 }
    }
}

fn by_futex_waitv() -> Result<Seen> {
    let (quiet, ready) = (Mapped::new()?, Mapped::new()?);
    let work = || u8::from(ready.put(&[7; BYTES]).map(|number| ready.publish(number)).is_err());
    // SAFETY: the memory that both have holds atomic words alone.
    let child = unsafe { fork(work) }.context("starting a process")?;
    let words = [quiet.written(), ready.written()];
    while words.iter().all(|word| word.load(Acquire) == 0) {
        let awaited = words.map(Awaited::word);
        let forever = std::ptr::null::<libc::timespec>();
        let (count, flags) = (awaited.len() as u32, 0);
        // SAFETY: the words and their descriptions live during the call; there is no time-out to read.
        let woken = unsafe { libc::syscall(libc::SYS_futex_waitv, awaited.as_ptr(), count, flags, forever, 0) };
        match Errno::result(woken) {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {} // Woken, or one changed before: the words tell which.
            Err(Errno::ENOSYS) => return Ok(Seen::No("no futex_waitv".to_owned())), // Before Linux 5.16.
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(child.wait()? == Exit::Code(0), "the writer failed");
    Ok(means("futex_waitv", words.map(|word| word.load(Acquire)) == [0, 1]))
}
