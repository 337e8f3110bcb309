//! How does a forked child tell what it counted, and stay to be looked at?

use std::io::{self, Read, Write};

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::pause;
use process_demo::child::{self, Child};

/// Forks a child that works and tells numbers; it sleeps then, until its handle is dropped.
pub fn fork_and_ask<const N: usize>(work: impl FnOnce() -> [u64; N]) -> Result<(Child, [u64; N])> {
    let (mut report, mut reporter) = io::pipe().context("a pipe")?;
    let live = move || {
        let numbers = work();
        if reporter.write_all(numbers.map(u64::to_ne_bytes).as_flattened()).is_err() {
            return 1;
        }
        loop {
            pause(); // Its end is its handle's.
        }
    };
    // SAFETY: the child uses memory of its own and a pipe; nothing here is in shared memory.
    let child = unsafe { child::fork(live) }.context("forking")?;
    let mut numbers = [[0; 8]; N];
    report.read_exact(numbers.as_flattened_mut()).context("the child told nothing")?;
    Ok((child, numbers.map(u64::from_ne_bytes)))
}

/// So many page faults has this process had.
pub fn faults() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may always ask for its own usage");
    (usage.minor_page_faults() + usage.major_page_faults()) as u64
}

/// So many, give or take what a process does besides: its stack, its program, a page that the kernel moved meanwhile.
pub fn is_about(counted: u64, expected: u64) -> bool {
    counted >= expected && is_near(counted, expected)
}

/// The same to both sides: a page of code that a process had alone is another's too once that one runs the same code.
pub fn is_near(counted: u64, expected: u64) -> bool {
    const BESIDES: u64 = 64; // Pages: the stack, and code that a child first uses, which Linux maps by sixteen.
    counted.abs_diff(expected) <= expected / 100 + BESIDES
}
