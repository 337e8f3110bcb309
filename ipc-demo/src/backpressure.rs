//! The reader stops. How much is taken, and how does the writer find out?

mod ports;

use anyhow::{Context, Result};
use nix::errno::Errno;
use process_demo::crew::{Arguments, Crew, Reply};
use process_demo::memory_of;
use shared::number::{chosen_with_unit, count, with_unit};
use shared::{Cell, Demo, Extras, Snippet, Stage, Table, Tried, tried};

use crate::mechanisms::kernel::Way::{self, Fifo, Pipe, Queue, Tcp, Udp, UnixDatagram, UnixSeqpacket, UnixStream};
use crate::mechanisms::{CHANNELS, IPC_TYPED};
use crate::version;
use ports::{BYTES, Port, ROOM};

pub const DEMO: Demo = Demo {
    name: "backpressure",
    question: "The reader stops. How much is taken, and how does the writer find out?",
    claims: &[],
    rule: "It gives no verdict. The writer sends numbered messages of 64 bytes to a reader that does not read: first \
           without waiting, until that is an error; then once more, waiting, and is seen asleep or not. Then the reader \
           goes on, and counts and checks what arrives. A mechanism that never refuses gets a bounded number of messages.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/fifo.rs", text: include_str!("../snippets/fifo.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
        Snippet { path: "ipc-demo/snippets/typed.rs", text: include_str!("../snippets/typed.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note("Each writer sends messages of 64 bytes, each with its number, to a reader that has stopped reading.");
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |name: String, port: Result<Port>| {
        let filled = tried(port.and_then(|port| stop_reading(stage, &port)));
        rows.push((name.clone(), filled.with_context(|| format!("sending by {name}"))?));
        anyhow::Ok(())
    };
    for way in [Pipe, Fifo, UnixStream, UnixDatagram, UnixSeqpacket, Tcp, Udp, Queue] {
        add(way.name().to_owned(), ports::link(stage, way))?;
    }
    add(IPC_TYPED.to_owned(), ports::typed())?;
    add(format!("std sync({ROOM})"), Ok(ports::bounded()))?;
    add(CHANNELS[0].to_owned(), Ok(ports::unbounded(stage.by_effort(50_000, 500_000, 2_000_000))))?;
    // Those that make their writer wait come first, soonest first.
    rows.sort_by_key(|(_, filled)| filled.as_ref().map_or((2, 0), |row| (u8::from(!row.waits), row.messages)));
    show(stage, &rows);
    tell(stage, &rows);
    Ok(())
}

/// A mechanism, and what was seen of it, or why it could not be tried.
type Row = (String, Tried<Filled>);

struct Filled {
    /// Taken while the reader did not read.
    messages: u64,
    /// Whether the writer was then seen asleep.
    waits: bool,
    /// What it gets if it asks not to wait, where it may.
    refusal: Option<String>,
    /// By so many bytes the writer's process had grown by then.
    grown_bytes: u64,
    /// Once the reader went on, with the one for which the writer waited.
    arrived: u64,
    lost: u64,
}

const WRITER: usize = 0;
const READER: usize = 1;

fn stop_reading(stage: &Stage, port: &Port) -> Result<Filled> {
    let mut crew = Crew::of(port.between, 2, || Ok(port))?; // The reader reads nothing until it is told to.
    let process = crew.pid(WRITER).context("the writer has ended")?;
    // What is swapped out is no less taken.
    let memory_bytes = || memory_of::of(process).map(|memory| memory.rss_bytes + memory.swap_bytes);
    let before_bytes = memory_bytes()?;
    let (mut bytes, mut refusal, mut waits) = (0, None, false);
    while bytes < port.most_bytes && !waits {
        let fill = |port: &mut &Port, [bytes, most_bytes, _]: Arguments| port.fill(bytes, most_bytes, false);
        match crew.ask(WRITER, fill, [bytes, port.most_bytes, 0])? {
            Reply::Failed { errno: Errno::EOPNOTSUPP, .. } => {} // It cannot be asked not to wait.
            Reply::Failed { says, errno: Errno::UnknownErrno } => refusal = Some(says),
            Reply::Failed { errno, .. } => refusal = Some(format!("{errno:?}")),
            reply => {
                bytes = reply.value()?;
                continue;
            }
        }
        crew.tell(WRITER, |port, [bytes, ..]| port.fill(bytes, bytes + 1, true), [bytes, 0, 0]);
        match crew.hear_or_see_asleep(WRITER, stage.clock())? {
            Err(_) => waits = true,
            Ok(reply) => bytes = reply.value()?, // TCP moves what it has: there was room. Once more.
        }
    }
    let messages = bytes / BYTES as u64;
    let grown_bytes = memory_bytes()?.saturating_sub(before_bytes);
    let read_on = |port: &mut &Port, [expected, ..]: Arguments| port.read_on(expected);
    let arrived = crew.ask(READER, read_on, [messages + u64::from(waits), 0, 0])?.value()?;
    if waits {
        crew.hear(WRITER)?.value()?;
    }
    Ok(Filled { messages, waits, refusal, grown_bytes, arrived, lost: messages.saturating_sub(arrived) })
}

fn show(stage: &mut Stage, rows: &[Row]) {
    let cells = |(name, filled): &Row| match filled {
        Err(why) => vec![name.clone().into(), Cell::Skipped { skipped: why.clone() }],
        Ok(filled) => {
            let then = match &filled.refusal {
                Some(error) if filled.waits => Cell::good(format!("waits, or gets {error}")),
                None if filled.waits => Cell::good("waits"),
                _ if filled.lost > 0 => Cell::bad(format!("not told: {} lost", count(filled.lost))),
                _ => Cell::bad(format!("not told: {} grown", with_unit("bytes", filled.grown_bytes as f64))),
            };
            let size = chosen_with_unit("bytes", (filled.messages * BYTES as u64) as f64);
            vec![name.clone().into(), filled.messages.into(), size.into(), then, filled.arrived.into()]
        }
    };
    let title = format!("How many messages of {} are taken while nobody reads", with_unit("bytes", BYTES as f64));
    let columns = ["mechanism", "taken", "size", "then the writer", "arrived"];
    stage.show(Table::new(title, columns, rows.iter().map(cells)));
}

fn tell(stage: &mut Stage, rows: &[Row]) {
    let filled = || rows.iter().filter_map(|(name, filled)| Some((name, filled.as_ref().ok()?)));
    let waiting = || filled().map(|(_, filled)| filled).filter(|filled| filled.waits);
    let whole = waiting().filter(|filled| filled.arrived > filled.messages).count();
    stage.all("Where the writer waits, every message arrives once the reader goes on", whole, waiting().count());
    let of = |wanted: &str| filled().find(|(name, _)| *name == wanted).map(|(_, filled)| filled);
    if let Some(filled) = of(CHANNELS[0]) {
        let grew = !filled.waits && filled.grown_bytes >= filled.messages * BYTES as u64;
        let says = "An unbounded channel takes every message into memory and tells the writer nothing";
        stage.fact(says, grew && filled.lost == 0, format!("{} of {}", count(filled.arrived), count(filled.messages)));
    }
    if let Some(filled) = of(Way::Udp.name()) {
        let got = format!("{} sent without an error, {} arrived", count(filled.messages), count(filled.arrived));
        let says = "UDP takes every message without an error and drops those that find no room";
        stage.fact(says, !filled.waits && filled.lost > 0, got);
    }
    if let Some(filled) = of(IPC_TYPED) {
        stage.note(format!(
            "The README of ipc-channel says that send never blocks. Here, with version {}, its writer was {} {} messages: \
             servo/ipc-channel#275. Two sides that both send before they receive can wait for each other for ever: so read \
             in a thread of its own, or bound how much is sent and not yet read.",
            version::of("ipc-channel"),
            if filled.waits { "asleep after" } else { "never asleep, in" },
            count(filled.messages),
        ));
    }
    let others = filled().filter(|(_, filled)| !filled.waits).map(|(name, filled)| match filled.lost {
        0 => format!("; with {name} memory grows"),
        _ => format!("; with {name} messages are lost silently"),
    });
    let (others, waits, all) = (others.collect::<String>(), waiting().count(), filled().count());
    stage.headline(format!("{waits} of {all} mechanisms make a writer wait"));
    stage.answer(format!(
        "The writer waits with {waits} of {all} mechanisms, after {} to {} messages{others}.",
        count(waiting().map(|filled| filled.messages).min().unwrap_or(0)),
        count(waiting().map(|filled| filled.messages).max().unwrap_or(0)),
    ));
    stage.advise("Choose yourself how many messages may wait: copy `message_queue`.");
}
