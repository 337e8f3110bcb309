//! Does a child sleep in the kernel?

use std::fs;

use anyhow::{Context, Result, bail};
use nix::sched::sched_yield;
use nix::unistd::Pid;
use shared::measure::SystemClock;

const PATIENCE_NS: u64 = 10_000_000_000; // A bound only, for a machine under load.

/// Waits until the child sleeps, or has ended; true if it sleeps. What it does between two sleeps must be awake.
pub fn wait_until_asleep(child: Pid, clock: SystemClock) -> Result<bool> {
    let from_ns = clock.now_ns();
    while clock.now_ns() - from_ns < PATIENCE_NS {
        match state_of(child)? {
            'S' => return Ok(true),
            'Z' | 'X' => return Ok(false),
            _ => sched_yield()?, // Lets it run, on one CPU too.
        }
    }
    bail!("process {child} neither slept nor ended within ten seconds")
}

/// The letter that stands in /proc after the name: R, S, D, T, Z and others, see proc_pid_stat(5).
fn state_of(child: Pid) -> Result<char> {
    let stat = fs::read_to_string(format!("/proc/{child}/stat")).context("looking at a child")?;
    let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest);
    after_name.and_then(|rest| rest.chars().next()).context("a child without a state")
}
