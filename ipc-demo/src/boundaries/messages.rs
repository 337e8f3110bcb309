//! Which mechanisms keep messages apart, and what becomes of a message that does not fit the reader's buffer?

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::poll::PollFlags;
use process_demo::child::{Exit, fork};
use shared::{Cell, Column, Mood, Stage, Table, refused};

use crate::link::{Link, Names, QUEUE_MESSAGE_BYTES, Way};

const WAYS: [Way; 9] = [
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

/// What the reader got: the pieces in their order, or the error that it met.
struct Received {
    pieces: Vec<Vec<u8>>,
    error: Option<Errno>,
}

/// How many mechanisms merged all messages into one read, how many kept them apart, and of how many.
pub fn show(stage: &mut Stage) -> Result<(usize, usize, usize)> {
    let (mut rows, mut merging, mut keeping, mut as_promised, mut seen) = (Vec::new(), 0, 0, 0, 0);
    let mut empty_as_promised = 0;
    for way in WAYS {
        let large = receive(stage, way, QUEUE_MESSAGE_BYTES);
        let (large, small) = match large.and_then(|large| Ok((large, receive(stage, way, SMALL)?))) {
            Ok(both) => both,
            Err(error) => {
                let why = refused(&error).ok_or_else(|| error.context(format!("sending by {}", way.name())))?;
                rows.push(vec![Cell::Text(way.name().to_owned()), Cell::Skipped { skipped: why }]);
                continue;
            }
        };
        let full: Vec<&[u8]> = large.pieces.iter().map(Vec::as_slice).filter(|piece| !piece.is_empty()).collect();
        let merged = full == [MESSAGES.concat()];
        let kept = full == MESSAGES.into_iter().filter(|message| !message.is_empty()).collect::<Vec<_>>();
        (merging, keeping, seen) = (merging + usize::from(merged), keeping + usize::from(kept), seen + 1);
        as_promised += usize::from(if way.keeps_boundaries() { kept } else { merged });
        let empty_came = large.pieces.iter().any(Vec::is_empty);
        empty_as_promised += usize::from(empty_came == (way.keeps_boundaries() && way != Way::PacketPipe));
        rows.push(row(way, &large, &small, kept));
    }
    stage.show(table(rows));
    if seen == 0 {
        return Ok((0, 0, 0)); // This machine refused every mechanism: there is nothing to judge.
    }
    let says = "Streams merge four messages into one read; all others keep them apart";
    stage.fact(says, as_promised == seen, format!("{merging} merged and {keeping} kept, of {seen}"));
    let says = "Sockets and queues that keep messages apart deliver an empty one; pipes and streams swallow it";
    stage.fact(says, empty_as_promised == seen, format!("{empty_as_promised} of {seen}"));
    Ok((merging, keeping, seen))
}

/// A child sends all messages and ends; then they are read with a buffer of that size.
fn receive(stage: &Stage, way: Way, buffer_bytes: usize) -> Result<Received> {
    let queue = format!("/{}", stage.name("boundaries"));
    let Link { to, from } = way.link(&Names { directory: stage.directory(), queue: &queue })?;
    let work =
        || MESSAGES.iter().try_for_each(|message| to.send(message).map(drop)).err().map_or(0, |error| error as u8);
    // SAFETY: the child only writes to a descriptor; nothing here is in shared memory.
    let child = unsafe { fork(work) }.context("starting a process")?;
    let exit = child.wait()?;
    ensure!(exit == Exit::Code(0), "the sender failed: {exit}");
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
            Err(errno) => return Ok(Received { pieces, error: Some(errno) }),
        }
    }
    Ok(Received { pieces, error: None })
}

fn row(way: Way, large: &Received, small: &Received, kept: bool) -> Vec<Cell> {
    let word = |says: String, mood| Cell::Word { says, mood };
    let sizes = |received: &Received| {
        let sizes: Vec<String> = received.pieces.iter().map(|piece| piece.len().to_string()).collect();
        sizes.join(", ")
    };
    let boundaries = match kept {
        true => word("kept".to_owned(), Mood::Good),
        false => word("lost".to_owned(), Mood::Bad),
    };
    let empty = match large.pieces.iter().any(Vec::is_empty) {
        true => word("reads as 0".to_owned(), Mood::Neutral),
        false => word("vanishes".to_owned(), Mood::Bad),
    };
    let received: usize = small.pieces.iter().map(Vec::len).sum();
    let lost = MESSAGES.concat().len() - received;
    let too_small = match small.error {
        Some(errno) => word(format!("{errno:?}"), Mood::Good),
        None if lost > 0 => word(format!("{lost} of 12 bytes lost"), Mood::Bad),
        None => word(format!("goes on: {}", sizes(small)), Mood::Neutral),
    };
    vec![Cell::Text(way.name().to_owned()), Cell::Text(sizes(large)), boundaries, empty, too_small]
}

fn table(rows: Vec<Vec<Cell>>) -> Table {
    let columns = 5;
    let fill = |mut row: Vec<Cell>| {
        row.resize(columns, Cell::Nothing);
        row
    };
    Table {
        title: "A child sends 3, 5, 0 and 4 bytes; its parent reads".to_owned(),
        columns: vec![
            Column::label("mechanism"),
            Column::value("reads of", ""),
            Column::value("boundaries", ""),
            Column::value("empty one", ""),
            Column::value("buffer of 4", ""),
        ],
        rows: rows.into_iter().map(fill).collect(),
    }
}
