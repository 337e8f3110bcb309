//! Does a thread or a process sleep in the kernel, and on which word?

use std::fs;
use std::ops::Range;

use anyhow::{Context, Result};
use nix::libc;
use nix::unistd::Pid;

/// Whether it sleeps in a futex call on a word in this range of addresses; an error if the kernel does not show it.
///
/// The id may be a thread's. See proc_pid_syscall(5): the call's number and its arguments, or `running`.
pub fn asleep_on(id: Pid, memory: &Range<usize>) -> Result<bool> {
    let read = |file| fs::read_to_string(format!("/proc/{id}/{file}")).with_context(|| format!("/proc/{id}/{file}"));
    let call = read("syscall")?;
    let mut fields = call.split_whitespace();
    let is_futex = fields.next().and_then(|number| number.parse().ok()) == Some(libc::SYS_futex);
    let word = fields.next().and_then(|first| usize::from_str_radix(first.trim_start_matches("0x"), 16).ok());
    let stat = read("stat")?;
    let sleeps = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')); // The name may hold anything.
    Ok(is_futex && sleeps && word.is_some_and(|word| memory.contains(&word)))
}
