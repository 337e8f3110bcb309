//! When does a queue tell that a message has come?

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::{Context, Result};
use ipc_demo::message_queue::MessageQueue;
use ipc_demo::queued_signal::{block, take};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use process_demo::crew::{Crew, Kind, NOTHING, Reply};
use shared::{Cell, Column, Mood, Stage, Table};

const SIGNAL: Signal = Signal::SIGUSR1;
const MARK: usize = 7; // What the notice carries, to be known by.

/// How many of four messages, sent by a child, were told of.
pub fn show(stage: &mut Stage, name: &str) -> Result<usize> {
    let (queue, guard) = MessageQueue::create(name, 4, 8).context("mq_open")?;
    drop(guard);
    block(&[SIGNAL as i32])?; // It stays pending until it is taken.
    let mut child = Crew::of(Kind::Processes, 1, || Ok(&queue))?;
    ask(&queue).context("mq_notify")?;
    let second = child.ask(0, |queue, _| Ok(ask(queue).map(|()| 0)?), NOTHING)?;
    let mut told_of_a_message = || -> Result<bool> {
        child.ask(0, |queue, _| Ok(queue.send(b"message", 0).map(|()| 0)?), NOTHING)?.value()?;
        // The signal is sent within the child's call, so by now it is there or never comes.
        Ok(take(&[SIGNAL as i32], Duration::ZERO)?.is_some_and(|taken| taken.number == MARK))
    };
    let (first, again) = (told_of_a_message()?, told_of_a_message()?);
    ask(&queue).context("mq_notify")?;
    let not_empty = told_of_a_message()?;
    while queue.receive_within(Duration::ZERO)?.is_some() {}
    let after_empty = told_of_a_message()?;

    let situations = [
        ("asked, queue empty", first, true),
        ("not asked again", again, false),
        ("asked again, queue not empty", not_empty, false),
        ("still asked, queue emptied", after_empty, true),
    ];
    let row = |(situation, told, _): (&str, bool, bool)| {
        let (says, mood) = if told { ("signal", Mood::Good) } else { ("none", Mood::Neutral) };
        vec![Cell::Text(situation.to_owned()), Cell::Word { says: says.to_owned(), mood }]
    };
    stage.table(Table {
        title: "Does a message raise a signal?".to_owned(),
        columns: vec![Column::label("when"), Column::value("raised", "")],
        rows: situations.map(row).to_vec(),
    });
    let as_said = situations.iter().filter(|(_, told, expected)| told == expected).count();
    let says = "Only a message to an empty queue raises a signal, once for each request";
    stage.fact(says, as_said == situations.len(), format!("{as_said} of {} as the manual says", situations.len()));
    let got = if let Reply::Failed { errno, .. } = second { format!("{errno:?}") } else { "not refused".to_owned() };
    stage.fact("A second process that asks is refused", got == "EBUSY", got);
    Ok(situations.iter().filter(|(_, told, _)| *told).count())
}

/// Asks for a signal when the next message comes to the empty queue. By libc: nix lacks mq_notify.
fn ask(queue: &MessageQueue) -> nix::Result<()> {
    let how = SigEvent::new(SigevNotify::SigevSignal { signal: SIGNAL, si_value: MARK as libc::intptr_t }).sigevent();
    // SAFETY: a queue's descriptor is what mq_notify takes on Linux, and the event lives during the call.
    Errno::result(unsafe { libc::mq_notify(queue.as_fd().as_raw_fd(), &how) }).map(drop)
}
