//! In which order do messages come?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipc_demo::message_queue::{Message, MessageQueue};
use process_demo::child::{Exit, fork};
use shared::{Cell, Column, Stage, Table};

const SENT: [(u32, &str); 5] = [(1, "a"), (5, "b"), (0, "c"), (5, "d"), (1, "e")];

/// How many messages were sent, and how many of them came in their place.
pub struct Order {
    pub sent: usize,
    pub in_place: usize,
}

pub fn show(stage: &mut Stage, name: &str) -> Result<Order> {
    let (queue, guard) = MessageQueue::create(name, SENT.len(), 8).context("mq_open")?;
    drop(guard); // The child inherits the queue: from here on it has no name.
    let send = || SENT.iter().try_for_each(|(priority, text)| queue.send(text.as_bytes(), *priority));
    // SAFETY: the child only sends; nothing here is in shared memory.
    let child = unsafe { fork(|| u8::from(send().is_err())) }.context("starting a process")?;
    ensure!(child.wait()? == Exit::Code(0), "the sender failed");
    let mut received = Vec::new();
    while let Some(message) = queue.receive_within(Duration::ZERO)? {
        received.push(message);
    }
    let text = |message: &Message| String::from_utf8_lossy(&message.bytes).into_owned();
    let sent: String = SENT.iter().map(|(_, text)| *text).collect();
    let came: String = received.iter().map(text).collect();
    let mut expected = SENT;
    expected.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority)); // A stable sort: equals stay in order.
    let expected: String = expected.iter().map(|(_, text)| *text).collect();
    let row = |((priority, text), message): (&(u32, &str), &Message)| {
        let first = [Cell::Text((*text).to_owned()), Cell::Number((*priority).into())];
        let then =
            [Cell::Text(String::from_utf8_lossy(&message.bytes).into_owned()), Cell::Number(message.priority.into())];
        first.into_iter().chain(then).collect()
    };
    stage.show(Table {
        title: "Messages in the order of sending and of receiving".to_owned(),
        columns: vec![
            Column::label("sent"),
            Column::value("priority", ""),
            Column::value("received", ""),
            Column::value("priority", ""),
        ],
        rows: SENT.iter().zip(&received).map(row).collect(),
    });
    let says = "The most urgent come first, and those of one priority in the order of sending";
    stage.fact(says, came == expected, format!("'{sent}' came as '{came}'"));
    let in_place = came.chars().zip(expected.chars()).filter(|(came, expected)| came == expected).count();
    Ok(Order { sent: SENT.len(), in_place })
}
