//! Do the records of two senders arrive whole, and does a large message?

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::unistd::Pid;
use process_demo::crew::{Arguments, Crew, Reply};
use shared::measure::SystemClock;

use super::Seen;
use super::lines::{BYTES, Carries, FUTEX, Line, Mechanism};
use super::mailbox::Mailbox;
use crate::names::Names;

const SENDERS: usize = 2;
const RECORDS: u64 = 50; // Of each: less than what UDP keeps for a reader that is late.
const LARGE_BYTES: usize = 1 << 20;

/// Both send at once; each record says whose it is and which one.
pub fn two_send(mechanism: &Mechanism, names: &Names) -> Result<Seen> {
    if mechanism.name == FUTEX { two_in_one_mailbox() } else { send_and_take(mechanism, names, SENDERS, BYTES) }
}

/// Nothing keeps two writers of bare memory apart: the second chooses its place before the first has said that it is
/// taken. So it happens by luck; here it is made to happen.
fn two_in_one_mailbox() -> Result<Seen> {
    let mailbox = Mailbox::new()?;
    let (first, second) = (mailbox.put(&record(1, 0, BYTES))?, mailbox.put(&record(2, 0, BYTES))?);
    mailbox.publish(first);
    mailbox.publish(second);
    let mut came = Vec::new();
    while mailbox.unread() > 0 {
        came.push(number_of(&mailbox.take()?, BYTES));
    }
    Ok(judge(Carries::Bytes, SENDERS as u64, &came))
}

/// One record that is so large.
pub fn large(mechanism: &Mechanism, names: &Names) -> Result<Seen> {
    send_and_take(mechanism, names, 1, LARGE_BYTES)
}

const TAKER: usize = 0; // The senders are the workers after it.

fn send_and_take(mechanism: &Mechanism, names: &Names, senders: usize, bytes: usize) -> Result<Seen> {
    let line = (mechanism.open)(names)?;
    if line.carries != Carries::Bytes && bytes > BYTES {
        return Ok(Seen::No("no bytes".to_owned())); // There is nowhere to put them: its send takes none.
    }
    let mut crew = Crew::of(mechanism.between, 1 + senders, || Ok(&line))?;
    let take_all = |crew: &mut Crew<_>| {
        (0..senders as u64 * records(bytes)).for_each(|_| crew.tell(TAKER, take, [bytes as u64, 0, 0]));
    };
    let taker = crew.tid(TAKER).as_raw() as u64;
    (1..=senders).for_each(|sender| crew.tell(sender, send_all, [sender as u64, bytes as u64, taker]));
    if line.carries == Carries::Bytes {
        take_all(&mut crew);
    }
    let mut sent = 0;
    for sender in 1..=senders {
        sent += match crew.hear(sender)? {
            Reply::Done(count) => count,
            Reply::Failed { says, errno: Errno::UnknownErrno } => return Ok(Seen::No(says)),
            Reply::Failed { errno, .. } => return Ok(Seen::No(format!("{errno:?}"))),
            ended => bail!("a sender ended: {ended:?}"),
        };
    }
    if line.carries != Carries::Bytes {
        take_all(&mut crew); // Only now: what merges was left to merge before.
    }
    let mut came = Vec::new();
    while arrived(line.carries, &came) < sent {
        let taken = match crew.hear_within(TAKER, LATE)? {
            Some(reply) => Ok(reply),
            None => crew.hear_or_see_asleep(TAKER, SystemClock)?,
        };
        let Ok(reply) = taken else { break }; // It sleeps: there is nothing more.
        came.push(reply.value()?);
    }
    Ok(judge(line.carries, sent, &came))
}

const LATE: Duration = Duration::from_millis(50); // The network may hand a packet over a little after it was sent.

fn records(bytes: usize) -> u64 {
    if bytes > BYTES { 1 } else { RECORDS }
}

/// Sends its records, and tells how many.
fn send_all(line: &mut &Line, [sender, bytes, taker]: Arguments) -> Result<u64> {
    let records = records(bytes as usize);
    for number in 0..records {
        (line.send)(&record(sender, number, bytes as usize), Pid::from_raw(taker as i32))?;
    }
    Ok(records)
}

/// Takes one message. What came: a sum, news as one, or the number of a record.
fn take(line: &mut &Line, [bytes, ..]: Arguments) -> Result<u64> {
    let message = (line.receive)(bytes as usize)?;
    Ok(match line.carries {
        Carries::Bytes => number_of(&message, bytes as usize),
        Carries::Sum => u64::from_ne_bytes(message.try_into().expect("eight bytes are sent")),
        Carries::News => 1,
    })
}

/// The record of that sender and number: both, and a filling that follows from them.
fn record(sender: u64, number: u64, bytes: usize) -> Vec<u8> {
    let filling = (0..bytes).map(|index| (sender as usize * 101 + number as usize * 7 + index % 251) as u8);
    [sender as u8, number as u8].into_iter().chain(filling).take(bytes).collect()
}

const TORN: u64 = 0; // No record's number: senders count from one.

/// All that a record says, if it is whole.
fn number_of(message: &[u8], bytes: usize) -> u64 {
    match message {
        [sender, number, ..] if message == record((*sender).into(), (*number).into(), bytes) => {
            u64::from(*sender) << 8 | u64::from(*number)
        }
        _ => TORN,
    }
}

fn arrived(carries: Carries, came: &[u64]) -> u64 {
    if carries == Carries::Sum { came.iter().sum() } else { came.len() as u64 }
}

fn judge(carries: Carries, sent: u64, came: &[u64]) -> Seen {
    let whole: BTreeSet<u64> = came.iter().copied().filter(|number| *number != TORN).collect();
    let (whole, arrived) = (whole.len() as u64, arrived(carries, came));
    match carries {
        Carries::Bytes if whole == sent && arrived == sent => Seen::Yes,
        Carries::Bytes => Seen::No(format!("{whole} of {sent} whole")),
        Carries::Sum if arrived == sent => Seen::Partly("as one sum".to_owned()),
        Carries::News if arrived == sent => Seen::Yes,
        Carries::Sum | Carries::News => Seen::No(format!("{arrived} of {sent} came")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_once_and_only_whole() {
        let (one, other) = (record(1, 1, BYTES), record(2, 1, BYTES));
        let mixed = [&one[..32], &other[32..]].concat();
        let seen = |messages: &[&Vec<u8>]| {
            let came: Vec<u64> = messages.iter().map(|message| number_of(message, BYTES)).collect();
            judge(Carries::Bytes, 2, &came)
        };
        assert_eq!(seen(&[&one, &other]), Seen::Yes);
        for wrong in [&[&one][..], &[&one, &one], &[&one, &mixed], &[&one, &other, &mixed]] {
            assert!(matches!(seen(wrong), Seen::No(_)));
        }
    }

    #[test]
    fn a_sum_must_be_complete_and_news_must_not_merge() {
        assert_eq!(judge(Carries::Sum, 3, &[3]), Seen::Partly("as one sum".to_owned()));
        assert_eq!(judge(Carries::Sum, 3, &[2]), Seen::No("2 of 3 came".to_owned()));
        assert_eq!(judge(Carries::News, 3, &[1]), Seen::No("1 of 3 came".to_owned()));
        assert_eq!(judge(Carries::News, 2, &[1, 1]), Seen::Yes);
    }

    #[test]
    fn two_that_write_into_one_mailbox_at_once_lose_a_message() {
        assert_eq!(two_in_one_mailbox().unwrap(), Seen::No("1 of 2 whole".to_owned()));
    }
}
