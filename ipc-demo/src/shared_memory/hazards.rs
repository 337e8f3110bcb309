//! What comes along with memory that is shared: lost additions, and half a record.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipc_demo::ring::{Error, Ring};
use ipc_demo::shared_region::SharedRegion;
use nix::sys::mman::{ProtFlags, mprotect};
use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, sysconf};
use process_demo::child::Exit;
use process_demo::crew::{Crew, Kind, NOTHING, Reply, Task};
use shared::Stage;
use shared::number::count;

use super::mapped::{WORD_BYTES, words_of};

pub fn lose_an_addition(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Why not share everything? Two processes add to one shared word: first each at its own pace by fetch_add, \
         then by a load and a store, so that both read before either writes.",
    );
    let region = SharedRegion::new(WORD_BYTES)?;
    let word = &words_of(&region)[0];
    let mut crew = Crew::of(Kind::Processes, 2, || Ok((word, 0)))?;
    let add: Task<(&AtomicU64, u64)> = |(word, _), [times, ..]| {
        (0..times).for_each(|_| _ = word.fetch_add(1, Relaxed));
        Ok(0)
    };
    let load: Task<(&AtomicU64, u64)> = |(word, seen), _| {
        *seen = word.load(Relaxed);
        Ok(0)
    };
    let store: Task<(&AtomicU64, u64)> = |(word, seen), _| {
        word.store(*seen + 1, Relaxed);
        Ok(0)
    };
    let (each, rounds) = (stage.by_effort(100_000, 1_000_000, 10_000_000), stage.by_effort(100, 1000, 10_000));
    [0, 1].into_iter().for_each(|worker| crew.tell(worker, add, [each, 0, 0]));
    for worker in [0, 1] {
        crew.hear(worker)?.value()?;
    }
    let at_once = word.swap(0, Relaxed);
    for _ in 0..rounds {
        for (worker, step) in [(0, load), (1, load), (0, store), (1, store)] {
            crew.ask(worker, step, NOTHING)?.value()?;
        }
    }
    let in_two = word.load(Relaxed);
    let lost = |kept: u64, each: u64| format!("{} of {}", count(2 * each - kept), count(2 * each));
    stage.fact(
        "Two processes lose no addition by fetch_add, and one of two by load and store",
        at_once == 2 * each && in_two == rounds,
        format!("{} and {} lost", lost(at_once, each), lost(in_two, rounds)),
    );
    Ok(())
}

const OLD: u64 = 0x1111_1111_1111_1111;
const NEW: u64 = 0x2222_2222_2222_2222;

pub fn crash_while_writing(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Then a writer crashes in the middle of a record of two pages: it has lost the permission to write the last \
         part, so the store that comes there ends it. The record lies in plain memory first, and then in the ring.",
    );
    let bytes = 2 * page_bytes()?;
    let region = SharedRegion::new(bytes)?;
    words_of(&region).iter().for_each(|word| word.store(OLD, Relaxed));
    crash_in(&region, |region, _| {
        make_unwritable(region.fd(), 1)?;
        words_of(region).iter().for_each(|word| word.store(NEW, Relaxed));
        Ok(0)
    })?;
    let of = |region: &SharedRegion, value| words_of(region).iter().filter(|word| word.load(Relaxed) == value).count();
    let (new, old) = (of(&region, NEW), of(&region, OLD));
    let says = "In plain memory a writer's crash leaves part of the new record and part of the old";
    stage.fact(says, new > 0 && old > 0, format!("{} words new, {} old", count(new as u64), count(old as u64)));

    let ring = Ring::new(2, bytes)?;
    let mut receiver = ring.receiver()?;
    crash_in(&ring, |ring, _| {
        let mut sender = ring.sender()?;
        sender.try_send(&message(OLD)?)?;
        make_unwritable(ring.fd(), 2)?; // Its last pages: there the second message comes to lie.
        sender.try_send(&message(NEW)?)?;
        Ok(0)
    })?;
    let written = of(&SharedRegion::from_fd(ring.fd().try_clone_to_owned()?)?, NEW);
    let (words, old, mut whole, mut buffer) = (bytes / WORD_BYTES, message(OLD)?, 0, vec![0; bytes]);
    let then = loop {
        match receiver.receive_timeout(&mut buffer, Duration::ZERO) {
            Ok(length) if buffer[..length] == old => whole += 1,
            end => break end,
        }
    };
    let says = "From a ring the reader gets only whole messages, then the news of its writer's death";
    let as_said = whole == 1 && then == Err(Error::PeerGone) && (1..words).contains(&written);
    let then = then.map_or_else(|error| error.to_string(), |bytes| format!("{bytes} bytes"));
    stage.fact(says, as_said, format!("{written} of {words} words, {whole} whole message, then '{then}'"));
    Ok(())
}

/// Two pages full of one value.
fn message(value: u64) -> Result<Vec<u8>> {
    Ok(value.to_ne_bytes().repeat(2 * page_bytes()? / WORD_BYTES))
}

fn page_bytes() -> Result<usize> {
    let bytes = sysconf(SysconfVar::PAGE_SIZE)?.context("the size of a page")?;
    Ok(usize::try_from(bytes)?)
}

/// Runs a task in a process that must be ended by its first store to a page that it cannot write.
fn crash_in<W: Copy + Sync>(own: W, task: Task<W>) -> Result<()> {
    let reply = Crew::of(Kind::Processes, 1, || Ok(own))?.ask(0, task, NOTHING)?;
    let crashed = reply == Reply::Gone(Exit::Signal(Signal::SIGSEGV));
    ensure!(crashed, "the writer was to crash in the middle: {reply:?}");
    Ok(())
}

/// Takes from this process the permission to write the last pages of the file's mapping.
fn make_unwritable(file: BorrowedFd<'_>, pages: usize) -> Result<()> {
    let inode = File::from(file.try_clone_to_owned()?).metadata()?.ino().to_string();
    let maps = fs::read_to_string("/proc/self/maps")?;
    let line = maps.lines().find(|line| line.split_whitespace().nth(4) == Some(&inode)).context("it is not mapped")?;
    let end = line.split(['-', ' ']).nth(1).context("a mapping without an end")?;
    let bytes = pages * page_bytes()?;
    let from = NonZeroUsize::new(usize::from_str_radix(end, 16)? - bytes).context("a mapping at zero")?;
    let from = NonNull::new(ptr::with_exposed_provenance_mut(from.get())).context("a mapping at zero")?;
    // SAFETY: the last pages of this mapping; whoever writes there afterwards is ended, as is to be seen.
    Ok(unsafe { mprotect(from, bytes, ProtFlags::PROT_READ) }?)
}
