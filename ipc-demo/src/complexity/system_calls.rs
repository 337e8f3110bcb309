//! How many system calls does each way need, to be set up and for each message? Both sides are followed, and counted.

use std::collections::BTreeMap;
use std::mem::forget;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::{hint, thread};

use anyhow::{Context, Result, bail, ensure};
use ipc_demo::shared_region::SharedRegion;
use nix::libc;
use nix::sched::sched_yield;
use nix::unistd::{Pid, getpid};
use process_demo::child::{Exit, fork};
use process_demo::system_calls::{Calls, count};

use crate::abilities::lines::{BYTES, Between, Mechanism, Patience, Receiving, Refusal, Sending};
use crate::asleep::wait_until_settled;
use crate::names::Names;

/// How often each call was made.
pub type ByName = BTreeMap<String, u64>;

/// Of one mechanism.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub set_up: u64,
    /// By both sides, for a message that the receiver sleeps for.
    pub awaited: PerMessage,
    /// By both sides, for a message that is there before the receiver looks.
    pub present: PerMessage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerMessage {
    pub calls: ByName,
    /// The next message needed the same.
    pub repeats: bool,
}

impl PerMessage {
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }
}

pub fn of(mechanism: &Mechanism, names: &Names) -> Result<Counted> {
    // Both ends stay open, so that their closing is not counted; the child ends at once.
    let open = || forget(both_ends(mechanism, names).unwrap_or_else(|_| give_up()));
    // SAFETY: the child has a channel of its own, and owns nothing else in shared memory.
    let set_up = unsafe { count(open) }.context("counting system calls")?;
    let set_up = without_the_allocator(set_up.own).values().sum();
    let present = per_message(&|messages| present(mechanism, names, messages))?;
    let awaited = per_message(&|messages| awaited(mechanism, names, messages))?;
    Ok(Counted { set_up, awaited, present })
}

const MESSAGES: [u64; 3] = [2, 3, 4]; // The first may still find something to be made ready.
const TRIES: usize = 20; // An idle ring looks around ten times a second, and a join may find its thread still there.

/// What one message more costs, twice. Of each run the fewest calls count: what came by chance is no part of a message.
fn per_message(run: &dyn Fn(u64) -> Result<ByName>) -> Result<PerMessage> {
    let mut fewest: Option<[ByName; 3]> = None;
    for _ in 0..TRIES {
        let seen = [run(MESSAGES[0])?, run(MESSAGES[1])?, run(MESSAGES[2])?];
        let best = fewest
            .take()
            .map_or_else(|| seen.clone(), |best| std::array::from_fn(|index| fewer(&best[index], &seen[index])));
        // Or of this try alone: by chance a message may once have needed fewer, too.
        if let Some(calls) = same_twice(&best).or_else(|| same_twice(&seen)) {
            return Ok(PerMessage { calls, repeats: true });
        }
        fewest = Some(best);
    }
    let [_, more, most] = fewest.context("nothing was counted")?;
    Ok(PerMessage { calls: beyond(&most, &more).unwrap_or_default(), repeats: false })
}

/// What the second has beyond the first, if the third has it beyond the second.
fn same_twice([some, more, most]: &[ByName; 3]) -> Option<ByName> {
    let one = beyond(more, some)?;
    (beyond(most, more)? == one).then_some(one)
}

fn fewer(one: &ByName, other: &ByName) -> ByName {
    let both = one.iter().filter_map(|(name, times)| Some((name.clone(), *times.min(other.get(name)?))));
    both.collect()
}

/// What is more in the one than in the other; none if something is less.
fn beyond(more: &ByName, less: &ByName) -> Option<ByName> {
    if less.keys().any(|name| !more.contains_key(name)) {
        return None;
    }
    let rest = more.iter().map(|(name, times)| {
        let extra = times.checked_sub(less.get(name).copied().unwrap_or(0))?;
        Some((name.clone(), extra))
    });
    let rest: Option<ByName> = rest.collect();
    rest.map(|rest| rest.into_iter().filter(|(_, times)| *times > 0).collect())
}

/// One process has both ends, and sends before it receives.
fn present(mechanism: &Mechanism, names: &Names, messages: u64) -> Result<ByName> {
    let work = || {
        let talk = || -> Result<(), Refusal> {
            let (mut send, mut receive) = both_ends(mechanism, names)?;
            for _ in 0..messages {
                send(&[7; BYTES])?;
                receive(&mut [0; BYTES], Patience::Waits)?;
            }
            Ok(())
        };
        talk().unwrap_or_else(|_| give_up());
    };
    // SAFETY: as above.
    let calls = unsafe { count(work) }.context("counting system calls")?;
    Ok(without_the_allocator(calls.own))
}

fn both_ends(mechanism: &Mechanism, names: &Names) -> Result<(Sending, Receiving), Refusal> {
    let mut line = (mechanism.open)(names).map_err(|error| Refusal(error.to_string()))?;
    let ends = ((line.sender)()?, (line.receiver)()?);
    forget(line.sender); // It has a copy of the sending end, whose closing would be counted.
    Ok(ends)
}

/// Who counts sees that the work failed.
fn give_up() -> ! {
    // SAFETY: it ends the traced child, and runs nothing of its parent's.
    unsafe { libc::_exit(1) }
}

/// What the allocator asks for has nothing to do with the way.
fn without_the_allocator(mut calls: ByName) -> ByName {
    calls.remove("brk");
    calls
}

/// The one that receives starts the one that sends, which waits for the word that the first sleeps: a third process,
/// which is not counted, sees to that.
fn awaited(mechanism: &Mechanism, names: &Names, messages: u64) -> Result<ByName> {
    let region = SharedRegion::new(size_of::<Turns>()).context("shared memory")?;
    // SAFETY: the region is large enough, zeroed, aligned to a page and lives as long; all zeros are turns.
    let turns = unsafe { &*region.as_ptr().cast::<Turns>() };
    let watch = || u8::from(turns.watch(messages).is_err());
    // SAFETY: what both have in shared memory are atomic words.
    let watcher = unsafe { fork(watch) }.context("starting a process")?;
    let work = || turns.talk(mechanism, names, messages).unwrap_or_else(|_| give_up());
    // SAFETY: as above.
    let Calls { own, created } = unsafe { count(work) }.context("counting system calls")?;
    ensure!(watcher.wait()? == Exit::Code(0), "the receiver was never seen asleep");
    let mut both = without_the_allocator(own);
    for (name, times) in without_the_allocator(created) {
        // The sender yields while it waits for the word; it never does while it sends to one who sleeps.
        if name != "sched_yield" {
            *both.entry(name).or_default() += times;
        }
    }
    Ok(both)
}

/// Whose turn it is.
#[repr(C)]
struct Turns {
    receiver: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    /// So many messages may be sent.
    allowed: AtomicU64,
}

impl Turns {
    /// Allows each message once the receiver was seen twice in the same sleep.
    fn watch(&self, messages: u64) -> Result<()> {
        for message in 0..messages {
            let waits = || {
                let receiver = self.receiver.load(Acquire);
                let waits = receiver != 0 && self.received.load(Acquire) == message;
                Ok(waits.then_some(Pid::from_raw(receiver as i32)))
            };
            if wait_until_settled(waits)?.is_none() {
                self.allowed.store(u64::MAX, Release); // Or they would wait for ever.
                bail!("never asleep");
            }
            self.allowed.store(message + 1, Release); // Tells the sender that the receiver sleeps.
        }
        Ok(())
    }

    /// Starts the sender, and receives.
    fn talk(&self, mechanism: &Mechanism, names: &Names, messages: u64) -> Result<()> {
        let mut line = (mechanism.open)(names)?;
        let named = |Refusal(name)| anyhow::anyhow!("{name}");
        match mechanism.between {
            Between::Processes => {
                self.sent.store(u64::MAX / 2, Release); // They have no lock in common: nobody need wait.
                let work = || u8::from((line.sender)().and_then(|mut send| self.send(&mut send, messages)).is_err());
                // SAFETY: what both have in shared memory are atomic words; roles are claimed after the fork.
                let sender = unsafe { fork(work) }?;
                self.receive((line.receiver)().map_err(named)?, messages).map_err(named)?;
                ensure!(sender.wait()? == Exit::Code(0), "the sender failed");
            }
            Between::Threads => thread::scope(|scope| {
                let mut send = (line.sender)().map_err(named)?;
                let sender = scope.spawn(move || self.send(&mut send, messages));
                self.receive((line.receiver)().map_err(named)?, messages).map_err(named)?;
                sender.join().unwrap().map_err(named)
            })?,
        }
        Ok(())
    }

    fn send(&self, send: &mut Sending, messages: u64) -> Result<(), Refusal> {
        for message in 0..messages {
            while self.allowed.load(Acquire) <= message {
                sched_yield()?;
            }
            send(&[7; BYTES])?;
            self.sent.fetch_add(1, Release); // Whatever its call had locked is free again.
        }
        Ok(())
    }

    fn receive(&self, mut receive: Receiving, messages: u64) -> Result<(), Refusal> {
        self.receiver.store(getpid().as_raw() as u64, Release); // From here on it sleeps for messages alone.
        for message in 0..messages {
            receive(&mut [0; BYTES], Patience::Waits)?;
            // Who counts stops the sender at the call that wakes us, with the channel's lock perhaps: that must be free
            // again before we go on, or we would count how we wait for it. Spinning makes no call.
            while self.sent.load(Acquire) <= message {
                hint::spin_loop();
            }
            self.received.store(message + 1, Release); // Tells who watches that the next sleep is a new one.
        }
        Ok(())
    }
}

/// The counter's table has the calls that most programs make; these are of ours.
pub fn name_of(name: &str) -> &str {
    let number = name.strip_prefix("system call ").and_then(|number| number.parse().ok());
    match number {
        Some(libc::SYS_mq_timedsend) => "mq_timedsend",
        Some(libc::SYS_mq_timedreceive) => "mq_timedreceive",
        Some(libc::SYS_rt_sigtimedwait) => "rt_sigtimedwait",
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(all: &[(&str, u64)]) -> ByName {
        all.iter().map(|(name, times)| ((*name).to_owned(), *times)).collect()
    }

    #[test]
    fn a_message_costs_what_one_more_needed_twice() {
        let run = |messages| Ok(calls(&[("open", 3), ("write", messages), ("read", 2 * messages)]));
        let counted = per_message(&run).unwrap();
        assert_eq!((counted.calls, counted.repeats), (calls(&[("read", 2), ("write", 1)]), true));
    }

    #[test]
    fn what_comes_by_chance_does_not_count() {
        let run = std::cell::Cell::new(0);
        let noisy = |messages| {
            run.set(run.get() + 1);
            Ok(calls(&[("write", messages), ("futex", u64::from(run.get() % 4 == 1))]))
        };
        assert_eq!(per_message(&noisy).unwrap().calls, calls(&[("write", 1)]));
    }

    #[test]
    fn what_never_repeats_says_so() {
        let growing = |messages: u64| Ok(calls(&[("write", messages * messages)]));
        assert!(!per_message(&growing).unwrap().repeats);
    }
}
