//! Does a message arrive as one piece?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::poll::PollFlags;
use process_demo::crew::{Crew, Kind, NOTHING, Reply};
use shared::number::counted;
use shared::{Cell, Demo, Extras, Snippet, Stage, Table, Tried, tried};

use crate::mechanisms::kernel::{End, Link, Names, QUEUE_MESSAGE_BYTES, Way};

pub const DEMO: Demo = Demo {
    name: "boundaries",
    question: "Does a message arrive as one piece?",
    claims: &[],
    rule: "It gives no verdict. A child sends, and its parent reads; every cell is what was read. Boundaries count as kept \
           if each read gives one message, and as merged if one read gives all.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/framed.rs", text: include_str!("../snippets/framed.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "A child sends four messages, 'one', 'three', an empty one and 'last', and ends. Only then its parent reads: how \
         many pieces does it get, and how many from a buffer of four bytes? Last, one call sends 1 MiB to a reader that \
         asks for as much each time.",
    );
    let mut rows = Vec::new();
    for way in MECHANISMS {
        let received = tried(receive_all(stage, way)).with_context(|| format!("sending by {}", way.name()))?;
        rows.push((way, received));
    }
    show(stage, &rows);
    let [merging, keeping, all, most_reads] = tell_facts(stage, &rows);
    stage.headline(format!("{keeping} of {all} mechanisms keep messages apart"));
    stage.answer(format!(
        "{keeping} of {all} mechanisms keep messages apart, {merging} merge them into one read. One write of 1 MiB came in \
         up to {}.",
        counted(most_reads, "read"),
    ));
    stage.advise("On a stream, send each message's length first: copy `framed`.");
    Ok(())
}

const MECHANISMS: [Way; 9] = [
    Way::Queue,
    Way::UnixSeqpacket,
    Way::UnixDatagram,
    Way::Udp,
    Way::PacketPipe,
    Way::UnixStream,
    Way::Tcp,
    Way::Pipe,
    Way::Fifo,
];

/// A mechanism, and what was received by it, or why it could not be tried.
type Row = (Way, Tried<Received>);

struct Received {
    /// The pieces in which the four messages came.
    pieces: Vec<Vec<u8>>,
    /// The same by a buffer smaller than one of them, up to the error that it met.
    small: (Vec<Vec<u8>>, Option<Errno>),
    /// The number of reads that a large message took, or why it was not sent.
    large: Result<usize, Errno>,
}

impl Received {
    fn without_empty(&self) -> Vec<&[u8]> {
        self.pieces.iter().map(Vec::as_slice).filter(|piece| !piece.is_empty()).collect()
    }

    fn are_kept(&self) -> bool {
        self.without_empty() == MESSAGES.into_iter().filter(|message| !message.is_empty()).collect::<Vec<_>>()
    }

    fn are_merged(&self) -> bool {
        self.without_empty() == [MESSAGES.concat()]
    }
}

fn receive_all(stage: &Stage, way: Way) -> Result<Received> {
    const SMALL: usize = 4; // Less than 'three' has.
    let (pieces, _) = receive(stage, way, QUEUE_MESSAGE_BYTES)?;
    Ok(Received { pieces, small: receive(stage, way, SMALL)?, large: receive_large(stage, way)? })
}

const MESSAGES: [&[u8]; 4] = [b"one", b"three", b"", b"last"];

/// A child sends all messages and ends; then they are read with a buffer of that size. The pieces in their order, and the
/// error that the reader met.
fn receive(stage: &Stage, way: Way, buffer_bytes: usize) -> Result<(Vec<Vec<u8>>, Option<Errno>)> {
    let Link { to, from } = link(stage, way)?;
    let mut child = Crew::of(Kind::Processes, 1, || Ok(&to))?;
    let send_all = |to: &mut &End, _| {
        MESSAGES.iter().try_for_each(|message| to.send(message).map(drop))?;
        Ok(0)
    };
    child.ask(0, send_all, NOTHING)?.value()?;
    drop(child);
    drop(to); // Now nobody can send any more, and the reader may learn it.
    if way == Way::Tcp {
        let its_end = PollFlags::from_bits_retain(libc::POLLRDHUP); // nix has no name for it.
        from.ready(its_end)?; // Once its end has come, all that was sent has.
    }
    let (mut buffer, mut pieces) = (vec![0; buffer_bytes], Vec::<Vec<u8>>::new());
    // The last message ends with its last letter, however it is cut.
    while pieces.last().is_none_or(|piece| !piece.ends_with(b"st")) && from.ready(PollFlags::POLLIN)? {
        match from.receive(&mut buffer) {
            Ok(count) => pieces.push(buffer[..count].to_vec()), // A short count is what is to be seen.
            Err(errno) => return Ok((pieces, Some(errno))),
        }
    }
    Ok((pieces, None))
}

/// Does a message go as a whole, also if it is empty, or not at all? A pipe of packets cuts it after a page.
fn goes_as_a_whole(way: Way) -> bool {
    way.keeps_boundaries() && way != Way::PacketPipe
}

/// A child sends a large message by one call; its parent reads as much as it can with each call, and checks every byte.
fn receive_large(stage: &Stage, way: Way) -> Result<Result<usize, Errno>> {
    const BYTES: usize = 1 << 20;
    let Link { to, from } = link(stage, way)?;
    let sent: Vec<u8> = (0..BYTES).map(|index| (index % 251) as u8).collect();
    let mut child = Crew::of(Kind::Processes, 1, || Ok((&to, &sent[..])))?;
    child.tell(0, |(to, sent), _| Ok(to.send(sent)? as u64), NOTHING);
    // Whoever sends it as a whole has done soon; else the sender waits for the reader.
    let patience = Duration::from_secs(10); // Only a bound.
    let early = if goes_as_a_whole(way) { child.hear_within(0, patience)? } else { None };
    if let Some(Reply::Failed { errno, .. }) = early {
        return Ok(Err(errno));
    }
    let (mut received, mut reads, mut buffer) = (Vec::with_capacity(BYTES), 0, vec![0; BYTES]);
    while received.len() < BYTES && from.ready(PollFlags::POLLIN)? {
        let count = from.receive(&mut buffer)?; // A short count is what is to be seen.
        received.extend_from_slice(&buffer[..count]);
        reads += 1;
    }
    let done = early.map_or_else(|| child.hear(0), Ok)?;
    ensure!(done == Reply::Done(BYTES as u64), "one call did not send it all");
    ensure!(received == sent, "what came is not what was sent");
    Ok(Ok(reads))
}

fn link(stage: &Stage, way: Way) -> Result<Link> {
    let queue = stage.queue("boundaries")?;
    way.link(&Names { directory: stage.directory(), queue: &queue })
}

fn show(stage: &mut Stage, rows: &[Row]) {
    let sizes = |pieces: &[Vec<u8>]| pieces.iter().map(|piece| piece.len().to_string()).collect::<Vec<_>>().join(", ");
    let with_small_buffer = |(pieces, error): &(Vec<Vec<u8>>, Option<Errno>)| {
        let (sent, received) = (MESSAGES.concat().len(), pieces.concat().len());
        match error {
            Some(errno) => Cell::good(format!("{errno:?}")),
            None if received < sent => Cell::bad(format!("{} of {sent} bytes lost", sent - received)),
            None => Cell::neutral(format!("goes on: {}", sizes(pieces))),
        }
    };
    let cells = |(way, received): &Row| match received {
        Err(why) => vec![way.name().into(), Cell::Skipped { skipped: why.clone() }],
        Ok(received) => vec![
            way.name().into(),
            sizes(&received.pieces).into(),
            if received.are_kept() { Cell::good("kept") } else { Cell::bad("lost") },
            with_small_buffer(&received.small),
            match received.large {
                Ok(reads) => Cell::neutral(counted(reads, "read")),
                Err(errno) => Cell::good(format!("{errno:?}")),
            },
        ],
    };
    let columns = ["mechanism", "reads of", "boundaries", "buffer of 4", "1 MiB at once"];
    let title = "A child sends 3, 5, 0 and 4 bytes, then 1 MiB; its parent reads";
    stage.show(Table::new(title, columns, rows.iter().map(cells)));
}

/// How many mechanisms merge all messages into one read, how many keep them apart, of how many; and the reads that one
/// large message took at most.
fn tell_facts(stage: &mut Stage, rows: &[Row]) -> [usize; 4] {
    let seen: Vec<(Way, &Received)> = rows.iter().filter_map(|(way, seen)| Some((*way, seen.as_ref().ok()?))).collect();
    let how_many =
        |so: &dyn Fn(Way, &Received) -> bool| seen.iter().filter(|(way, received)| so(*way, received)).count();
    let (merging, keeping) = (how_many(&|_, it| it.are_merged()), how_many(&|_, it| it.are_kept()));
    let as_promised = how_many(&|way, it| if way.keeps_boundaries() { it.are_kept() } else { it.are_merged() });
    stage.all("Streams merge four messages into one read; all others keep them apart", as_promised, seen.len());
    let as_promised = how_many(&|way, it| it.pieces.iter().any(Vec::is_empty) == goes_as_a_whole(way));
    let says = "Sockets and queues that keep messages apart deliver an empty one; pipes and streams swallow it";
    stage.all(says, as_promised, seen.len());
    let most_reads = seen.iter().filter_map(|(_, it)| it.large.ok()).max().unwrap_or(0);
    if most_reads > 0 {
        let says = "A stream may need several reads for what one write wrote";
        let by_streams = seen.iter().filter(|(way, _)| !way.keeps_boundaries()).filter_map(|(_, it)| it.large.ok());
        let most = by_streams.max().unwrap_or(0);
        stage.fact(says, most > 1, format!("up to {} for one write of 1 MiB", counted(most, "read")));
    }
    [merging, keeping, seen.len(), most_reads]
}
