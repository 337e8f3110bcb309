//! What does each act reach, seen from outside?

use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use process_demo::pidfd::PidFd;
use shared::measure::SystemClock;

use super::super::sight::{look_until, state, states};
use super::hands::{Act, Actor, DESCRIPTORS, Kind, NICEST, Target, get_limit, niceness};
use super::{ACTS, Reach};

/// Has the actor try everything on the target; the target ends last, unless that is refused.
pub fn all(actor: &mut Actor, target: Target, clock: SystemClock) -> Result<[Reach; ACTS.len()]> {
    let wait = told(actor.have_done(Act::Wait)?);
    let open = told(actor.have_done(Act::Open)?);
    let stop = stop(actor, target, clock)?;
    let priority = priority(actor, target)?;
    let limit = limit(actor, target)?;
    let pidfd = PidFd::open(target.process).context("pidfd_open")?;
    let end = end(actor, target.kind, &pidfd, clock)?;
    let see = match (target.kind, &open) {
        (Kind::Process, Reach::Alone) => {
            if end != Reach::Alone {
                pidfd.signal(Signal::SIGKILL).context("ending it")?; // Somebody must, for its end to be seen.
            }
            told(actor.have_done(Act::See)?)
        }
        _ => open,
    };
    Ok([wait, see, stop, priority, limit, end])
}

fn end(actor: &mut Actor, kind: Kind, pidfd: &PidFd, clock: SystemClock) -> Result<Reach> {
    let mut reply = None;
    actor.order(Act::End)?;
    if kind == Kind::Process {
        reply = Some(actor.reply()?);
    }
    let outcome = look_until(clock, || {
        // Who was ended with its process replies no more: then there is nothing to read.
        reply = reply.or(actor.replied().ok().flatten());
        let ended = pidfd.ends_within(Duration::ZERO).is_ok_and(|ended| ended);
        reply.filter(|&error| error != 0).or(ended.then_some(0))
    });
    Ok(match outcome {
        Some(0) => reach_of(kind), // The process is over: with all of its threads.
        Some(refused) => told(refused),
        None => Reach::Refused("no effect".to_owned()),
    })
}

fn stop(actor: &mut Actor, target: Target, clock: SystemClock) -> Result<Reach> {
    let stopped = |states: Vec<char>| !states.is_empty() && states.iter().all(|&state| state == 'T');
    actor.order(Act::Stop)?;
    let mut reply = None;
    let seen = look_until(clock, || {
        reply = reply.or(actor.replied().ok().flatten());
        let refused = reply.filter(|&error| error != 0);
        refused.or(stopped(states(target.process)).then_some(0))
    });
    let reached = match seen {
        Some(0) => reach_of(target.kind),
        Some(refused) => return Ok(told(refused)),
        // For long enough, not all of its threads were seen stopped: then it alone is, or nobody.
        None if state(target.id) == Some('T') => Reach::Alone,
        None => Reach::Refused("no effect".to_owned()),
    };
    kill(target.process, Signal::SIGCONT).context("going on")?;
    let going = || states(target.process).iter().all(|&state| state != 'T').then_some(());
    look_until(clock, going).context("it does not go on")?;
    if reply.is_none() {
        actor.reply()?; // One that was stopped itself replies now.
    }
    Ok(reached)
}

fn priority(actor: &mut Actor, target: Target) -> Result<Reach> {
    let before = niceness(target.process).context("getpriority")?;
    if before == NICEST {
        return Ok(Reach::Skipped("the lowest was set before".to_owned())); // As by nice(1): no change could be seen.
    }
    let reply = actor.have_done(Act::Priority)?;
    if reply != 0 {
        return Ok(told(reply));
    }
    let first = niceness(target.process).context("getpriority")?;
    let its = niceness(target.id).context("getpriority")?;
    Ok(match (target.kind, its == NICEST, first == before) {
        (Kind::Process, true, _) | (Kind::Thread, true, true) => Reach::Alone,
        (_, true, false) => Reach::Whole,
        (_, false, _) => Reach::Refused("no effect".to_owned()),
    })
}

fn limit(actor: &mut Actor, target: Target) -> Result<Reach> {
    let reply = actor.have_done(Act::Limit)?;
    if reply != 0 {
        return Ok(told(reply));
    }
    let limited = |id| get_limit(id).is_ok_and(|limit| limit.rlim_cur == DESCRIPTORS.min(limit.rlim_max));
    Ok(match (target.kind, limited(target.id), limited(target.process)) {
        (Kind::Process, true, _) | (Kind::Thread, true, false) => Reach::Alone,
        (Kind::Thread, true, true) => Reach::Whole,
        (_, false, _) => Reach::Refused("no effect".to_owned()),
    })
}

/// What reached a whole process: that is what was meant, or more.
fn reach_of(kind: Kind) -> Reach {
    match kind {
        Kind::Process => Reach::Alone,
        Kind::Thread => Reach::Whole,
    }
}

fn told(reply: i32) -> Reach {
    match reply {
        0 => Reach::Alone,
        error => Reach::Refused(format!("{:?}", Errno::from_raw(error))),
    }
}
