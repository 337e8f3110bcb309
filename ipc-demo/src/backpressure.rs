//! The reader stops. How much is taken, and how does the writer find out?

mod ports;

use anyhow::{Context, Result, ensure};
use ipc_demo::event::Event;
use nix::errno::Errno;
use nix::unistd::{getpid, write};
use process_demo::child::{Exit, fork};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Progress, Reply};
use process_demo::memory_of;
use shared::number::{chosen_with_unit, count, with_unit};
use shared::{Cell, Column, Demo, Extras, Mood, Snippet, Stage, Table, refused};

use crate::asleep::wait_until_asleep;
use crate::link::Way;
use crate::version;
use ports::{BYTES, Port};

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

const LINKS: [Way; 8] =
    [Way::Pipe, Way::Fifo, Way::UnixStream, Way::UnixDatagram, Way::UnixSeqpacket, Way::Tcp, Way::Udp, Way::Queue];

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(format!(
        "Each writer sends messages of {BYTES} bytes, each with its number, to a reader that has stopped reading. An \
         eventfd has no messages, it adds up: it gets ones, and then all that still fits at once. The crossbeam rows are \
         crossbeam-channel {}.",
        version::of("crossbeam-channel"),
    ));
    let mut rows: Vec<(String, Result<Filled>)> = Vec::new();
    for way in LINKS {
        rows.push((way.name().to_owned(), ports::link(stage, way).and_then(|port| stop_reading(stage, &port))));
    }
    rows.push(("eventfd, adding 1".to_owned(), add_up(stage)));
    let typed_name = format!("ipc-channel {}", version::of("ipc-channel"));
    rows.push((typed_name.clone(), ports::typed().and_then(|port| stop_reading(stage, &port))));
    for (name, port) in ports::channels(stage.by_effort(50_000, 500_000, 2_000_000)) {
        rows.push((name, stop_reading(stage, &port)));
    }
    let or_why = |(name, filled): (String, Result<Filled>)| {
        let filled = match filled {
            Err(error) => Err(refused(&error).ok_or_else(|| error.context(format!("sending by {name}")))?),
            Ok(filled) => Ok(filled),
        };
        Ok((name, filled))
    };
    let mut rows = rows.into_iter().map(or_why).collect::<Result<Vec<Row>>>()?;
    // Those that wait come first, soonest first; then those that tell nothing.
    rows.sort_by_key(|(_, filled)| filled.as_ref().map_or((3, 0), |filled| (filled.then.rank(), filled.messages)));
    show(stage, &rows);
    judge(stage, &rows);
    tell_of_typed(stage, &rows, &typed_name);
    answer(stage, &rows);
    Ok(())
}

/// A mechanism, and what was seen of it, or why it could not be tried.
type Row = (String, Result<Filled, String>);

struct Filled {
    /// Taken while the reader did not read.
    messages: u64,
    bytes: u64,
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
    /// Not at all: it was never asleep, in all that it was given.
    NeverWaited,
}

impl Then {
    fn rank(&self) -> u8 {
        match self {
            Then::Waits(_) => 0,
            Then::Loses => 1,
            Then::Grows(_) | Then::NeverWaited => 2,
        }
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
    let then = match port.between {
        _ if waits => Then::Waits(refusal),
        _ if port.may_lose => Then::Loses,
        Kind::Processes => Then::NeverWaited,
        Kind::Threads => Then::Grows(crew.ask(WRITER, memory_bytes, NOTHING)?.value()?.saturating_sub(before_bytes)),
    };
    let read_on = |port: &mut &Port, [expected, ..]: Arguments| port.read_on(expected);
    let arrived = crew.ask(READER, read_on, [messages + u64::from(waits), 0, 0])?.value()?;
    if waits {
        crew.hear(WRITER)?.value()?;
    }
    Ok(Filled { messages, bytes: messages * BYTES as u64, then, arrived })
}

/// An eventfd takes numbers, until their sum is too large.
fn add_up(stage: &Stage) -> Result<Filled> {
    const SINGLE: u64 = 1_000; // Added one by one, to be seen in one sum.
    let event = Event::counter().context("eventfd")?;
    (0..SINGLE).try_for_each(|_| event.add(1))?;
    event.add(u64::MAX - 1 - SINGLE)?; // Nobody lives to add so many one by one.
    let error = write(&event, &1u64.to_ne_bytes()).err(); // The snippet's `add` would wait here.
    // SAFETY: the child only adds; nothing here is in shared memory.
    let writer = unsafe { fork(|| u8::from(event.add(1).is_err())) }.context("starting a process")?;
    ensure!(wait_until_asleep(writer.pid(), stage.clock())?, "an eventfd took more than fits");
    let sum = event.wait()?;
    ensure!(writer.wait()? == Exit::Code(0), "the writer failed");
    let then = Then::Waits(error.map(|errno: Errno| format!("{errno:?}")));
    Ok(Filled { messages: sum, bytes: size_of::<u64>() as u64, then, arrived: sum + event.wait()? })
}

fn show(stage: &mut Stage, rows: &[Row]) {
    let number = |count: u64| match count {
        ..=9_007_199_254_740_992 => Cell::Number(count as f64),
        _ => Cell::Text(format!("2^64 - {}", u64::MAX - count + 1)), // More digits than a number here has.
    };
    let cells = |(name, filled): &Row| {
        let name = Cell::Text(name.clone());
        let Filled { messages, bytes, then, arrived } = match filled {
            Err(why) => {
                return vec![name, Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing, Cell::Nothing];
            }
            Ok(filled) => filled,
        };
        let (says, mood) = match then {
            Then::Waits(Some(error)) => (format!("waits, or gets {error}"), Mood::Good),
            Then::Waits(None) => ("waits".to_owned(), Mood::Good),
            Then::Loses => (format!("not told: {} lost", count(messages - arrived)), Mood::Bad),
            Then::Grows(by_bytes) => (format!("not told: {} grown", with_unit("bytes", *by_bytes as f64)), Mood::Bad),
            Then::NeverWaited => ("never waited here".to_owned(), Mood::Neutral),
        };
        let bytes = Cell::Text(chosen_with_unit("bytes", *bytes as f64));
        vec![name, number(*messages), bytes, Cell::Word { says, mood }, number(*arrived)]
    };
    let heads = ["taken", "size", "then the writer", "arrived"].map(|head| Column::value(head, ""));
    stage.show(Table {
        title: format!("How many messages of {} are taken while nobody reads", with_unit("bytes", BYTES as f64)),
        columns: [Column::label("mechanism")].into_iter().chain(heads).collect(),
        rows: rows.iter().map(cells).collect(),
    });
}

fn judge(stage: &mut Stage, rows: &[Row]) {
    let filled = || rows.iter().filter_map(|(_, filled)| filled.as_ref().ok());
    let waiting = || filled().filter(|filled| matches!(filled.then, Then::Waits(_)));
    let whole = waiting().filter(|filled| filled.arrived > filled.messages).count();
    let says = "Where the writer waits, every message arrives once the reader goes on";
    stage.fact(says, whole == waiting().count(), format!("{whole} of {}", waiting().count()));
    let growing = || {
        filled().filter_map(|filled| match filled.then {
            Then::Grows(by_bytes) => Some(by_bytes >= filled.bytes && filled.arrived == filled.messages),
            _ => None,
        })
    };
    let all_in_memory = growing().filter(|&all_in_memory| all_in_memory).count();
    let says = "An unbounded channel takes every message into memory and tells the writer nothing";
    stage.fact(says, all_in_memory == growing().count(), format!("{all_in_memory} of {}", growing().count()));
    if let Some((_, Ok(udp))) = rows.iter().find(|(name, _)| name == Way::Udp.name()) {
        let got = format!("{} sent without an error, {} arrived", count(udp.messages), count(udp.arrived));
        let says = "UDP takes every message without an error and drops those that find no room";
        stage.fact(says, matches!(udp.then, Then::Loses) && udp.arrived < udp.messages, got);
    }
}

/// What its documentation promises, and what was seen.
fn tell_of_typed(stage: &mut Stage, rows: &[Row], name: &str) {
    let seen = match rows.iter().find(|row| row.0 == name) {
        Some((_, Ok(Filled { messages, then: Then::Waits(_), .. }))) => {
            format!("its writer was asleep after {} messages", count(*messages))
        }
        Some((_, Ok(Filled { messages, .. }))) => {
            format!("its writer was never asleep, in {} messages", count(*messages))
        }
        _ => "it could not be tried".to_owned(),
    };
    stage.note(format!(
        "The README of ipc-channel says that send never blocks. Here, with {name}, {seen}. It is known upstream, as \
         servo/ipc-channel#275. So read in a thread of its own, or bound how much is sent and not yet read."
    ));
}

fn answer(stage: &mut Stage, rows: &[Row]) {
    let filled = || rows.iter().filter_map(|(name, filled)| Some((name.as_str(), filled.as_ref().ok()?)));
    let named = |is_so: fn(&Then) -> bool| {
        let names = filled().filter(|(_, filled)| is_so(&filled.then)).map(|(name, _)| name);
        names.collect::<Vec<_>>().join(" and ")
    };
    let outcomes = [
        (named(|then| matches!(then, Then::Loses)), "messages are lost silently"),
        (named(|then| matches!(then, Then::Grows(_))), "memory grows"),
        (named(|then| matches!(then, Then::NeverWaited)), "it never waited here"),
    ];
    let others = outcomes.iter().filter(|(names, _)| !names.is_empty());
    let others: String = others.map(|(names, what)| format!("; with {names} {what}")).collect();
    let waiting = || filled().filter(|(_, filled)| matches!(filled.then, Then::Waits(_)));
    let taken = || waiting().map(|(_, filled)| filled.messages).filter(|&messages| messages < u64::MAX / 2);
    let (waiting, all) = (waiting().count(), filled().count());
    stage.headline(format!("{waiting} of {all} mechanisms make a writer wait"));
    stage.answer(format!(
        "The writer waits with {waiting} of {all} mechanisms, after {} to {} messages{others}.",
        count(taken().min().unwrap_or(0)),
        count(taken().max().unwrap_or(0)),
    ));
    stage.advise("Choose yourself how many messages may wait: copy `message_queue`.");
}
