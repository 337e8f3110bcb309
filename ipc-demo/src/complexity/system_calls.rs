//! How many system calls does each mechanism need, to be set up and for each message? Both sides are followed, and counted.

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::spin_loop;
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::thread::{self, Builder};

use anyhow::{Context, Result, bail};
use nix::libc;
use nix::sched::sched_yield;
use nix::unistd::getpid;
use process_demo::crew::{Crew, Kind};
use process_demo::system_calls::{self, count};

use crate::abilities::lines::{BYTES, Line, Mechanism};
use crate::asleep;
use crate::names::Names;

/// How often each call was made.
pub type ByName = BTreeMap<String, u64>;

/// Of one mechanism, by both sides; none if not every message needed the same.
pub struct Counted {
    /// Where a message is there before the receiver looks.
    pub present: Option<Calls>,
    /// Where the receiver sleeps for it.
    pub awaited: Option<Calls>,
}

pub struct Calls {
    pub set_up: u64,
    pub message: ByName,
}

pub fn of(mechanism: &Mechanism, names: &Names) -> Result<Counted> {
    let calls = |talk| per_message(|messages| run(mechanism, names, messages, talk));
    Ok(Counted { present: calls(send_before_it_looks)?, awaited: calls(send_when_it_sleeps)? })
}

pub fn total(calls: &ByName) -> u64 {
    calls.values().sum()
}

const MESSAGES: [u64; 3] = [2, 3, 4]; // The first may still find something to be made ready.
const TRIES: usize = 100; // An idle ring looks around ten times a second, and a thread may end before all is counted.

/// What one message more costs, if it costs that twice; the rest is the set-up. By chance a run has a call more (a look
/// around) or less (of a thread that ends): so what came most often counts, or what one try says by itself.
fn per_message(run: impl Fn(u64) -> Result<ByName>) -> Result<Option<Calls>> {
    let mut all: [Vec<ByName>; 3] = Default::default();
    for _ in 0..TRIES {
        let seen = [run(MESSAGES[0])?, run(MESSAGES[1])?, run(MESSAGES[2])?];
        all.iter_mut().zip(&seen).for_each(|(all, seen)| all.push(seen.clone()));
        if let Some(calls) = same_twice(&seen).or_else(|| same_twice(&all.each_ref().map(|all| most_common(all)))) {
            return Ok(Some(calls));
        }
    }
    Ok(None)
}

fn most_common(runs: &[ByName]) -> ByName {
    let times = |run: &&ByName| runs.iter().filter(|other| other == run).count();
    runs.iter().max_by_key(times).cloned().unwrap_or_default()
}

fn same_twice([some, more, most]: &[ByName; 3]) -> Option<Calls> {
    let message = beyond(more, some).filter(|message| beyond(most, more).as_ref() == Some(message))?;
    let set_up = total(some).saturating_sub(MESSAGES[0] * total(&message));
    Some(Calls { set_up, message })
}

/// What is more in the one than in the other; none if something is less.
fn beyond(more: &ByName, less: &ByName) -> Option<ByName> {
    let mut rest = more.clone();
    for (name, times) in less {
        let left = rest.get_mut(name)?;
        *left = left.checked_sub(*times)?;
    }
    rest.retain(|_, times| *times > 0);
    Some(rest)
}

/// What is called by who opens both ends and talks. The ends stay open, so that their closing is not counted.
fn run(mechanism: &Mechanism, names: &Names, messages: u64, talk: fn(&Line, u64) -> Result<()>) -> Result<ByName> {
    let work = || {
        let line = (mechanism.open)(names).map(ManuallyDrop::new);
        line.and_then(|line| talk(&line, messages)).unwrap_or_else(|_| give_up());
    };
    // SAFETY: the child has ends of its own, and owns nothing else in shared memory.
    let counted = unsafe { count(work) };
    if counted.is_err() {
        // The work cannot tell why. A machine that refuses it an end or a thread does so here too, and gives a reason.
        Crew::of(Kind::Threads, 1, || (mechanism.open)(names).map(drop))?;
    }
    let system_calls::Calls { own: mut both, mut created } = counted.context("counting system calls")?;
    created.retain(|name, _| !LOOKING.contains(&name.as_str()));
    created.into_iter().for_each(|(name, times)| *both.entry(name).or_default() += times);
    both.remove("brk"); // The allocator's.
    both.entry("getpid".to_owned()).and_modify(|times| *times -= 1); // Ours.
    Ok(both)
}

/// Who counts sees that the work failed.
fn give_up() -> ! {
    // SAFETY: it ends the traced child, and runs nothing of its parent's.
    unsafe { libc::_exit(1) }
}

fn send_before_it_looks(line: &Line, messages: u64) -> Result<()> {
    let receiver = getpid();
    (0..messages).try_for_each(|_| {
        (line.send)(&[7; BYTES], receiver)?;
        (line.receive)(BYTES).map(drop)
    })
}

/// By which calls a sender looks whether its receiver sleeps; none sends by these.
const LOOKING: [&str; 2] = ["pread64", "sched_yield"];

/// Between two threads, for a channel can do no more; the others' calls are the same between two processes.
fn send_when_it_sleeps(line: &Line, messages: u64) -> Result<()> {
    const LOOKS: u64 = 1_000_000; // A bound, for what never comes.
    let (receiver, awaited, sent) = (getpid(), AtomicU64::new(0), AtomicU64::new(0));
    let status = File::open(format!("/proc/{receiver}/stat")).context("looking at a thread")?;
    let sleeps = || -> io::Result<bool> {
        let mut text = [0; 32]; // Room for its number, its name in brackets, and the letter of its state.
        status.read_at(&mut text, 0)?;
        Ok(text.rsplit(|byte| *byte == b')').next().is_some_and(|rest| rest.starts_with(b" S")))
    };
    let send = |message| {
        let mut looks = 0;
        while awaited.load(Acquire) != message || !sleeps()? {
            looks += 1;
            if looks == LOOKS {
                bail!("the receiver was never seen asleep");
            }
            sched_yield()?;
        }
        (line.send)(&[7; BYTES], receiver)?;
        sent.store(message, Release); // Whatever its call had locked is free again.
        Ok(())
    };
    let send_all = || (1..=messages).try_for_each(send).unwrap_or_else(|_| give_up());
    thread::scope(|scope| {
        Builder::new().spawn_scoped(scope, send_all).context("starting a thread")?;
        for message in 1..=messages {
            awaited.store(message, Release); // From here on it sleeps for this one alone.
            let Ok(_) = (line.receive)(BYTES) else { give_up() };
            // Who counts stops the sender at the call that wakes us, with the channel's lock perhaps: that must be free
            // again before we go on, or we would count how we wait for it. Spinning makes no call.
            while sent.load(Acquire) < message {
                spin_loop();
            }
        }
        Ok(())
    })
}

/// The counter's table has the calls that most programs make.
pub fn name_of(name: &str) -> String {
    let number = name.strip_prefix("system call ").and_then(|number| number.parse().ok());
    number.map_or_else(|| name.to_owned(), asleep::name_of)
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
        let Calls { set_up, message } = per_message(run).unwrap().unwrap();
        assert_eq!((set_up, message), (3, calls(&[("read", 2), ("write", 1)])));
    }

    #[test]
    fn what_comes_by_chance_does_not_count() {
        let run = std::cell::Cell::new(0);
        let noisy = |messages| {
            run.set(run.get() + 1);
            Ok(calls(&[("write", messages), ("futex", u64::from(run.get() % 4 == 1))]))
        };
        assert_eq!(per_message(noisy).unwrap().unwrap().message, calls(&[("write", 1)]));
    }

    #[test]
    fn what_never_repeats_says_so() {
        let growing = |messages: u64| Ok(calls(&[("write", messages * messages)]));
        assert!(per_message(growing).unwrap().is_none());
    }
}
