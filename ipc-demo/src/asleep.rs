//! Does a process sleep in the kernel, in which call, and is it still the same sleep?

use std::fs;

use anyhow::{Context, Result, bail};
use nix::libc;
use nix::sched::sched_yield;
use nix::unistd::Pid;
use shared::measure::SystemClock;

const PATIENCE_NS: u64 = 10_000_000_000; // A bound only, for a machine under load.

/// Waits until the child sleeps, or has ended; true if it sleeps. What it does between two sleeps must be awake.
pub fn wait_until_asleep(child: Pid, clock: SystemClock) -> Result<bool> {
    let from_ns = clock.now_ns();
    while clock.now_ns() - from_ns < PATIENCE_NS {
        match state_of(&status_of(child)?) {
            Some('S') => return Ok(true),
            Some('Z' | 'X') => return Ok(false),
            _ => sched_yield()?, // Lets it run, on one CPU too.
        }
    }
    bail!("process {child} neither slept nor ended within ten seconds")
}

/// One sleep: as long as the count stays, it is the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nap {
    pub switches: u64,
    pub call: String,
}

/// Where a process sleeps, if it does: how often it ever went to sleep, and by which call.
pub fn nap_of(pid: Pid) -> Result<Option<Nap>> {
    let status = status_of(pid)?;
    if state_of(&status) != Some('S') {
        return Ok(None);
    }
    let switches = field(&status, "voluntary_ctxt_switches:").and_then(|count| count.parse().ok());
    Ok(Some(Nap { switches: switches.context("/proc does not count switches")?, call: call_of(pid) }))
}

/// The call that a sleeping process is in, by name; what /proc does not tell is a call without a name.
fn call_of(pid: Pid) -> String {
    let told = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = told.split_whitespace().next().and_then(|word| word.parse().ok());
    let name = match number {
        Some(libc::SYS_read) => "read",
        Some(libc::SYS_write) => "write",
        Some(libc::SYS_recvfrom) => "recv",
        Some(libc::SYS_recvmsg) => "recvmsg",
        Some(libc::SYS_sendto) => "send",
        Some(libc::SYS_sendmsg) => "sendmsg",
        Some(libc::SYS_mq_timedreceive) => "mq_receive",
        Some(libc::SYS_mq_timedsend) => "mq_send",
        Some(libc::SYS_futex) => "futex",
        Some(libc::SYS_rt_sigtimedwait) => "sigwait",
        Some(number) => return format!("call {number}"),
        None => "a call",
    };
    name.to_owned()
}

fn status_of(pid: Pid) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/status")).context("looking at a process")
}

/// R, S, D, T, Z and others, see proc_pid_status(5).
fn state_of(status: &str) -> Option<char> {
    field(status, "State:")?.chars().next()
}

fn field<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
