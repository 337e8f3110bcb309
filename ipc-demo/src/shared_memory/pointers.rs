//! A list in shared memory, joined by pointers and by offsets. Which of them still lead where they should?

use std::hint;
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;
use nix::sys::signal::Signal;
use process_demo::child::{Exit, fork};

use super::memory::{WORD_BYTES, words_of};

pub const NODES: usize = 100;

/// What two children found in the same list.
pub struct Found {
    pub inherited: Led,
    pub mapped_again: Led,
    /// How the second child ended, once it followed its first pointer.
    pub end: Exit,
}

/// How many of the list's steps led to the next node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    pub by_pointer: u64,
    pub by_offset: u64,
}

/// One node: where the next one is, as a pointer and as an offset from the start of the memory.
#[repr(C)]
struct Node {
    number: AtomicU64,
    pointer: AtomicU64,
    offset: AtomicU64,
}

const NODE_WORDS: usize = size_of::<Node>() / WORD_BYTES;

pub fn follow() -> Result<Found> {
    let list = SharedRegion::new(NODES * size_of::<Node>())?;
    let report = SharedRegion::new(4 * WORD_BYTES)?;
    join(nodes_of(&list));
    let tell = |slot: usize, led: Led| {
        words_of(&report)[slot].store(led.by_pointer, Relaxed); // The child's end, waited for, orders it.
        words_of(&report)[slot + 1].store(led.by_offset, Relaxed);
    };
    let heard = |slot: usize| {
        let word = |slot: usize| words_of(&report)[slot].load(Relaxed);
        Led { by_pointer: word(slot), by_offset: word(slot + 1) }
    };
    let work = || {
        tell(0, led(nodes_of(&list)));
        0
    };
    // SAFETY: what stays shared are plain words.
    unsafe { fork(work) }.context("starting a process")?.wait()?;
    let mut list = Some(list);
    let work = || {
        let Some(Ok(again)) = list.take().map(elsewhere) else { return 1 };
        tell(2, led(nodes_of(&again)));
        let first = nodes_of(&again)[0].pointer.load(Relaxed) as usize;
        // SAFETY: nothing is mapped there; the fault that ends this child is what is to be seen.
        hint::black_box(unsafe { ptr::with_exposed_provenance::<u64>(first).read_volatile() });
        0
    };
    // SAFETY: as above.
    let end = unsafe { fork(work) }.context("starting a process")?.wait()?;
    Ok(Found { inherited: heard(0), mapped_again: heard(2), end })
}

/// Maps the memory at another address, and only then lets go of where it was: so nothing else comes to lie there.
fn elsewhere(old: SharedRegion) -> io::Result<SharedRegion> {
    SharedRegion::from_fd(old.fd().try_clone_to_owned()?)
}

pub const CRASHED: Exit = Exit::Signal(Signal::SIGSEGV);

fn nodes_of(region: &SharedRegion) -> &[Node] {
    let words = words_of(region);
    // SAFETY: a node is three words and nothing else, and the slice is cut to whole nodes.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len() / NODE_WORDS) }
}

const STRIDE: usize = 37; // It has no divisor in common with the number of nodes: so every node is reached.

/// Joins the nodes into a ring that goes criss-cross through the memory.
fn join(nodes: &[Node]) {
    for (index, node) in nodes.iter().enumerate() {
        let next = (index + STRIDE) % nodes.len();
        node.number.store(index as u64, Relaxed);
        node.pointer.store(ptr::from_ref(&nodes[next]).expose_provenance() as u64, Relaxed);
        node.offset.store((next * size_of::<Node>()) as u64, Relaxed);
    }
}

/// Follows both kinds of links from every node, but reads nothing outside of this mapping.
fn led(nodes: &[Node]) -> Led {
    let Range { start, end } = nodes.as_ptr_range();
    let (start, end) = (start.addr(), end.addr());
    let mut led = Led { by_pointer: 0, by_offset: 0 };
    for node in nodes {
        let expected = (node.number.load(Relaxed) + STRIDE as u64) % nodes.len() as u64;
        let leads = |address: usize| {
            let inside = (start..end).contains(&address);
            inside && nodes[(address - start) / size_of::<Node>()].number.load(Relaxed) == expected
        };
        led.by_pointer += u64::from(leads(node.pointer.load(Relaxed) as usize));
        led.by_offset += u64::from(leads(start + node.offset.load(Relaxed) as usize));
    }
    led
}
