//! Does a process sleep in the kernel, and what is the call named in which it does?

use anyhow::{Context, Result};
use nix::libc;
use nix::unistd::Pid;
use process_demo::asleep::{look_until, state_of};
use shared::measure::SystemClock;

/// Waits until the child sleeps, or has ended; true if it sleeps. What it does between two sleeps must be awake.
pub fn wait_until_asleep(child: Pid, clock: SystemClock) -> Result<bool> {
    let look = || match state_of(child).context("looking at a process")? {
        'S' => Ok(Some(true)),
        'Z' | 'X' => Ok(Some(false)),
        _ => anyhow::Ok(None),
    };
    look_until(clock, look)?.with_context(|| format!("process {child} neither slept nor ended within ten seconds"))
}

/// A system call's name, as people know it.
pub fn name_of(number: i64) -> String {
    let name = match number {
        libc::SYS_read => "read",
        libc::SYS_write => "write",
        libc::SYS_recvfrom => "recv",
        libc::SYS_recvmsg => "recvmsg",
        libc::SYS_sendto => "send",
        libc::SYS_sendmsg => "sendmsg",
        libc::SYS_mq_timedreceive => "mq_receive",
        libc::SYS_mq_timedsend => "mq_send",
        libc::SYS_futex => "futex",
        libc::SYS_rt_sigtimedwait => "sigwait",
        number => return format!("call {number}"),
    };
    name.to_owned()
}
