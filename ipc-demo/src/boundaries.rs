//! Does a message arrive as one piece, and can two writers' messages mix?

mod torn;

use anyhow::{Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::poll::PollFlags;
use process_demo::crew::{Crew, Kind, NOTHING, Reply};
use shared::number::count;
use shared::{Cell, Column, Demo, Extras, Mood, Snippet, Stage, Table, refused};

use crate::mechanisms::kernel::{End, Link, Names, QUEUE_MESSAGE_BYTES, Way};

pub const DEMO: Demo = Demo {
    name: "boundaries",
    question: "Does a message arrive as one piece, and can two writers' messages mix?",
    claims: &[],
    rule: "It gives no verdict. A child sends, and its parent reads; every cell is what was read. A record is torn by \
           force: its writer is stopped while it waits in a nearly full pipe, and another one writes meanwhile. How \
           often it happens by itself is counted.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/framed.rs", text: include_str!("../snippets/framed.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
        Snippet { path: "ipc-demo/snippets/fifo.rs", text: include_str!("../snippets/fifo.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "A child sends four messages, 'one', 'three', an empty one and 'last', and ends. Only then its parent reads: how \
         many pieces does it get?",
    );
    let [merging, keeping, seen] = send_four(stage)?;
    stage.note("A stream also cuts: one write of 1 MiB, and a reader that asks for 1 MiB each time.");
    let most_pieces = send_large(stage)?;
    stage.note(
        "Two processes write records into one pipe. Each record is a single write; the first writer is stopped while it \
         waits for room, the second one writes, and the first goes on:",
    );
    let torn = torn::force(stage)?;
    stage.note("And without any stopping: three writers as fast as they can, in one pipe, every byte checked.");
    let (by_luck, of) = torn::leave_to_luck(stage)?;
    stage.note(format!(
        "One write of 1 MiB came in up to {} reads. Left to luck, {} of {} records above {} bytes were torn.",
        count(most_pieces as u64),
        count(by_luck as u64),
        count(of as u64),
        count(torn::ATOMIC_BYTES as u64),
    ));
    let mixed = match torn {
        Some(bytes) => format!("two writers can mix: the smallest torn record had {} bytes", count(bytes as u64)),
        None => "no two writers' records could be made to mix".to_owned(),
    };
    stage.headline(format!("{keeping} of {seen} mechanisms keep messages apart"));
    stage.answer(format!(
        "{keeping} of {seen} mechanisms keep messages apart, {merging} merge them. In one pipe, {mixed}."
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
const MESSAGES: [&[u8]; 4] = [b"one", b"three", b"", b"last"];
const SMALL: usize = 4; // Less than 'three' has.

/// How many mechanisms merge all messages into one read, how many keep them apart, and of how many.
fn send_four(stage: &mut Stage) -> Result<[usize; 3]> {
    let not_empty: Vec<&[u8]> = MESSAGES.into_iter().filter(|message| !message.is_empty()).collect();
    let (mut rows, mut seen) = (Vec::new(), Vec::new());
    for way in MECHANISMS {
        let both = receive(stage, way, QUEUE_MESSAGE_BYTES).and_then(|all| Ok((all, receive(stage, way, SMALL)?)));
        let ((pieces, _), small) = match tried(way, both)? {
            Ok(both) => both,
            Err(skipped) => {
                rows.push(row(way, [skipped, Cell::Nothing, Cell::Nothing, Cell::Nothing]));
                continue;
            }
        };
        let full: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).filter(|piece| !piece.is_empty()).collect();
        let (kept, empty_came) = (full == not_empty, pieces.iter().any(Vec::is_empty));
        seen.push((way, kept, full == [MESSAGES.concat()], empty_came));
        let boundaries = if kept { word("kept", Mood::Good) } else { word("lost", Mood::Bad) };
        let empty = if empty_came { word("reads as 0", Mood::Neutral) } else { word("vanishes", Mood::Bad) };
        rows.push(row(way, [Cell::Text(sizes(&pieces)), boundaries, empty, with_small_buffer(small)]));
    }
    let heads = ["reads of", "boundaries", "empty one", "buffer of 4"];
    stage.show(table("A child sends 3, 5, 0 and 4 bytes; its parent reads", heads, rows));
    let all = seen.len();
    let [keeping, merging] = [seen.iter().filter(|one| one.1).count(), seen.iter().filter(|one| one.2).count()];
    if all > 0 {
        let as_promised =
            seen.iter().filter(|(way, kept, merged, _)| if way.keeps_boundaries() { *kept } else { *merged });
        let says = "Streams merge four messages into one read; all others keep them apart";
        stage.fact(says, as_promised.count() == all, format!("{merging} merged and {keeping} kept, of {all}"));
        let delivers = |way: Way| way.keeps_boundaries() && way != Way::PacketPipe;
        let as_promised = seen.iter().filter(|(way, _, _, empty_came)| *empty_came == delivers(*way)).count();
        let says = "Sockets and queues that keep messages apart deliver an empty one; pipes and streams swallow it";
        stage.fact(says, as_promised == all, format!("{as_promised} of {all}"));
    }
    Ok([merging, keeping, all])
}

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

/// What becomes of a message that does not fit the reader's buffer.
fn with_small_buffer((pieces, error): (Vec<Vec<u8>>, Option<Errno>)) -> Cell {
    let (sent, received) = (MESSAGES.concat().len(), pieces.concat().len());
    match error {
        Some(errno) => word(format!("{errno:?}"), Mood::Good),
        None if received < sent => word(format!("{} of {sent} bytes lost", sent - received), Mood::Bad),
        None => word(format!("goes on: {}", sizes(&pieces)), Mood::Neutral),
    }
}

fn sizes(pieces: &[Vec<u8>]) -> String {
    pieces.iter().map(|piece| piece.len().to_string()).collect::<Vec<_>>().join(", ")
}

const BYTES: usize = 1 << 20;

/// The largest number of pieces in which one large write arrives.
fn send_large(stage: &mut Stage) -> Result<usize> {
    let (mut rows, mut most, mut whole) = (Vec::new(), 0, true);
    for way in MECHANISMS.into_iter().rev().filter(|way| *way != Way::PacketPipe) {
        let cells = match tried(way, receive_large(stage, way))? {
            Ok(Ok((pieces, is_whole))) => {
                (most, whole) = (most.max(pieces.len()), whole && is_whole);
                let largest = pieces.iter().max().copied().unwrap_or(0);
                let becomes = if pieces.len() == 1 { "whole" } else { "cut: the reader must ask again" };
                [Cell::Number(pieces.len() as f64), Cell::Number(largest as f64), Cell::Text(becomes.to_owned())]
            }
            Ok(Err(errno)) => [Cell::Nothing, Cell::Nothing, word(format!("refused: {errno:?}"), Mood::Good)],
            Err(skipped) => [skipped, Cell::Nothing, Cell::Nothing],
        };
        rows.push(row(way, cells));
    }
    stage.table(table("One write of 1 MiB", ["reads", "largest, bytes", "so it is"], rows));
    if most > 0 {
        let says = "What came in pieces came whole and in order, every byte of it checked";
        stage.check(says, whole, format!("at most {most} pieces"));
        let says = "A stream may need several reads for what one write wrote";
        stage.fact(says, most > 1, format!("up to {most} reads for one write of 1 MiB"));
    }
    Ok(most)
}

/// A child sends everything by one call; its parent reads as much as it can with each call, and checks every byte. The
/// bytes of each piece, and whether it is what was sent; or the error that the sender got.
fn receive_large(stage: &Stage, way: Way) -> Result<Result<(Vec<usize>, bool), Errno>> {
    let Link { to, from } = link(stage, way)?;
    let sent: Vec<u8> = (0..BYTES).map(|index| (index % 251) as u8).collect();
    let mut child = Crew::of(Kind::Processes, 1, || Ok((&to, &sent[..])))?;
    child.tell(0, |(to, sent), _| Ok(to.send(sent)? as u64), NOTHING);
    let is_whole = !way.tells_the_end() || way.keeps_boundaries();
    // A message goes as a whole or not at all, so its sender has done soon; a stream's waits for the reader.
    let early = if is_whole { Some(child.hear(0)?) } else { None };
    if let Some(Reply::Failed { errno, .. }) = early {
        return Ok(Err(errno));
    }
    let (mut received, mut pieces, mut buffer) = (Vec::with_capacity(BYTES), Vec::new(), vec![0; BYTES]);
    while received.len() < BYTES && from.ready(PollFlags::POLLIN)? {
        let count = from.receive(&mut buffer)?;
        received.extend_from_slice(&buffer[..count]);
        pieces.push(count); // A short count is what is to be seen.
    }
    let done = early.map_or_else(|| child.hear(0), Ok)?;
    ensure!(done == Reply::Done(BYTES as u64), "one call did not send it all");
    Ok(Ok((pieces, received == sent)))
}

fn link(stage: &Stage, way: Way) -> Result<Link> {
    let queue = stage.queue("boundaries")?;
    way.link(&Names { directory: stage.directory(), queue: &queue })
}

/// What was seen, or the cell that tells why this machine refuses it.
fn tried<T>(way: Way, seen: Result<T>) -> Result<Result<T, Cell>> {
    seen.map(Ok).or_else(|error| {
        let skipped = refused(&error).ok_or_else(|| error.context(format!("sending by {}", way.name())))?;
        Ok(Err(Cell::Skipped { skipped }))
    })
}

fn row<const CELLS: usize>(way: Way, cells: [Cell; CELLS]) -> Vec<Cell> {
    [Cell::Text(way.name().to_owned())].into_iter().chain(cells).collect()
}

fn word(says: impl Into<String>, mood: Mood) -> Cell {
    Cell::Word { says: says.into(), mood }
}

fn table<const HEADS: usize>(title: &str, heads: [&str; HEADS], rows: Vec<Vec<Cell>>) -> Table {
    let heads = heads.map(|head| Column::value(head, ""));
    let columns = [Column::label("mechanism")].into_iter().chain(heads).collect();
    Table { title: title.to_owned(), columns, rows }
}
