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
use shared::{Cell, Claim, Mood, Stage, Table};

use super::{columns, shared_by_count};

/// What the second thread did to a thing that the first one opened, and what the first then saw.
struct Trial {
    thing: &'static str,
    done: &'static str,
    saw: String,
    says: &'static str,
    shared: bool,
}

pub(super) fn show(stage: &mut Stage) -> Result<String> {
    let trials = [offset(stage)?, connection()?, closing(stage)?];
    let row = |trial: &Trial| {
        let mood = if trial.shared { Mood::Good } else { Mood::Bad };
        let words = [trial.thing, trial.done].map(|word| Cell::Text(word.to_owned()));
        words.into_iter().chain([Cell::Word { says: trial.saw.clone(), mood }]).collect()
    };
    stage.table(Table {
        title: "What the first thread sees of what the second does".to_owned(),
        columns: columns(&["opened by the first", "the second", "then the first"]),
        rows: trials.iter().map(row).collect(),
    });
    for Trial { says, saw, shared, .. } in &trials {
        stage.fact(*says, *shared, saw);
    }
    let shared = trials.iter().filter(|trial| trial.shared).count();
    let because =
        format!("what one thread did to a descriptor held for the other in {shared} of {} trials", trials.len());
    let verdict = shared_by_count(shared, trials.len());
    stage.verdict_by(Claim::ThreadsShareResources, verdict, &because, shared as f64, "of 3 trials")?;
    Ok(format!("{shared} of {} things that were open (a file, a connection, a descriptor)", trials.len()))
}

/// Does the other thread's reading move this one's place in the file?
fn offset(stage: &Stage) -> Result<Trial> {
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
    let says = "What one thread reads moves the other's place in the file";
    Ok(Trial { thing: "file", done: "reads abcd", saw: format!("reads {first}"), says, shared })
}

/// Is a connection that the other thread shuts down shut for this one?
fn connection() -> Result<Trial> {
    let (here, mut there) = UnixStream::pair().context("connecting two sockets")?;
    (&here).write_all(b"hello").context("writing while it is open")?;
    in_second_thread(|| here.shutdown(Shutdown::Write))?.context("shutting it down")?;
    let refused = (&here).write(b"too late").err(); // One byte written would do to show that it is open.
    drop(here);
    let mut received = String::new();
    there.read_to_string(&mut received).context("reading at the far end")?;
    let shared = refused.as_ref().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) && received == "hello";
    let saw = refused.map_or("may still write".to_owned(), |error| format!("gets: {error}"));
    let says = "A connection that one thread shuts down is shut for the other";
    Ok(Trial { thing: "connection", done: "shuts it down", saw, says, shared })
}

/// Is a descriptor that the other thread closed closed for this one?
fn closing(stage: &Stage) -> Result<Trial> {
    let file = OwnedFd::from(unnamed_file(stage)?);
    let number = file.as_raw_fd();
    in_second_thread(move || drop(file))?;
    // To close it once more is a harmless way to ask: no thread is left that could have been given the number anew.
    let outcome = close(number);
    let saw = outcome.map_or_else(|errno| format!("gets {errno:?} for {number}"), |()| format!("finds {number} open"));
    let says = "A descriptor that one thread closes is closed for the other";
    Ok(Trial { thing: "descriptor", done: "closes it", saw, says, shared: outcome == Err(Errno::EBADF) })
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
