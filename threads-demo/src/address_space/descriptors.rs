//! Does a thread notice what another does to an open file or a connection?

use std::fs::{File, remove_file};
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::unistd::close;
use shared::{Claim, Stage};

use super::{Part, Whose, shared_by_count};

/// Each was opened by the first thread, and the second did something to it.
pub(super) fn show(stage: &mut Stage) -> Result<[Part; 3]> {
    let parts = [offset(stage)?, connection()?, closing(stage)?];
    let shared = parts.iter().filter(|part| part.whose == Whose::Shared).count();
    let says = "What one thread does to a file's position, a connection or a descriptor holds for the other";
    let of = format!("{shared} of {}", parts.len());
    stage.fact(says, shared == parts.len(), &of);
    let because = format!("What one thread did to {of} descriptors held for the other");
    stage.rule(Claim::ThreadsShareResources, shared_by_count(&parts, because))?;
    Ok(parts)
}

fn part(name: &'static str, shared: bool, seen: String) -> Part {
    Part { name, whose: if shared { Whose::Shared } else { Whose::Unclear }, seen }
}

/// Does the other thread's reading move this one's place in the file?
fn offset(stage: &Stage) -> Result<Part> {
    let file = unnamed_file(stage)?;
    (&file).write_all(b"abcdefgh").context("writing a file")?;
    (&file).rewind().context("going back to its start")?;
    let read_four = || {
        let mut letters = [0; 4];
        (&file).read_exact(&mut letters).map(|()| String::from_utf8_lossy(&letters).into_owned())
    };
    let second = in_second_thread(read_four)?.context("reading in the second thread")?;
    let first = read_four().context("reading in the first thread")?;
    let shared = (second.as_str(), first.as_str()) == ("abcd", "efgh");
    Ok(part("file positions", shared, format!("the second reads {second}, the first {first}")))
}

/// Is a connection that the other thread shuts down shut for this one?
fn connection() -> Result<Part> {
    let (here, mut there) = UnixStream::pair().context("connecting two sockets")?;
    (&here).write_all(b"hello").context("writing while it is open")?;
    in_second_thread(|| here.shutdown(Shutdown::Write))?.context("shutting it down")?;
    let refused = (&here).write(b"too late").err(); // One byte written would do to show that it is open.
    drop(here);
    let mut received = String::new();
    there.read_to_string(&mut received).context("reading at the far end")?;
    let shared = refused.as_ref().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) && received == "hello";
    let saw = refused.map_or("may still write".to_owned(), |error| format!("gets {:?}", error.kind()));
    Ok(part("connections", shared, format!("the second shuts it, the first {saw}")))
}

/// Is a descriptor that the other thread closed closed for this one?
fn closing(stage: &Stage) -> Result<Part> {
    let file = OwnedFd::from(unnamed_file(stage)?);
    let number = file.as_raw_fd();
    in_second_thread(move || drop(file))?;
    // To close it once more is a harmless way to ask: no thread is left that could have been given the number anew.
    let outcome = close(number);
    let saw = outcome.map_or_else(|errno| format!("gets {errno:?}"), |()| "finds it open".to_owned());
    let seen = format!("the second closes {number}, the first {saw}");
    Ok(part("descriptors", outcome == Err(Errno::EBADF), seen))
}

/// An empty file to read and write, which is gone once it is closed.
fn unnamed_file(stage: &Stage) -> Result<File> {
    let path = stage.directory().join("file");
    let file = File::options().read(true).write(true).create_new(true).open(&path).context("creating a file")?;
    remove_file(path).context("removing its name")?;
    Ok(file)
}

/// Runs it in a thread of its own and waits for its end, so that what follows comes after it.
fn in_second_thread<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = Builder::new().spawn_scoped(scope, act).context("starting a second thread")?;
        Ok(thread.join().expect("the act returns its errors"))
    })
}
