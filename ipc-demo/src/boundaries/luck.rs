//! How often is a record torn when nobody forces it?

use std::fs::File;
use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use process_demo::child::{Exit, fork};
use shared::number::count;
use shared::{Cell, Column, Stage, Table};

use super::torn::runs;

const WRITERS: [u8; 3] = [b'a', b'b', b'c'];
pub const ATOMIC_BYTES: usize = 4096; // PIPE_BUF on Linux: a write up to this is never split.
const SIZES: [usize; 4] = [512, ATOMIC_BYTES, ATOMIC_BYTES + 1, 10_000];

/// How many of the records that may be torn were, and how many there were.
pub fn show(stage: &mut Stage) -> Result<(usize, usize)> {
    let each = stage.by_effort(150, 1_000, 10_000);
    let (mut rows, mut small, mut large) = (Vec::new(), 0, (0, 0));
    for bytes in SIZES {
        let all = each * WRITERS.len();
        let torn = count_torn(bytes, each)?;
        let share = 100.0 * torn as f64 / all as f64;
        match bytes {
            ..=ATOMIC_BYTES => small += torn,
            _ => large = (large.0 + torn, large.1 + all),
        }
        let numbers = [bytes as f64, all as f64, torn as f64, share];
        rows.push(numbers.map(Cell::Number).to_vec());
    }
    stage.table(Table {
        title: format!("{} writers at once, one pipe, one reader; no byte was lost", WRITERS.len()),
        columns: vec![
            Column::x("record, bytes", ""),
            Column::value("records", ""),
            Column::value("torn", ""),
            Column::value("share", "%"),
        ],
        rows,
    });
    let says = format!("Left to luck, no record up to {} bytes is torn", count(ATOMIC_BYTES as u64));
    stage.fact(says, small == 0, format!("{small} torn"));
    Ok(large)
}

/// Each writer sends so many records, filled with its letter; how many have another one's bytes within.
fn count_torn(bytes: usize, each: usize) -> Result<usize> {
    let (from, to) = pipe2(OFlag::O_CLOEXEC).context("a pipe")?;
    let (gate, opener) = pipe2(OFlag::O_CLOEXEC).context("a pipe")?;
    let (from, to, gate) = (File::from(from), File::from(to), File::from(gate));
    let mut opener = Some(opener);
    let mut writers = Vec::new();
    for letter in WRITERS {
        let work = || {
            drop(opener.take()); // The child's copy: the gate opens when the last one closes.
            let opened = (&gate).read(&mut [0]); // A bare read: all that can come is the end.
            let record = vec![letter; bytes];
            let sent = (0..each).try_for_each(|_| (&to).write_all(&record));
            u8::from(opened.is_err() || sent.is_err())
        };
        // SAFETY: the child only reads and writes pipes; nothing here is in shared memory.
        writers.push(unsafe { fork(work) }.context("starting a process")?);
    }
    drop((to, opener.take())); // All begin now, and when all have ended the reader sees the end.
    let mut received = Vec::with_capacity(bytes * each * WRITERS.len());
    (&from).read_to_end(&mut received)?;
    for writer in writers {
        ensure!(writer.wait()? == Exit::Code(0), "a writer failed");
    }
    for letter in WRITERS {
        let count = received.iter().filter(|&&byte| byte == letter).count();
        ensure!(count == bytes * each, "{count} bytes of writer {} arrived", letter as char);
    }
    Ok(WRITERS.iter().map(|&letter| torn_of(letter, bytes, &received)).sum())
}

/// A record is torn if a run of its writer's bytes ends within it.
fn torn_of(letter: u8, bytes: usize, received: &[u8]) -> usize {
    let (mut position, mut torn, mut last) = (0, 0, None);
    for (_, run) in runs(received).into_iter().filter(|(writer, _)| *writer == letter) {
        position += run;
        let record = position / bytes;
        if position % bytes != 0 && last != Some(record) {
            (torn, last) = (torn + 1, Some(record));
        }
    }
    torn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_torn_twice_counts_once_and_one_between_two_records_not() {
        assert_eq!(torn_of(b'a', 3, b"aaabbbaaa"), 0);
        assert_eq!(torn_of(b'b', 3, b"aaabbbaaa"), 0);
        assert_eq!(torn_of(b'a', 3, b"abababb"), 1);
        assert_eq!(torn_of(b'b', 3, b"aabbbabbb"), 0);
        assert_eq!(torn_of(b'a', 3, b"aabbbabbbabaa"), 2);
    }
}
