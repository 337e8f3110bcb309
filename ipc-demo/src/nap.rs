//! Where does a process sleep, and is it still the same sleep?

use std::fs;

use anyhow::{Context, Result};
use nix::libc;
use nix::unistd::Pid;

/// One sleep: as long as the count stays, it is the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nap {
    pub switches: u64,
    pub call: String,
}

/// Where a process sleeps, if it does: how often it ever went to sleep, and by which call.
pub fn nap_of(pid: Pid) -> Result<Option<Nap>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading /proc")?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if !field("State:").is_some_and(|state| state.starts_with('S')) {
        return Ok(None);
    }
    let switches = field("voluntary_ctxt_switches:").and_then(|count| count.parse().ok());
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
