//! What can go wrong in memory that two processes share?

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
use nix::sys::mman::{ProtFlags, mprotect, munmap};
use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, sysconf};
use process_demo::child::Exit;
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply, Task};
use shared::number::count;
use shared::{Cell, Demo, Extras, Snippet, Stage, Table};

use crate::mapped::{Mapping, WORD_BYTES, words_of};

pub const DEMO: Demo = Demo {
    name: "shared-pitfalls",
    question: "What can go wrong in memory that two processes share?",
    claims: &[],
    rule: "It gives no verdict. A child follows a list's pointers, then its offsets, through all nodes: once where it \
           inherited the mapping, once where it mapped the memory elsewhere. A writer is ended by force in the middle of \
           a record, in plain memory and in a ring; then its reader looks at what is there.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let pointer_ends = follow_links(stage)?;
    stage.note(
        "Then a writer crashes in the middle of a record of two pages: it has lost the permission to write the last \
         part, so the store that comes there ends it. The record lies in plain memory first, and then in the ring.",
    );
    let [new, old] = crash_in_plain_memory(stage)?;
    let only_whole = crash_in_a_ring(stage)?;
    let (written, all) = (count(new as u64), count((new + old) as u64));
    stage.headline(format!("{written} of {all} words new after a crash"));
    stage.answer(format!(
        "Where the memory lies at another address, a pointer {}. A writer's crash leaves {written} of {all} words new; \
         from a ring came {}.",
        if pointer_ends { "ends the reader" } else { "did not end the reader" },
        if only_whole { "only whole messages" } else { "something else than whole messages" },
    ));
    stage.advise("Link by offsets, and publish whole messages: copy `ring`.");
    Ok(())
}

/// A list in shared memory, joined by pointers and by offsets: which of them lead to its nodes? Whether a pointer ended
/// the reader that has the memory at another address.
fn follow_links(stage: &mut Stage) -> Result<bool> {
    const NODES: usize = 100;
    let list = SharedRegion::new(2 * NODES * WORD_BYTES)?;
    let words = words_of(&list);
    for node in 0..NODES {
        let next = node_after(node, NODES);
        words[2 * node].store(ptr::from_ref(&words[2 * next]).expose_provenance() as u64, Relaxed);
        words[2 * node + 1].store((2 * next) as u64, Relaxed);
    }
    stage.note(format!(
        "A list of {NODES} nodes lies in shared memory, each joined to the next by a pointer and by an offset. One child \
         inherits the mapping; another maps it elsewhere, and lets go of what it inherited."
    ));
    let mut heir = Crew::of(Kind::Processes, 1, || Ok(words))?;
    let mut stranger = Crew::of(Kind::Processes, 1, || {
        let again: &Mapping = Box::leak(Box::new(Mapping::to_write(list.fd(), list.len())?));
        let start = NonNull::new(list.as_ptr()).context("a region at zero")?;
        // SAFETY: in this process nobody uses it any more. Only now: so nothing else comes to lie there.
        unsafe { munmap(start.cast(), list.len()) }?;
        Ok(again.words())
    })?;
    let follow = |reader: &mut Crew<_>, links: Task<_>| -> Result<String> {
        Ok(match reader.ask(0, links, NOTHING)? {
            Reply::Gone(exit) => exit.to_string(),
            reply => format!("{} of {NODES}", reply.value()?),
        })
    };
    let here = [follow(&mut heir, by_offsets)?, follow(&mut heir, by_pointers)?];
    let elsewhere = [follow(&mut stranger, by_offsets)?, follow(&mut stranger, by_pointers)?];
    let all = format!("{NODES} of {NODES}");
    let cell = |end: &String| if *end == all { Cell::good(end.as_str()) } else { Cell::bad(end.as_str()) };
    let row = |memory: &str, ends: &[String; 2]| [vec![memory.into()], ends.each_ref().map(cell).into()].concat();
    let rows = [row("at the same address", &here), row("at another address", &elsewhere)];
    stage.show(Table::new("Nodes to which a list's links lead", ["memory lies", "by offset", "by pointer"], rows));
    let ended = elsewhere[1] == Exit::Signal(Signal::SIGSEGV).to_string();
    let led = here.iter().chain([&elsewhere[0]]).all(|end| *end == all);
    let says = "Offsets lead to every node in both processes, pointers only where the memory lies at the same address";
    stage.fact(says, led && ended, format!("{}; {}", here.join(", "), elsewhere.join(", ")));
    Ok(ended)
}

/// The list goes criss-cross through the memory, and reaches every node: its stride has no divisor in common with 100.
fn node_after(node: usize, nodes: usize) -> usize {
    const STRIDE: usize = 37;
    (node + STRIDE) % nodes
}

/// How many steps led to the next node.
fn by_offsets(words: &mut &[AtomicU64], _: Arguments) -> Result<u64> {
    let (nodes, mut node, mut right) = (words.len() / 2, 0, 0);
    for _ in 0..nodes {
        let next = words[2 * node + 1].load(Relaxed) as usize / 2;
        right += u64::from(next == node_after(node, nodes));
        node = next;
    }
    Ok(right)
}

fn by_pointers(words: &mut &[AtomicU64], _: Arguments) -> Result<u64> {
    let (nodes, mut node, mut right) = (words.len() / 2, 0, 0);
    let mut at = ptr::from_ref(&words[0]);
    for _ in 0..nodes {
        // SAFETY: inherited, it is a node of the list. Mapped elsewhere, nothing lies there, and the fault that ends this
        // process is what is to be seen.
        at = ptr::with_exposed_provenance(unsafe { (*at).load(Relaxed) } as usize);
        node = node_after(node, nodes);
        right += u64::from(ptr::eq(at, &raw const words[2 * node]));
    }
    Ok(right)
}

const OLD: u64 = 0x1111_1111_1111_1111;
const NEW: u64 = 0x2222_2222_2222_2222;

/// How many words of the record are new, and how many old.
fn crash_in_plain_memory(stage: &mut Stage) -> Result<[usize; 2]> {
    let region = SharedRegion::new(2 * page_bytes()?)?;
    words_of(&region).iter().for_each(|word| word.store(OLD, Relaxed));
    crash_in(&region, |region, _| {
        make_unwritable(region.fd(), 1)?;
        words_of(region).iter().for_each(|word| word.store(NEW, Relaxed));
        Ok(0)
    })?;
    let [new, old] = [NEW, OLD].map(|value| words_with(value, &region));
    let says = "In plain memory a writer's crash leaves part of the new record and part of the old";
    stage.fact(says, new > 0 && old > 0, format!("{} words new, {} old", count(new as u64), count(old as u64)));
    Ok([new, old])
}

/// Whether its reader got only the message before that.
fn crash_in_a_ring(stage: &mut Stage) -> Result<bool> {
    let bytes = 2 * page_bytes()?;
    let message = |value: u64| value.to_ne_bytes().repeat(bytes / WORD_BYTES);
    let (old, new) = (message(OLD), message(NEW));
    let ring = Ring::new(2, bytes)?;
    let mut receiver = ring.receiver()?;
    crash_in((&ring, &old, &new), |(ring, old, new), _| {
        let mut sender = ring.sender()?;
        sender.try_send(old)?;
        make_unwritable(ring.fd(), 2)?; // Its last pages: there the second message comes to lie.
        sender.try_send(new)?;
        Ok(0)
    })?;
    let written = words_with(NEW, &SharedRegion::from_fd(ring.fd().try_clone_to_owned()?)?);
    let (words, mut whole, mut buffer) = (bytes / WORD_BYTES, 0, vec![0; bytes]);
    let then = loop {
        match receiver.receive_timeout(&mut buffer, Duration::ZERO) {
            Ok(length) if buffer[..length] == old => whole += 1,
            end => break end,
        }
    };
    let says = "From a ring the reader gets only whole messages, then the news of its writer's death";
    let as_said = whole == 1 && then == Err(Error::PeerGone) && (1..words).contains(&written);
    let then = then.map_or_else(|error| error.to_string(), |bytes| format!("{bytes} bytes"));
    let written = format!("{} of {} words", count(written as u64), count(words as u64));
    Ok(stage.fact(says, as_said, format!("{written}, {whole} whole message, then '{then}'")))
}

fn words_with(value: u64, region: &SharedRegion) -> usize {
    words_of(region).iter().filter(|word| word.load(Relaxed) == value).count()
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
