//! In how many pieces does one large write arrive?

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use process_demo::child::{Exit, fork};
use shared::{Cell, Column, Mood, Stage, Table, refused};

use crate::link::{End, Link, Names, Way};

const BYTES: usize = 1 << 20;
const TAKEN_IN_PART: u8 = u8::MAX; // No errno is as high.
const WAYS: [Way; 8] =
    [Way::Pipe, Way::Fifo, Way::UnixStream, Way::Tcp, Way::UnixDatagram, Way::UnixSeqpacket, Way::Udp, Way::Queue];

/// The bytes of each piece, or the error that the sender got.
type Pieces = Result<Vec<usize>, Errno>;

/// The largest number of pieces.
pub fn show(stage: &mut Stage) -> Result<usize> {
    let (mut rows, mut most, mut whole) = (Vec::new(), 0, true);
    for way in WAYS {
        let cells = match receive(stage, way) {
            Ok(Ok(pieces)) => {
                most = most.max(pieces.len());
                whole &= pieces.iter().sum::<usize>() == BYTES;
                let largest = pieces.iter().max().copied().unwrap_or(0);
                let rest = "cut: the reader must ask again".to_owned();
                let becomes = if pieces.len() == 1 { "whole".to_owned() } else { rest };
                [Cell::Number(pieces.len() as f64), Cell::Number(largest as f64), Cell::Text(becomes)]
            }
            Ok(Err(errno)) => {
                let says = format!("refused: {errno:?}");
                [Cell::Nothing, Cell::Nothing, Cell::Word { says, mood: Mood::Good }]
            }
            Err(error) => {
                let why = refused(&error).ok_or_else(|| error.context(format!("sending by {}", way.name())))?;
                [Cell::Skipped { skipped: why }, Cell::Nothing, Cell::Nothing]
            }
        };
        rows.push([Cell::Text(way.name().to_owned())].into_iter().chain(cells).collect());
    }
    stage.table(table(rows));
    if most == 0 {
        return Ok(0); // This machine refused every mechanism: there is nothing to judge.
    }
    let says = "What came in pieces came whole and in order, every byte of it checked";
    stage.check(says, whole, format!("at most {most} pieces"));
    let says = "A stream may need several reads for what one write wrote";
    stage.fact(says, most > 1, format!("up to {most} reads for one write of 1 MiB"));
    Ok(most)
}

/// A child sends everything by one call; its parent reads as much as it can with each call.
fn receive(stage: &Stage, way: Way) -> Result<Pieces> {
    let queue = format!("/{}", stage.name("pieces"));
    let Link { to, from } = way.link(&Names { directory: stage.directory(), queue: &queue })?;
    let sent: Vec<u8> = (0..BYTES).map(|index| (index % 251) as u8).collect();
    let mut to = Some(to);
    let work = || match to.take().map(|to| to.send(&sent)) {
        Some(Ok(BYTES)) => 0,
        Some(Err(errno)) => errno as u8,
        Some(Ok(_)) | None => TAKEN_IN_PART,
    };
    // SAFETY: the child only writes to a descriptor; nothing here is in shared memory.
    let child = unsafe { fork(work) }.context("starting a process")?;
    drop(to); // While any copy is open, the reader never sees the end.
    if !way.tells_the_end() || way.keeps_boundaries() {
        // A message goes as a whole or not at all, so its sender has ended soon.
        match child.wait()? {
            Exit::Code(0) => {}
            Exit::Code(errno) if errno != i32::from(TAKEN_IN_PART) => return Ok(Err(Errno::from_raw(errno))),
            exit => bail!("the sender failed: {exit}"),
        }
        let mut buffer = vec![0; BYTES];
        let count = from.receive(&mut buffer)?;
        ensure!(buffer[..count] == sent[..count], "what came is not what was sent");
        return Ok(Ok(vec![count]));
    }
    let pieces = read_to_the_end(&from, &sent)?;
    ensure!(child.wait()? == Exit::Code(0), "one call did not send it all");
    Ok(Ok(pieces))
}

fn read_to_the_end(from: &End, sent: &[u8]) -> Result<Vec<usize>> {
    let (mut received, mut pieces, mut buffer) = (Vec::with_capacity(BYTES), Vec::new(), vec![0; BYTES]);
    loop {
        let count = from.receive(&mut buffer)?;
        if count == 0 {
            break;
        }
        received.extend_from_slice(&buffer[..count]);
        pieces.push(count); // A short count is what is to be seen.
    }
    ensure!(received == sent, "what came is not what was sent");
    Ok(pieces)
}

fn table(rows: Vec<Vec<Cell>>) -> Table {
    Table {
        title: "One write of 1 MiB".to_owned(),
        columns: vec![
            Column::label("mechanism"),
            Column::value("reads", ""),
            Column::value("largest, bytes", ""),
            Column::value("so it is", ""),
        ],
        rows,
    }
}
