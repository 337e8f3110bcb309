//! Does a process sleep in the kernel, in which call, and is it still the same sleep?

use anyhow::{Context, Result};
use nix::libc;
use nix::unistd::Pid;
use process_demo::asleep::{Activity, activity_of, look_until, state_of};
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

/// Waits until `who` names a process that is seen at two looks in the same sleep; none if that takes too long.
pub fn wait_until_settled(mut who: impl FnMut() -> Result<Option<Pid>>) -> Result<Option<Nap>> {
    let mut last = None;
    look_until(SystemClock, || {
        let nap = who()?.map(nap_of).transpose()?.flatten();
        let same = nap.clone().filter(|_| nap == last);
        last = nap;
        Ok(same)
    })
}

/// One sleep: as long as the count stays, it is the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nap {
    pub switches: u64,
    pub call: String,
}

/// Where a process sleeps, if it does: how often it ever went to sleep, and by which call.
pub fn nap_of(pid: Pid) -> Result<Option<Nap>> {
    let Activity::Asleep(sleep) = activity_of(pid).context("looking at a process")? else { return Ok(None) };
    let switches = sleep.switches.context("/proc does not count switches")?;
    let call = sleep.call.map_or_else(|_| "a call".to_owned(), |call| name_of(call.number));
    Ok(Some(Nap { switches, call }))
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
