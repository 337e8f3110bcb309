//! When is a pid given again, and whom does a signal to it hit then?

use std::fs;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use process_demo::child::Exit;
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply};
use process_demo::pidfd::PidFd;
use shared::{Stage, Tried};

use crate::family;

/// Who got the pid of a dead process.
pub struct Reuse {
    /// One while the dead process still had it.
    pub given_twice: bool,
    /// One after that.
    pub given_again: bool,
}

pub fn show(stage: &mut Stage) -> Result<Tried<Reuse>> {
    let reuse = family::tried(ask_for_one_pid(stage))?;
    family::wait_for_the_adopted(stage.clock())?;
    if let Err(why) = &reuse {
        stage.note(format!("Whether a pid is given again was not tried: {why}."));
    }
    Ok(reuse)
}

const WANTED: Pid = Pid::from_raw(100); // In a namespace of one's own nobody else has it.

/// What process 1 has: children, each a crew of one, and the descriptor of the first of them.
type Own = (Vec<Crew<()>>, Option<PidFd>);

fn ask_for_one_pid(stage: &mut Stage) -> Result<Reuse> {
    stage.note(format!(
        "In a pid namespace of its own, a program can tell the kernel after which pid to go on: so each child gets pid \
         {WANTED}, if it may."
    ));
    let mut one = Crew::of(Kind::Processes, 1, || family::become_process_one().map(|()| Own::default()))?;
    let bear = |(children, _): &mut Own, _: Arguments| {
        // The next process of this namespace gets the number after this one, or the next that is free.
        fs::write("/proc/sys/kernel/ns_last_pid", (WANTED.as_raw() - 1).to_string()).context("ns_last_pid")?;
        let child = Crew::of(Kind::Processes, 1, || Ok(()))?;
        let pid = child.tid(0).as_raw();
        children.push(child);
        Ok(pid as u64)
    };
    let first = one.ask(0, bear, NOTHING)?.value()?;
    let end_the_first = |(_, descriptor): &mut Own, _: Arguments| {
        *descriptor = Some(PidFd::open(WANTED)?);
        kill(WANTED, Signal::SIGKILL)?;
        waitid(Id::Pid(WANTED), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?; // It stays a zombie.
        Ok(0)
    };
    one.ask(0, end_the_first, NOTHING)?.value()?;
    let beside_the_zombie = one.ask(0, bear, NOTHING)?.value()?;
    let wait_for_the_first = |(children, _): &mut Own, _: Arguments| {
        drop(children.remove(0)); // A crew that is dropped waits for its processes.
        Ok(0)
    };
    one.ask(0, wait_for_the_first, NOTHING)?.value()?;
    let after_the_wait = one.ask(0, bear, NOTHING)?.value()?;
    let reuse = Reuse { given_twice: beside_the_zombie == first, given_again: after_the_wait == first };
    let got = format!("{first} was taken, the next got {beside_the_zombie}; after the wait, {after_the_wait}");
    let says = "Another process can get a zombie's pid, but only after the zombie has been waited for";
    stage.fact(says, !reuse.given_twice && reuse.given_again, got);

    let signal_by_descriptor = |(_, descriptor): &mut Own, _: Arguments| {
        let sent = descriptor.as_ref().context("no descriptor")?.signal(Signal::SIGTERM);
        Ok(sent.map_or_else(|error| error.raw_os_error().unwrap_or(0), |()| 0) as u64)
    };
    let by_descriptor = Errno::from_raw(one.ask(0, signal_by_descriptor, NOTHING)?.value()? as i32);
    // One that has got a signal that ends it answers no more.
    let is_ended = |(children, _): &mut Own, _: Arguments| {
        let reply = children.last_mut().context("no child")?.ask(0, |(), _| Ok(0), NOTHING)?;
        Ok((reply == Reply::Gone(Exit::Signal(Signal::SIGTERM))).into())
    };
    let ended_by_descriptor = one.ask(0, is_ended, NOTHING)?.value()? == 1;
    one.ask(0, |_, _| Ok(kill(WANTED, Signal::SIGTERM).map(|()| 0)?), NOTHING)?.value()?;
    let ended_by_pid = one.ask(0, is_ended, NOTHING)?.value()? == 1;
    let got = format!(
        "by descriptor {by_descriptor:?}, and the stranger {}; by pid {}",
        if ended_by_descriptor { "was dead" } else { "lived" },
        if ended_by_pid { "it was ended" } else { "it was not ended" },
    );
    let says = "A signal to the dead process's descriptor hits nobody; one to its pid hits a stranger";
    stage.fact(says, by_descriptor == Errno::ESRCH && !ended_by_descriptor && ended_by_pid, got);
    Ok(reuse)
}
