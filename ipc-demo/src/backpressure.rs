//! The reader stops. How much is taken, and how does the writer find out?

mod channels;
mod event;
mod links;
mod message;
mod row;
mod typed;

use anyhow::Result;
use shared::number::count;
use shared::{Demo, Extras, Snippet, Stage, refused};

use crate::link::Way;
use crate::version;
use row::{Row, Then};

pub const DEMO: Demo = Demo {
    name: "backpressure",
    question: "The reader stops. How much is taken, and how does the writer find out?",
    claims: &[],
    rule: "It gives no verdict. The writer sends numbered messages of 64 bytes to a reader that does not read: first \
           without waiting, until that is an error; then once more, waiting, and is seen asleep or not. Then the reader \
           goes on, and counts and checks what arrives. A mechanism that never refuses gets a bounded number of messages.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/event.rs", text: include_str!("../snippets/event.rs") },
        Snippet { path: "ipc-demo/snippets/fifo.rs", text: include_str!("../snippets/fifo.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
        Snippet { path: "ipc-demo/snippets/typed.rs", text: include_str!("../snippets/typed.rs") },
    ],
    run,
};

const WAYS: [Way; 8] =
    [Way::Pipe, Way::Fifo, Way::UnixStream, Way::UnixDatagram, Way::UnixSeqpacket, Way::Tcp, Way::Udp, Way::Queue];

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(format!(
        "Each writer sends messages of {} bytes, each with its number, to a reader that has stopped reading. An eventfd \
         has no messages, it adds up: it gets ones, and then all that still fits at once. The crossbeam rows are \
         crossbeam-channel {}.",
        message::BYTES,
        version::of("crossbeam-channel"),
    ));
    let mut rows = Vec::new();
    for way in WAYS {
        rows.push(or_skipped(way.name(), links::measure(stage, way))?);
    }
    rows.push(or_skipped("eventfd", event::measure(stage))?);
    let typed_name = format!("ipc-channel {}", version::of("ipc-channel"));
    let typed = or_skipped(&typed_name, typed::measure(stage, &typed_name))?;
    rows.push(typed.clone());
    rows.extend(channels::measure_unbounded(stage)?); // In processes of their own, so before any thread starts.
    rows.extend(channels::measure_bounded(stage)?);
    rows.sort_by_key(Row::rank);
    stage.show(row::table(&rows));
    judge(stage, &rows);
    tell_of_typed(stage, &typed);

    let named = |then: fn(&Then) -> bool| {
        let found: Vec<&str> = rows.iter().filter(|row| then(&row.then)).map(|row| row.name.as_str()).collect();
        found.join(" and ")
    };
    let outcomes = [
        (named(|then| matches!(then, Then::Loses)), "messages are lost silently"),
        (named(|then| matches!(then, Then::Grows { .. })), "memory grows"),
        (named(|then| matches!(then, Then::NeverWaited)), "it never waited here"),
    ];
    let others = outcomes.iter().filter(|(names, _)| !names.is_empty());
    let others: String = others.map(|(names, what)| format!("; with {names} {what}")).collect();
    let waiting = rows.iter().filter(|row| matches!(row.then, Then::Waits { .. }));
    let taken = || waiting.clone().filter_map(|row| row.messages).filter(|&messages| messages < u64::MAX / 2);
    let (waiting, all) = (waiting.clone().count(), rows.iter().filter(|row| row.messages.is_some()).count());
    stage.headline(format!("{waiting} of {all} mechanisms make a writer wait"));
    stage.answer(format!(
        "The writer waits with {waiting} of {all} mechanisms, after {} to {} messages{others}.",
        count(taken().min().unwrap_or(0)),
        count(taken().max().unwrap_or(0)),
    ));
    stage.advise("Choose yourself how many messages may wait: copy `message_queue`.");
    Ok(())
}

fn or_skipped(name: &str, row: Result<Row>) -> Result<Row> {
    row.or_else(|error| {
        let why = refused(&error).ok_or_else(|| error.context(format!("sending by {name}")))?;
        Ok(Row { name: name.to_owned(), messages: None, bytes: 0, then: Then::Skipped(why), arrived: 0 })
    })
}

fn judge(stage: &mut Stage, rows: &[Row]) {
    let waiting: Vec<&Row> = rows.iter().filter(|row| matches!(row.then, Then::Waits { .. })).collect();
    let whole = waiting.iter().filter(|row| row.messages.is_some_and(|messages| row.arrived > messages)).count();
    let says = "Where the writer waits, every message arrives once the reader goes on";
    stage.fact(says, whole == waiting.len(), format!("{whole} of {}", waiting.len()));
    let grows = rows.iter().filter(|row| matches!(row.then, Then::Grows { .. }));
    let all_in_memory = |row: &&Row| {
        row.messages == Some(row.arrived) && matches!(row.then, Then::Grows { by_bytes } if by_bytes >= row.bytes)
    };
    let grown = grows.clone().filter(all_in_memory).count();
    let says = "An unbounded channel takes every message into memory and tells the writer nothing";
    stage.fact(says, grown == grows.clone().count(), format!("{grown} of {}", grows.count()));
    if let Some(udp) = rows.iter().find(|row| row.name == Way::Udp.name()) {
        let sent = udp.messages.unwrap_or(0);
        let got = format!("{} sent without an error, {} arrived", count(sent), count(udp.arrived));
        if !matches!(udp.then, Then::Skipped(_)) {
            let says = "UDP takes every message without an error and drops those that find no room";
            stage.fact(says, matches!(udp.then, Then::Loses) && udp.arrived < sent, got);
        }
    }
}

/// What its documentation promises, and what was seen.
fn tell_of_typed(stage: &mut Stage, typed: &Row) {
    let seen = match (&typed.then, typed.messages) {
        (Then::Waits { .. }, Some(messages)) => format!("its writer was asleep after {} messages", count(messages)),
        (Then::NeverWaited, Some(messages)) => format!("its writer was never asleep, in {} messages", count(messages)),
        _ => "it could not be tried".to_owned(),
    };
    stage.note(format!(
        "The README of ipc-channel says that send never blocks. Here, with {}, {seen}. It is known upstream, as \
         servo/ipc-channel#275. So read in a thread of its own, or bound how much is sent and not yet read.",
        typed.name
    ));
}
