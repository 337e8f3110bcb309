//! When does a queue tell that a message has come?

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipc_demo::message_queue::MessageQueue;
use ipc_demo::queued_signal::{block, take};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use process_demo::child::{Exit, fork};
use shared::{Cell, Column, Mood, Stage, Table};

const SIGNAL: Signal = Signal::SIGUSR1;
const MARK: usize = 7; // What the notice carries, to be known by.

/// How many of four messages were told.
pub fn show(stage: &mut Stage, name: &str) -> Result<usize> {
    let (queue, guard) = MessageQueue::create(name, 4, 8).context("mq_open")?;
    drop(guard);
    block(&[SIGNAL as i32])?; // It stays pending until it is taken.
    ask(&queue).context("mq_notify")?;
    let second = refuse_second(&queue)?;
    let first = told_of_a_message(&queue)?;
    let again = told_of_a_message(&queue)?;
    ask(&queue).context("mq_notify")?;
    let not_empty = told_of_a_message(&queue)?;
    while queue.receive_within(Duration::ZERO)?.is_some() {}
    let after_empty = told_of_a_message(&queue)?;

    let situations = [
        ("asked, queue empty", first, true),
        ("not asked again", again, false),
        ("asked again, queue not empty", not_empty, false),
        ("still asked, queue emptied", after_empty, true),
    ];
    stage.table(table(&situations));
    let as_said = situations.iter().filter(|(_, told, expected)| told == expected).count();
    let says = "Only a message to an empty queue raises a signal, once for each request";
    stage.fact(says, as_said == situations.len(), format!("{as_said} of {} as the manual says", situations.len()));
    let got = second.map_or("not refused".to_owned(), |errno| format!("{errno:?}"));
    stage.fact("A second process that asks is refused", second == Some(Errno::EBUSY), got);
    Ok(situations.iter().filter(|(_, told, _)| *told).count())
}

/// Asks for a signal when the next message comes to the empty queue. By libc: nix lacks mq_notify.
fn ask(queue: &MessageQueue) -> nix::Result<()> {
    let how = SigEvent::new(SigevNotify::SigevSignal { signal: SIGNAL, si_value: MARK as libc::intptr_t }).sigevent();
    // SAFETY: a queue's descriptor is what mq_notify takes on Linux, and the event lives during the call.
    Errno::result(unsafe { libc::mq_notify(queue.as_fd().as_raw_fd(), &how) }).map(drop)
}

/// The error that a child gets that asks while its parent has asked.
fn refuse_second(queue: &MessageQueue) -> Result<Option<Errno>> {
    let work = || ask(queue).err().map_or(0, |errno| errno as u8);
    // SAFETY: the child only asks; nothing here is in shared memory.
    match unsafe { fork(work) }.context("starting a process")?.wait()? {
        Exit::Code(0) => Ok(None),
        Exit::Code(errno) => Ok(Some(Errno::from_raw(errno))),
        Exit::Signal(signal) => anyhow::bail!("the second process was ended by {signal}"),
    }
}

/// A child sends a message and ends; was there a signal?
fn told_of_a_message(queue: &MessageQueue) -> Result<bool> {
    // SAFETY: the child only sends; nothing here is in shared memory.
    let child = unsafe { fork(|| u8::from(queue.send(b"message", 0).is_err())) }.context("starting a process")?;
    ensure!(child.wait()? == Exit::Code(0), "the sender failed");
    // The signal is sent within the sender's call, so by now it is there or never comes.
    Ok(take(&[SIGNAL as i32], Duration::ZERO)?.is_some_and(|taken| taken.number == MARK))
}

fn table(situations: &[(&str, bool, bool)]) -> Table {
    let row = |&(situation, told, _): &(&str, bool, bool)| {
        let (says, mood) = if told { ("signal", Mood::Good) } else { ("none", Mood::Neutral) };
        vec![Cell::Text(situation.to_owned()), Cell::Word { says: says.to_owned(), mood }]
    };
    Table {
        title: "Does a message raise a signal?".to_owned(),
        columns: vec![Column::label("when"), Column::value("raised", "")],
        rows: situations.iter().map(row).collect(),
    }
}
