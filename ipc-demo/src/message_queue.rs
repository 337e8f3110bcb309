//! What does a POSIX queue do that a pipe does not?

mod limits;
mod notices;

use std::cmp::Reverse;
use std::time::Duration;

use anyhow::{Context, Result};
use ipc_demo::message_queue::{Message, MessageQueue};
use nix::errno::Errno;
use process_demo::crew::{Crew, Kind, NOTHING};
use shared::{Cell, Column, Demo, Extras, Snippet, Stage, Table, refused};

pub const DEMO: Demo = Demo {
    name: "message-queue",
    question: "What does a POSIX queue do that a pipe does not?",
    claims: &[],
    rule: "It gives no verdict. A child sends, its parent receives, and what comes is compared with what was sent. Each \
           limit is tried by going one beyond it. Where POSIX queues are refused, as in many sandboxes, all is skipped.",
    extras: Extras::NONE,
    snippets: &[Snippet {
        path: "ipc-demo/snippets/message_queue.rs",
        text: include_str!("../snippets/message_queue.rs"),
    }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let name = stage.queue("queue")?;
    if let Err(error) = MessageQueue::create(&name, 1, 1) {
        let beyond_a_share = error.raw_os_error() == Some(Errno::EMFILE as i32);
        let says = if beyond_a_share { "beyond this user's share, RLIMIT_MSGQUEUE" } else { "mq_open" };
        let error = anyhow::Error::new(error).context(says);
        let why = refused(&error).ok_or(error)?;
        stage.skip(format!("this machine has no POSIX queues for us: {why}"));
        return Ok(());
    }
    stage.note("A child sends five messages with priorities and ends. Only then its parent receives.");
    let in_place = receive_in_order(stage, &name)?;
    stage.note("A process may ask for a signal when a message comes, instead of waiting for it.");
    let told = notices::show(stage, &name)?;
    stage.note("Everything about a POSIX queue has a limit. What happens one beyond it?");
    let holds = limits::show(stage, &name)?;
    stage.headline(format!("{in_place} of {} messages come in priority order", SENT.len()));
    let gives = if in_place == SENT.len() {
        "It gives whole messages, the most urgent first"
    } else {
        "It gives messages, not all by their priority here"
    };
    let signals = if told > 0 { "can signal" } else { "does not signal here" };
    stage.answer(format!("{gives}, and {signals} that one came. It takes at most {holds}."));
    stage.advise("Use one where urgent messages must overtake: copy `message_queue`.");
    Ok(())
}

const SENT: [(u32, &str); 5] = [(1, "a"), (5, "b"), (0, "c"), (5, "d"), (1, "e")];

/// How many of the messages come in their place.
fn receive_in_order(stage: &mut Stage, name: &str) -> Result<usize> {
    let (queue, guard) = MessageQueue::create(name, SENT.len(), 8).context("mq_open")?;
    drop(guard); // The child inherits the queue: from here on it has no name.
    let mut child = Crew::of(Kind::Processes, 1, || Ok(&queue))?;
    let send_all = |queue: &mut &MessageQueue, _| {
        SENT.iter().try_for_each(|(priority, text)| queue.send(text.as_bytes(), *priority))?;
        Ok(0)
    };
    child.ask(0, send_all, NOTHING)?.value()?;
    drop(child);
    let mut received = Vec::new();
    while let Some(Message { priority, bytes }) = queue.receive_within(Duration::ZERO)? {
        received.push((priority, String::from_utf8_lossy(&bytes).into_owned()));
    }
    let heads = ["priority", "received", "priority"].map(|name| Column::value(name, ""));
    let cells = |priority: u32, text: &str| [Cell::Text(text.to_owned()), Cell::Number(priority.into())];
    let row = |(sent, came): (&(u32, &str), &(u32, String))| [cells(sent.0, sent.1), cells(came.0, &came.1)].concat();
    stage.show(Table {
        title: "Messages in the order of sending and of receiving".to_owned(),
        columns: [Column::label("sent")].into_iter().chain(heads).collect(),
        rows: SENT.iter().zip(&received).map(row).collect(),
    });
    let mut by_priority = SENT;
    by_priority.sort_by_key(|(priority, _)| Reverse(*priority)); // A stable sort: equals stay in order.
    let [sent, expected] = [SENT, by_priority].map(|messages| messages.map(|(_, text)| text).concat());
    let came: String = received.into_iter().map(|(_, text)| text).collect();
    let says = "The most urgent come first, and those of one priority in the order of sending";
    stage.fact(says, came == expected, format!("'{sent}' came as '{came}'"));
    Ok(came.chars().zip(expected.chars()).filter(|(came, expected)| came == expected).count())
}
