//! Can a record be torn? Forced: its writer is stopped at the only moment that matters.

use std::fs::File;
use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{SysconfVar, pipe2, sysconf};
use process_demo::child::{Exit, fork};
use shared::number::count;
use shared::{Cell, Column, Mood, Stage, Table};

use crate::asleep::wait_until_asleep;

const ATOMIC_BYTES: usize = 4096; // PIPE_BUF on Linux: a write up to this is never split.
const PAGES: usize = 4; // Room for the second writer's record while a rest of the first one's is in the pipe.
const LEFT_BYTES: usize = 100; // The pipe is nearly full: no record fits, and a byte does.

/// The size of a record that was torn, if one was.
pub fn show(stage: &mut Stage) -> Result<Option<usize>> {
    let page_bytes = sysconf(SysconfVar::PAGE_SIZE)?.context("pages without a size")? as usize;
    let sizes = [1, 512, ATOMIC_BYTES, page_bytes + 1]; // The kernel splits what does not fill whole pages.
    let (mut rows, mut torn_sizes) = (Vec::new(), Vec::new());
    for bytes in sizes {
        let runs = force(stage, bytes)?;
        let torn = runs.iter().filter(|(writer, _)| *writer == b'A').count() > 1;
        let order: Vec<String> =
            runs.iter().map(|&(writer, bytes)| format!("{} of {}", count(bytes as u64), writer as char)).collect();
        let word = match torn {
            true => Cell::Word { says: "torn".to_owned(), mood: Mood::Bad },
            false => Cell::Word { says: "whole".to_owned(), mood: Mood::Good },
        };
        rows.push(vec![Cell::Number(bytes as f64), Cell::Text(order.join(", ")), word]);
        torn_sizes.extend(torn.then_some(bytes));
    }
    stage.table(table(rows));
    let torn: Vec<String> = torn_sizes.iter().map(|&bytes| count(bytes as u64)).collect();
    let got = if torn.is_empty() { "none torn".to_owned() } else { format!("torn: {}", torn.join(" and ")) };
    let [whole, larger] = [ATOMIC_BYTES, page_bytes + 1].map(|bytes| count(bytes as u64));
    let says = format!("Another writer tears a record of {larger} bytes, and none up to {whole}");
    stage.fact(says, torn_sizes == [page_bytes + 1], got);
    Ok(torn_sizes.first().copied())
}

/// A begins to write while there is no room, and is stopped; B writes; A goes on. What the reader then gets, as runs of
/// one writer's bytes.
fn force(stage: &Stage, bytes: usize) -> Result<Vec<(u8, usize)>> {
    let (from, to) = pipe2(OFlag::O_CLOEXEC).context("a pipe")?;
    let page_bytes = sysconf(SysconfVar::PAGE_SIZE)?.context("pages without a size")?;
    // Refused to a user who has many pipes; theirs are small by themselves.
    let _ = fcntl(&to, FcntlArg::F_SETPIPE_SZ(PAGES as i32 * page_bytes as i32));
    let capacity_bytes = fcntl(&to, FcntlArg::F_GETPIPE_SZ)? as usize;
    if capacity_bytes < 2 * page_bytes as usize {
        return Err(anyhow::Error::new(Errno::ENOSPC).context("a pipe of two pages"));
    }
    let mut to = File::from(to);
    let left_bytes = LEFT_BYTES.min(bytes - 1); // Not even the smallest record fits.
    let before_bytes = capacity_bytes - left_bytes;
    to.write_all(&vec![b'.'; before_bytes])?;
    let (ready, tell) = pipe2(OFlag::O_CLOEXEC).context("a pipe")?;
    let begin =
        || u8::from(File::from(tell).write_all(b"!").and_then(|()| (&to).write_all(&vec![b'A'; bytes])).is_err());
    // SAFETY: the child only writes to two pipes; nothing here is in shared memory.
    let first = unsafe { fork(begin) }.context("starting a process")?;
    File::from(ready).read_exact(&mut [0])?; // After this byte it does nothing but that one write.
    ensure!(wait_until_asleep(first.pid(), stage.clock())?, "the first writer ended although there was no room");
    kill(first.pid(), Signal::SIGSTOP)?;
    let stopped = waitpid(first.pid(), Some(WaitPidFlag::WUNTRACED))?;
    ensure!(matches!(stopped, WaitStatus::Stopped(..)), "the first writer did not stop");

    let mut from = File::from(from);
    from.read_exact(&mut vec![0; before_bytes])?; // Now there is room.
    // SAFETY: as above.
    let second =
        unsafe { fork(|| u8::from((&to).write_all(&vec![b'B'; bytes]).is_err())) }.context("starting a process")?;
    ensure!(second.wait()? == Exit::Code(0), "the second writer failed");
    kill(first.pid(), Signal::SIGCONT)?;
    let mut received = vec![0; 2 * bytes];
    from.read_exact(&mut received)?;
    ensure!(first.wait()? == Exit::Code(0), "the first writer failed");
    Ok(runs(&received))
}

pub fn runs(bytes: &[u8]) -> Vec<(u8, usize)> {
    bytes.chunk_by(|one, next| one == next).map(|run| (run[0], run.len())).collect()
}

fn table(rows: Vec<Vec<Cell>>) -> Table {
    Table {
        title: "A was stopped while it waited for room; B wrote; A went on".to_owned(),
        columns: vec![
            Column::x("record, bytes", ""),
            Column::value("the reader got", ""),
            Column::value("A's record", ""),
        ],
        rows,
    }
}
