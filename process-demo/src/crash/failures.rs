//! What are the six failures, and how does each of them really happen?

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::panic;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::resource::Resource;
use nix::unistd::{dup2_stderr, dup2_stdout};
use process_demo::limits::{self, Limit};

/// Each fails when it is called. It returns only where the failure did not come off.
pub const FAILURES: [(&str, fn()); 6] = [
    ("panic", || panic!("a panic on purpose")),
    ("abort", || std::process::abort()),
    ("segmentation fault", write_where_nobody_may),
    ("stack overflow", overflow_the_stack),
    ("out of memory", take_more_than_there_is),
    ("exit from deep inside", || exit_from_below(100)),
];

/// A victim says nothing: what a panic, an abort and an overflow report goes nowhere.
pub fn hush() -> anyhow::Result<()> {
    panic::set_hook(Box::new(|_| {})); // Nor does it spend time on a backtrace that nobody sees.
    let nowhere = std::fs::File::options().write(true).open("/dev/null")?;
    dup2_stdout(&nowhere)?;
    Ok(dup2_stderr(&nowhere)?)
}

fn write_where_nobody_may() {
    let bytes = NonZeroUsize::MIN; // The kernel rounds up to a whole page.
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) };
    if let Ok(page) = page {
        // SAFETY: it is sound because it never happens: the page lets nobody write, and the kernel ends the process.
        unsafe { page.cast::<u8>().write_volatile(1) };
    }
}

fn overflow_the_stack() {
    // The main thread's stack may have no limit at all; then it gets the usual one, or this would take all memory.
    const USUAL_BYTES: u64 = 8 << 20;
    if Limit::lower(Resource::RLIMIT_STACK, USUAL_BYTES).and_then(Limit::set).is_ok() {
        black_box(recurse(0));
    }
}

/// Each call needs its frame after the one below has returned, so no compiler can turn this into a loop.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    let below = if black_box(true) { recurse(depth + 1) } else { 0 };
    below + black_box(&frame)[63]
}

/// A list that grows and is never emptied; what the standard library does when there is no more memory is the failure.
fn take_more_than_there_is() {
    const ROOM_BYTES: u64 = 4 << 20; // Enough for real growth, little enough to be quick.
    // Where the limit does not bind, the machine's memory is not ours to take. A thread gets more than the room: glibc has
    // set aside 64 MiB of address space for its allocations, which count as taken already.
    const MOST_BYTES: usize = 256 << 20;
    if limits::more_address_space(ROOM_BYTES).and_then(Limit::set).is_ok() {
        let mut list = Vec::new();
        while list.len() < MOST_BYTES {
            list.extend_from_slice(black_box(&[1; 4096]));
        }
        black_box(list);
    }
}

/// Somewhere below, code that does not know its caller ends the whole program.
#[expect(clippy::disallowed_methods, reason = "ending the process from anywhere is the failure that is shown")]
fn exit_from_below(levels: u32) {
    const CODE: i32 = 7; // None that a panic or a victim's other ends give.
    match levels {
        0 => std::process::exit(CODE),
        _ => exit_from_below(levels - 1),
    }
}
