//! Can two writers' records mix? Forced, by stopping one at the only moment that matters; then left to luck.

use std::io::{PipeWriter, Read, Write, pipe};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{SysconfVar, sysconf};
use process_demo::crew::{Arguments, Crew, Kind};
use shared::number::count;
use shared::{Cell, Column, Demo, Extras, Snippet, Stage, Table};

use crate::asleep::wait_until_asleep;

pub const DEMO: Demo = Demo {
    name: "two-writers",
    question: "Can two writers' messages mix in one pipe?",
    claims: &[],
    rule: "It gives no verdict. A record is one write. It counts as torn if bytes of another writer came between its first \
           and its last. By force: its writer is stopped while it waits in a nearly full pipe, and another one writes \
           meanwhile. By luck: three write at once, and how many records are torn is counted.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/framed.rs", text: include_str!("../snippets/framed.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/fifo.rs", text: include_str!("../snippets/fifo.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Two processes write records into one pipe. Each record is a single write; the first writer is stopped while it \
         waits for room, the second one writes, and the first goes on:",
    );
    let smallest = force(stage)?;
    stage.note("And without any stopping: three writers as fast as they can, in one pipe, every byte checked.");
    let [by_luck, all] = leave_to_luck(stage)?;
    let luck = format!(
        "Left to luck, {} of {} records above {} bytes were torn.",
        count(by_luck as u64),
        count(all as u64),
        count(ATOMIC_BYTES as u64),
    );
    match smallest {
        Some(bytes) => {
            let bytes = count(bytes as u64);
            stage.headline(format!("{bytes} bytes: the smallest record torn"));
            stage
                .answer(format!("Yes: another writer tears a record of {bytes} bytes, the smallest torn here. {luck}"));
        }
        None => {
            stage.headline("0 records were torn by force");
            stage.answer(format!("Not by force: no record was torn by another writer. {luck}"));
        }
    }
    stage.advise("Keep frames within 4,096 bytes, or a pipe each: copy `framed`.");
    Ok(())
}

const ATOMIC_BYTES: usize = 4096; // PIPE_BUF on Linux: a write up to this is never split.

/// The pipe that several write to, and one on which each says when it begins to.
type Writer<'a> = [&'a PipeWriter; 2];

/// So many records, filled with the writer's letter.
fn write_records([to, begins]: &mut Writer<'_>, [letter, bytes, records]: Arguments) -> Result<u64> {
    let record = vec![letter as u8; bytes as usize];
    begins.write_all(b"!")?; // After this byte it does nothing but write.
    (0..records).try_for_each(|_| to.write_all(&record))?;
    Ok(0)
}

/// The size of the smallest record that was torn, if one was.
fn force(stage: &mut Stage) -> Result<Option<usize>> {
    let page_bytes = sysconf(SysconfVar::PAGE_SIZE)?.context("pages without a size")? as usize;
    let (mut rows, mut torn_sizes) = (Vec::new(), Vec::new());
    // The kernel splits what does not fill whole pages.
    for bytes in [1, 512, ATOMIC_BYTES, page_bytes + 1] {
        let runs = write_in_between(stage, bytes, page_bytes)?;
        let torn = runs.iter().filter(|(writer, _)| *writer == b'A').count() > 1;
        let order = runs.iter().map(|&(writer, bytes)| format!("{} of {}", count(bytes as u64), writer as char));
        let order = order.collect::<Vec<_>>().join(", ");
        rows.push(vec![bytes.into(), order.into(), if torn { Cell::bad("torn") } else { Cell::good("whole") }]);
        torn_sizes.extend(torn.then_some(bytes));
    }
    let title = "A was stopped while it waited for room; B wrote; A went on";
    let columns = [Column::x("record, bytes", ""), "the reader got".into(), "A's record".into()];
    stage.show(Table::new(title, columns, rows));
    let torn: Vec<String> = torn_sizes.iter().map(|&bytes| count(bytes as u64)).collect();
    let got = if torn.is_empty() { "none torn".to_owned() } else { format!("torn: {}", torn.join(" and ")) };
    let [whole, larger] = [ATOMIC_BYTES, page_bytes + 1].map(|bytes| count(bytes as u64));
    let says = format!("Another writer tears a record of {larger} bytes, and none up to {whole}");
    stage.fact(says, torn_sizes == [page_bytes + 1], got);
    Ok(torn_sizes.first().copied())
}

const PAGES: usize = 4; // Room for the second writer's record while a rest of the first one's is in the pipe.
const LEFT_BYTES: usize = 100; // The pipe is nearly full: no record fits, and a byte does.

/// A begins to write while there is no room, and is stopped; B writes; A goes on. What the reader then gets, as runs of
/// one writer's bytes.
fn write_in_between(stage: &Stage, bytes: usize, page_bytes: usize) -> Result<Vec<(u8, usize)>> {
    let ((mut from, mut to), (mut begun, begins)) = (pipe()?, pipe()?);
    // Refused to a user who has many pipes; theirs are small by themselves.
    let _ = fcntl(&to, FcntlArg::F_SETPIPE_SZ((PAGES * page_bytes) as i32));
    let capacity_bytes = fcntl(&to, FcntlArg::F_GETPIPE_SZ)? as usize;
    if capacity_bytes < 2 * page_bytes {
        return Err(anyhow::Error::new(Errno::ENOSPC).context("a pipe of two pages"));
    }
    let before_bytes = capacity_bytes - LEFT_BYTES.min(bytes - 1); // Not even the smallest record fits.
    to.write_all(&vec![b'.'; before_bytes])?;
    let mut writers = Crew::of(Kind::Processes, 2, || Ok([&to, &begins]))?;
    let first = writers.pid(0).context("the first writer has ended")?;
    writers.tell(0, write_records, [b'A'.into(), bytes as u64, 1]);
    begun.read_exact(&mut [0])?;
    ensure!(wait_until_asleep(first, stage.clock())?, "the first writer ended although there was no room");
    kill(first, Signal::SIGSTOP)?;
    let stopped = waitpid(first, Some(WaitPidFlag::WUNTRACED))?;
    ensure!(matches!(stopped, WaitStatus::Stopped(..)), "the first writer did not stop");

    from.read_exact(&mut vec![0; before_bytes])?; // Now there is room.
    writers.ask(1, write_records, [b'B'.into(), bytes as u64, 1])?.value()?;
    kill(first, Signal::SIGCONT)?;
    let mut received = vec![0; 2 * bytes];
    from.read_exact(&mut received)?;
    writers.hear(0)?.value()?;
    Ok(runs(&received))
}

fn runs(bytes: &[u8]) -> Vec<(u8, usize)> {
    bytes.chunk_by(|one, next| one == next).map(|run| (run[0], run.len())).collect()
}

const WRITERS: [u8; 3] = [b'a', b'b', b'c'];

/// How many of the records that may be torn were when nobody forced it, and how many there were.
fn leave_to_luck(stage: &mut Stage) -> Result<[usize; 2]> {
    let each = stage.by_effort(150, 1_000, 10_000);
    let all = each * WRITERS.len();
    let sizes = [512, ATOMIC_BYTES, ATOMIC_BYTES + 1, 10_000];
    let torn = sizes.map(|bytes| count_torn(bytes, each)).into_iter().collect::<Result<Vec<_>>>()?;
    let row = |(&bytes, &torn): (&usize, &usize)| {
        vec![bytes.into(), all.into(), torn.into(), (100.0 * torn as f64 / all as f64).into()]
    };
    let columns = [Column::x("record, bytes", ""), "records".into(), "torn".into(), ("share", "%").into()];
    let title = format!("{} writers at once, one pipe, one reader; no byte was lost", WRITERS.len());
    stage.table(Table::new(title, columns, sizes.iter().zip(&torn).map(row)));
    let (small, large) = torn.split_at(2);
    let small: usize = small.iter().sum();
    let says = format!("Left to luck, no record up to {} bytes is torn", count(ATOMIC_BYTES as u64));
    stage.fact(says, small == 0, format!("{small} torn"));
    Ok([large.iter().sum(), all * large.len()])
}

/// Each writer sends so many records; how many have another one's bytes within. Together they are more than the pipe
/// holds, so that nobody has done before the last one begins.
fn count_torn(bytes: usize, each: usize) -> Result<usize> {
    let ((mut from, to), (_begun, begins)) = (pipe()?, pipe()?);
    let mut writers = Crew::of(Kind::Processes, WRITERS.len(), || Ok([&to, &begins]))?;
    for (writer, letter) in WRITERS.into_iter().enumerate() {
        writers.tell(writer, write_records, [letter.into(), bytes as u64, each as u64]);
    }
    let mut received = vec![0; bytes * each * WRITERS.len()];
    from.read_exact(&mut received)?;
    for (writer, letter) in WRITERS.into_iter().enumerate() {
        writers.hear(writer)?.value()?;
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
