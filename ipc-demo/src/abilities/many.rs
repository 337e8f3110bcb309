//! Do the records of two senders arrive whole, and does a large message?

use std::collections::BTreeSet;
use std::io::{PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::sched_yield;
use process_demo::child::{Child, Exit, fork};
use shared::measure::SystemClock;

use super::Seen;
use super::lines::mailbox::Mapped;
use super::lines::{BYTES, Between, Carries, FUTEX, Line, Mechanism, Patience, Receiving, Refusal, Sending};
use crate::names::Names;

const PRODUCERS: usize = 2;
const RECORDS: usize = 50; // Of each: less than what UDP keeps for a reader that is late.
const LARGE_BYTES: usize = 1 << 20;

/// Of one sender: how many records were taken from it, and the error that ended it, if one did.
type Told = (u64, Option<String>);

/// Both send at once; each record says whose it is and which one.
pub fn producers(mechanism: &Mechanism, names: &Names) -> Result<Seen> {
    if mechanism.name == FUTEX {
        return two_in_one_mailbox();
    }
    let line = (mechanism.open)(names)?;
    let records = |send: &mut Sending, producer| {
        let mut taken = 0;
        let done = (0..RECORDS).try_for_each(|number| send(&record(producer, number)).map(|()| taken += 1));
        (taken, done.err().map(|Refusal(name)| name))
    };
    let (carries, mut tally) = (line.carries, Tally::default());
    let told = match mechanism.between {
        Between::Processes => from_processes(line, PRODUCERS, &records, BYTES, &mut |message| tally.add(message))?,
        Between::Threads => from_threads(line, PRODUCERS, &records, BYTES, &mut |message| tally.add(message))?,
    };
    Ok(tally.judge(carries, &told))
}

/// Nothing keeps two writers of bare memory apart: the second chooses its place before the first has said that it is
/// taken. So it happens by luck; here it is made to happen.
fn two_in_one_mailbox() -> Result<Seen> {
    let mailbox = Mapped::new()?;
    let [first, second] = [0, 1].map(|producer| mailbox.put(&record(producer, 0)));
    let (first, second) = (first.map_err(named)?, second.map_err(named)?);
    mailbox.publish(first);
    mailbox.publish(second);
    let (mut tally, mut buffer) = (Tally::default(), [0; BYTES]);
    while mailbox.take(&mut buffer, Patience::Looks).map_err(named)? > 0 {
        tally.add(&buffer);
    }
    Ok(tally.judge(Carries::Bytes, &[(1, None), (1, None)]))
}

pub fn large(mechanism: &Mechanism, names: &Names) -> Result<Seen> {
    let line = (mechanism.open)(names)?;
    if line.carries != Carries::Bytes {
        return Ok(Seen::No("no bytes".to_owned())); // There is nowhere to put them: its send takes none.
    }
    let payload: Vec<u8> = (0..LARGE_BYTES).map(|index| (index % 251) as u8).collect();
    let whole = |send: &mut Sending, _| match send(&payload) {
        Ok(()) => (1, None),
        Err(Refusal(name)) => (0, Some(name)),
    };
    let mut right = 0;
    let mut compare = |message: &[u8]| right += u64::from(message == payload);
    let told = match mechanism.between {
        Between::Processes => from_processes(line, 1, &whole, LARGE_BYTES, &mut compare)?,
        Between::Threads => from_threads(line, 1, &whole, LARGE_BYTES, &mut compare)?,
    };
    Ok(match &told[..] {
        [(_, Some(error))] => Seen::No(error.clone()),
        _ if right == 1 => Seen::Yes,
        _ => Seen::No("not whole".to_owned()),
    })
}

type Send<'a> = &'a (dyn Fn(&mut Sending, usize) -> Told + Sync);

fn from_processes(
    line: Line,
    count: usize,
    send: Send<'_>,
    bytes: usize,
    arrived: &mut dyn FnMut(&[u8]),
) -> Result<Vec<Told>> {
    let Line { carries, mut sender, receiver, .. } = line;
    let (gate, mut opener) = pipe().context("a pipe")?;
    let (mut reports, reporter) = pipe().context("a pipe")?;
    let mut children = Vec::new();
    for producer in 0..count {
        let work = || {
            let open = (&gate).read_exact(&mut [0]).map_err(Refusal::from).and_then(|()| sender());
            let told = match open {
                Ok(mut sending) => send(&mut sending, producer),
                Err(Refusal(name)) => (0, Some(name)),
            };
            u8::from(report(&reporter, told).is_err())
        };
        // SAFETY: all that both have in shared memory are atomic words; the ring's roles are claimed after the fork.
        children.push(unsafe { fork(work) }.context("starting a process")?);
    }
    drop(reporter); // Only the children have it now: its end is theirs.
    let mut receive = receiver().map_err(named)?;
    opener.write_all(&vec![0; count])?;
    let hung_up = || {
        let mut ends = [PollFd::new(reports.as_fd(), PollFlags::empty())];
        Ok(poll(&mut ends, PollTimeout::ZERO)? > 0)
    };
    let came = collect(&mut receive, carries, bytes, &hung_up, arrived)?;
    let mut text = String::new();
    reports.read_to_string(&mut text)?;
    children.into_iter().try_for_each(ended_well)?;
    let told: Vec<Told> = text.lines().filter_map(told_in).collect();
    ensure!(told.len() == count, "{} of {count} senders reported", told.len());
    if carries == Carries::Bytes {
        let sent: u64 = told.iter().map(|(taken, _)| taken).sum();
        wait_for_late(&mut receive, bytes, sent.saturating_sub(came), arrived)?;
    }
    Ok(told)
}

fn report(mut reporter: &PipeWriter, (taken, error): Told) -> std::io::Result<()> {
    reporter.write_all(format!("{taken} {}\n", error.unwrap_or_default()).as_bytes())
}

fn told_in(line: &str) -> Option<Told> {
    let (taken, error) = line.split_once(' ')?;
    Some((taken.parse().ok()?, (!error.is_empty()).then(|| error.to_owned())))
}

fn ended_well(child: Child) -> Result<()> {
    let exit = child.wait()?;
    ensure!(exit == Exit::Code(0), "a sender ended with {exit}");
    Ok(())
}

fn from_threads(
    line: Line,
    count: usize,
    send: Send<'_>,
    bytes: usize,
    arrived: &mut dyn FnMut(&[u8]),
) -> Result<Vec<Told>> {
    let Line { carries, mut sender, receiver, .. } = line;
    let mut receive = receiver().map_err(named)?;
    let senders: Result<Vec<Sending>, Refusal> = (0..count).map(|_| sender()).collect();
    let senders = senders.map_err(named)?;
    thread::scope(|scope| {
        let start = |(producer, mut sending): (usize, Sending)| scope.spawn(move || send(&mut sending, producer));
        let workers: Vec<_> = senders.into_iter().enumerate().map(start).collect();
        let ended = || Ok(workers.iter().all(|worker| worker.is_finished()));
        let collected = collect(&mut receive, carries, bytes, &ended, arrived);
        let told = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        collected.map(|_| told)
    })
}

/// Takes what comes until all senders have ended and nothing more is there; how many came. What merges is left to merge
/// before.
fn collect(
    receive: &mut Receiving,
    carries: Carries,
    bytes: usize,
    have_ended: &dyn Fn() -> Result<bool>,
    arrived: &mut dyn FnMut(&[u8]),
) -> Result<u64> {
    let (mut buffer, mut count) = (vec![0; bytes], 0);
    loop {
        let ended = have_ended()?; // Asked first: what a sender sent before its end is there after it.
        let got = match carries == Carries::Bytes || ended {
            true => receive(&mut buffer, Patience::Looks).map_err(named)?,
            false => 0,
        };
        match got {
            0 if ended => return Ok(count),
            0 => sched_yield()?, // Lets them run, on one CPU too.
            got => {
                count += 1;
                arrived(&buffer[..got.min(bytes)]);
            }
        }
    }
}

const LATE_NS: u64 = 50_000_000; // The network may hand a packet over a little after it was sent.

/// Looks on for so many records, which were sent and may be under way still.
fn wait_for_late(receive: &mut Receiving, bytes: usize, mut due: u64, arrived: &mut dyn FnMut(&[u8])) -> Result<()> {
    let (mut buffer, from_ns) = (vec![0; bytes], SystemClock.now_ns());
    while due > 0 && SystemClock.now_ns() - from_ns < LATE_NS {
        match receive(&mut buffer, Patience::Looks).map_err(named)? {
            0 => sched_yield()?,
            got => {
                due -= 1;
                arrived(&buffer[..got.min(bytes)]);
            }
        }
    }
    Ok(())
}

/// The record of that sender and number: both, and a filling that follows from them.
fn record(producer: usize, number: usize) -> [u8; BYTES] {
    std::array::from_fn(|index| match index {
        0 => producer as u8,
        1 => number as u8,
        _ => (producer * 101 + number * 7 + index) as u8,
    })
}

/// What came.
#[derive(Default)]
struct Tally {
    right: BTreeSet<(u8, u8)>,
    wrong: usize,
    arrivals: u64,
    sum: u64,
}

impl Tally {
    fn add(&mut self, message: &[u8]) {
        self.arrivals += 1;
        self.sum += message.try_into().map_or(0, u64::from_ne_bytes); // Records are longer than a number.
        let whole = match message {
            [producer, number, ..] => {
                message == record((*producer).into(), (*number).into()) && self.right.insert((*producer, *number))
            }
            _ => false,
        };
        self.wrong += usize::from(!whole);
    }

    fn judge(&self, carries: Carries, told: &[Told]) -> Seen {
        let sent: u64 = told.iter().map(|(taken, _)| taken).sum();
        if let Some(error) = told.iter().find_map(|(_, error)| error.as_ref()) {
            return Seen::No(error.clone());
        }
        let whole = self.right.len() as u64;
        match carries {
            Carries::Bytes if whole == sent && self.wrong == 0 => Seen::Yes,
            Carries::Bytes => Seen::No(format!("{whole} of {sent} whole")),
            Carries::Sum if self.sum == sent => Seen::Partly("as one sum".to_owned()),
            Carries::Sum => Seen::No(format!("{} of {sent}", self.sum)),
            Carries::News if self.arrivals == sent => Seen::Yes,
            Carries::News => Seen::No(format!("{} of {sent} came", self.arrivals)),
        }
    }
}

fn named(Refusal(name): Refusal) -> anyhow::Error {
    anyhow!("{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(messages: &[&[u8]]) -> Tally {
        let mut tally = Tally::default();
        messages.iter().for_each(|message| tally.add(message));
        tally
    }

    #[test]
    fn records_count_once_and_only_whole() {
        let (one, other) = (record(0, 1), record(1, 1));
        let mut mixed = one;
        mixed[32..].copy_from_slice(&other[32..]);
        let told = [(1, None), (1, None)];
        assert_eq!(tally(&[&one, &other]).judge(Carries::Bytes, &told), Seen::Yes);
        for wrong in [&tally(&[&one]), &tally(&[&one, &one]), &tally(&[&one, &mixed]), &tally(&[&one, &other, &mixed])]
        {
            assert!(matches!(wrong.judge(Carries::Bytes, &told), Seen::No(_)));
        }
    }

    #[test]
    fn an_error_of_either_sender_is_the_answer() {
        let told = [(1, None), (0, Some("EEXIST".to_owned()))];
        assert_eq!(tally(&[&record(0, 0)]).judge(Carries::Bytes, &told), Seen::No("EEXIST".to_owned()));
    }

    #[test]
    fn a_sum_must_be_complete_and_news_must_not_merge() {
        let told = [(2, None), (1, None)];
        assert_eq!(tally(&[&3u64.to_ne_bytes()]).judge(Carries::Sum, &told), Seen::Partly("as one sum".to_owned()));
        assert_eq!(tally(&[&2u64.to_ne_bytes()]).judge(Carries::Sum, &told), Seen::No("2 of 3".to_owned()));
        assert_eq!(tally(&[&[0]]).judge(Carries::News, &told), Seen::No("1 of 3 came".to_owned()));
    }

    #[test]
    fn two_that_write_into_one_mailbox_at_once_lose_a_message() {
        assert_eq!(two_in_one_mailbox().unwrap(), Seen::No("1 of 2 whole".to_owned()));
    }
}
