//! The reader stops. How much is taken, and how does the writer find out?

mod ports;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::unistd::getpid;
use process_demo::crew::{Arguments, Crew, NOTHING, Progress, Reply};
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
    stage.note(format!(
        "Each writer sends messages of {BYTES} bytes, each with its number, to a reader that has stopped reading.",
    ));
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
    rows.sort_by_key(|(_, filled)| filled.as_ref().map_or((2, 0), |row| (u8::from(!row.waits()), row.messages)));
    show(stage, &rows);
    tell_facts(stage, &rows);
    answer(stage, &rows);
    Ok(())
}

/// A mechanism, and what was seen of it, or why it could not be tried.
type Row = (String, Tried<Filled>);

struct Filled {
    /// Taken while the reader did not read.
    messages: u64,
    then: Then,
    /// Once the reader went on, with the one for which the writer waited.
    arrived: u64,
}

/// How the writer found out.
enum Then {
    /// It was seen asleep; where it may ask not to wait, the error's name.
    Waits(Option<String>),
    /// Not at all: what found no room was dropped.
    Loses,
    /// Not at all: it took everything, and the process grew by so many bytes.
    Grows(u64),
}

impl Filled {
    fn waits(&self) -> bool {
        matches!(self.then, Then::Waits(_))
    }
}

const WRITER: usize = 0;
const READER: usize = 1;

fn stop_reading(stage: &Stage, port: &Port) -> Result<Filled> {
    let mut crew = Crew::of(port.between, 2, || Ok(port))?; // The reader reads nothing until it is told to.
    let memory_bytes = |_: &mut &Port, _| {
        let memory = memory_of::of(getpid())?; // What is swapped out is no less taken.
        Ok(memory.rss_bytes + memory.swap_bytes)
    };
    let before_bytes = crew.ask(WRITER, memory_bytes, NOTHING)?.value()?;
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
        match crew.until_asleep_in(WRITER, port.waits_in, stage.clock())? {
            Progress::Asleep(_) => waits = true,
            Progress::Over => bytes = crew.hear(WRITER)?.value()?, // TCP moves what it has: there was room. Once more.
            Progress::Unknown(errno) => return Err(errno).context("seeing a writer asleep"),
        }
    }
    let messages = bytes / BYTES as u64;
    let then = match (waits, port.may_lose) {
        (true, _) => Then::Waits(refusal),
        (_, true) => Then::Loses,
        _ => Then::Grows(crew.ask(WRITER, memory_bytes, NOTHING)?.value()?.saturating_sub(before_bytes)),
    };
    let read_on = |port: &mut &Port, [expected, ..]: Arguments| port.read_on(expected);
    let arrived = crew.ask(READER, read_on, [messages + u64::from(waits), 0, 0])?.value()?;
    if waits {
        crew.hear(WRITER)?.value()?;
    }
    Ok(Filled { messages, then, arrived })
}

fn show(stage: &mut Stage, rows: &[Row]) {
    let cells = |(name, filled): &Row| match filled {
        Err(why) => vec![name.clone().into(), Cell::Skipped { skipped: why.clone() }],
        Ok(Filled { messages, then, arrived }) => {
            let then = match then {
                Then::Waits(Some(error)) => Cell::good(format!("waits, or gets {error}")),
                Then::Waits(None) => Cell::good("waits"),
                Then::Loses => Cell::bad(format!("not told: {} lost", count(messages - arrived))),
                Then::Grows(more) => Cell::bad(format!("not told: {} grown", with_unit("bytes", *more as f64))),
            };
            let size = chosen_with_unit("bytes", (messages * BYTES as u64) as f64);
            vec![name.clone().into(), (*messages).into(), size.into(), then, (*arrived).into()]
        }
    };
    let title = format!("How many messages of {} are taken while nobody reads", with_unit("bytes", BYTES as f64));
    let columns = ["mechanism", "taken", "size", "then the writer", "arrived"];
    stage.show(Table::new(title, columns, rows.iter().map(cells)));
}

fn tell_facts(stage: &mut Stage, rows: &[Row]) {
    let waiting = || rows.iter().filter_map(|(_, filled)| filled.as_ref().ok()).filter(|filled| filled.waits());
    let whole = waiting().filter(|filled| filled.arrived > filled.messages).count();
    stage.all("Where the writer waits, every message arrives once the reader goes on", whole, waiting().count());
    let of = |name: &str| rows.iter().find(|row| row.0 == name).and_then(|(_, filled)| filled.as_ref().ok());
    if let Some(Filled { messages, then, arrived }) = of(CHANNELS[0]) {
        let says = "An unbounded channel takes every message into memory and tells the writer nothing";
        let in_memory = matches!(then, Then::Grows(more) if *more >= messages * BYTES as u64);
        stage.fact(says, in_memory && arrived == messages, format!("{} of {}", count(*arrived), count(*messages)));
    }
    if let Some(Filled { messages, then, arrived }) = of(Way::Udp.name()) {
        let got = format!("{} sent without an error, {} arrived", count(*messages), count(*arrived));
        let says = "UDP takes every message without an error and drops those that find no room";
        stage.fact(says, matches!(then, Then::Loses) && arrived < messages, got);
    }
    if let Some(filled) = of(IPC_TYPED) {
        stage.note(format!(
            "The README of ipc-channel says that send never blocks. Here, with version {}, its writer was {} {} messages: \
             servo/ipc-channel#275. So read in a thread of its own, or bound how much is sent and not yet read.",
            version::of("ipc-channel"),
            if filled.waits() { "asleep after" } else { "never asleep, in" },
            count(filled.messages),
        ));
    }
}

fn answer(stage: &mut Stage, rows: &[Row]) {
    let filled = || rows.iter().filter_map(|(name, filled)| Some((name, filled.as_ref().ok()?)));
    let waiting = || filled().filter(|(_, filled)| filled.waits()).map(|(_, filled)| filled.messages);
    let others = filled().map(|(name, filled)| match filled.then {
        Then::Waits(_) => String::new(),
        Then::Loses => format!("; with {name} messages are lost silently"),
        Then::Grows(_) => format!("; with {name} memory grows"),
    });
    let (others, waits, all) = (others.collect::<String>(), waiting().count(), filled().count());
    stage.headline(format!("{waits} of {all} mechanisms make a writer wait"));
    stage.answer(format!(
        "The writer waits with {waits} of {all} mechanisms, after {} to {} messages{others}.",
        count(waiting().min().unwrap_or(0)),
        count(waiting().max().unwrap_or(0)),
    ));
    stage.advise("Choose yourself how many messages may wait: copy `message_queue`.");
}
