//! Can one wait for two at once, and learn which of them has something, without a thread for each?

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering::Release};
use std::time::Duration;

use anyhow::{Context, Result};
use ipc_channel::ipc::{IpcReceiverSet, IpcSelectionResult, channel};
use ipc_demo::queued_signal;
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::libc::{self, SIGUSR1, SIGUSR2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply};
use shared::measure::SystemClock;

use super::Seen;
use super::lines::{BYTES, FUTEX, IPC_CHANNEL, Mechanism, SIGNAL};
use crate::futex::wake;
use crate::names::Names;

/// By the mechanism's own means where it has one, else by poll(2), where it has a descriptor.
pub fn wait_for_two(mechanism: &Mechanism, names: &Names) -> Result<Seen> {
    match mechanism.name {
        IPC_CHANNEL => by_receiver_set(),
        FUTEX => by_futex_waitv(),
        SIGNAL => by_signal_set(),
        _ => by_poll(mechanism, names),
    }
}

fn means(by: &str, told_the_second: bool) -> Seen {
    if told_the_second { Seen::Partly(by.to_owned()) } else { Seen::No(format!("{by} names the wrong one")) }
}

fn by_poll(mechanism: &Mechanism, names: &Names) -> Result<Seen> {
    let (quiet, ready) = ((mechanism.open)(names)?, (mechanism.open)(names)?);
    let Some((first, second)) = quiet.polled.zip(ready.polled) else {
        return Ok(Seen::No("nothing to poll".to_owned()));
    };
    let look = |patience: PollTimeout| -> Result<[bool; 2]> {
        let mut both = [&first, &second].map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
        poll(&mut both, patience)?;
        Ok(both.map(|end| end.any() == Some(true)))
    };
    let before = look(PollTimeout::ZERO)?;
    (ready.send)(&[7; BYTES], getpid())?;
    Ok(means("poll", [before, look(PollTimeout::from(1000u16))?] == [[false, false], [false, true]]))
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

/// One thread may wait for a set of signals; each says which it is.
fn by_signal_set() -> Result<Seen> {
    queued_signal::block(&[SIGUSR1, SIGUSR2])?;
    kill(getpid(), Signal::SIGUSR2)?;
    let taken = queued_signal::take(&[SIGUSR1, SIGUSR2], Duration::from_secs(1))?;
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

fn by_futex_waitv() -> Result<Seen> {
    let region = SharedRegion::new(size_of::<[AtomicU32; 2]>()).context("shared memory")?;
    // SAFETY: the region is large enough, zeroed, aligned to a page and lives as long; all zeros are two words.
    let words = unsafe { &*region.as_ptr().cast::<[AtomicU32; 2]>() };
    let mut reader = Crew::of(Kind::Processes, 1, || Ok(words))?;
    reader.tell(0, wait_for_either, NOTHING);
    let at_once = reader.hear_or_see_asleep(0, SystemClock)?.ok(); // An error; else it sleeps.
    words[1].store(1, Release);
    wake(&words[1]);
    match at_once.map_or_else(|| reader.hear(0), Ok)? {
        Reply::Failed { errno: Errno::ENOSYS, .. } => Ok(Seen::No("no futex_waitv".to_owned())), // Before Linux 5.16.
        told => Ok(means("futex_waitv", told.value()? == 1)),
    }
}

/// Sleeps as long as both are zero, until one is woken; tells which, by the kernel's word.
fn wait_for_either(words: &mut &[AtomicU32; 2], _: Arguments) -> Result<u64> {
    const OF_32_BITS: u32 = 2; // FUTEX2_SIZE_U32; without FUTEX2_PRIVATE it works between processes.
    let address = |word: &AtomicU32| word.as_ptr() as u64;
    let both =
        words.each_ref().map(|word| Awaited { value: 0, address: address(word), flags: OF_32_BITS, reserved: 0 });
    loop {
        let forever = std::ptr::null::<libc::timespec>();
        // SAFETY: the words and their descriptions live during the call; there is no time-out to read.
        let woken = unsafe { libc::syscall(libc::SYS_futex_waitv, both.as_ptr(), both.len(), 0, forever, 0) };
        match Errno::result(woken) {
            Err(Errno::EINTR) => {}
            which => return Ok(which? as u64),
        }
    }
}
