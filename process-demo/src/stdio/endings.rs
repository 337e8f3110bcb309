//! How often is a line seen that was printed once, before a fork, if the child ends like this?

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::pty::openpty;
use nix::unistd::dup2_stdout;
use process_demo::child::{self, Exit};

use crate::exit_number::{done, number_of};

use super::writers::{Held, PRINTED, Writer};

/// The columns: how the child ends, having done nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The kernel ends it.
    Directly,
    /// C's way: exit handlers, then C's buffers.
    CExit,
    /// Rust's way: its own buffer of standard output, then C's way.
    RustExit,
    /// As at the end of `main`: first every value is dropped.
    Return,
}

impl Ending {
    pub const ALL: [Ending; 4] = [Ending::Directly, Ending::CExit, Ending::RustExit, Ending::Return];

    pub fn name(self) -> &'static str {
        match self {
            Ending::Directly => "_exit",
            Ending::CExit => "C's exit",
            Ending::RustExit => "process::exit",
            Ending::Return => "return",
        }
    }
}

/// What standard output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Terminal,
    Pipe,
}

impl Output {
    /// The end to read from, and the one to print to.
    fn open(self) -> Result<(OwnedFd, OwnedFd)> {
        match self {
            Output::Pipe => io::pipe().map(|(reader, writer)| (reader.into(), writer.into())).context("a pipe"),
            Output::Terminal => {
                let ends = openpty(None, None).map_err(unless_there).context("a terminal (openpty)")?;
                Ok((ends.master, ends.slave))
            }
        }
    }
}

/// A container need not have terminals.
fn unless_there(errno: Errno) -> Errno {
    if errno == Errno::ENOENT { Errno::ENOSYS } else { errno }
}

/// Counts what arrives when a process prints once, forks, and both end: the child like this, its parent by a return.
pub fn count(writer: Writer, output: Output, ending: Ending) -> Result<usize> {
    let (reader, target) = output.open()?;
    let printing = move || print_and_fork(target, writer, ending).map_or_else(|error| number_of(&error), |()| 0);
    // SAFETY: what the two share is a descriptor to print to.
    let printer = unsafe { child::fork(printing) };
    let printer = printer.context("forking")?; // The parent's copy of the target is closed by now.
    let seen = read_to_end(reader)?;
    done(printer.wait()?).with_context(|| format!("printing by {}", writer.name()))?;
    Ok(seen.matches(PRINTED).count())
}

/// Does not come back, unless something fails.
fn print_and_fork(target: OwnedFd, writer: Writer, ending: Ending) -> Result<()> {
    dup2_stdout(&target).context("making it standard output")?;
    drop(target);
    let mut held = writer.print()?;
    let end_child = || {
        end(&mut held, ending);
        0 // By which `child` ends it directly.
    };
    // SAFETY: what the two share is standard output; that both may print to it is what this is about.
    let child = unsafe { child::fork(end_child) }.context("forking")?;
    ensure!(child.wait()? == Exit::Code(0), "the child could not end");
    end(&mut held, Ending::Return);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "what it does, and does not do, is the question")]
fn end(held: &mut Option<Held>, ending: Ending) {
    match ending {
        Ending::Directly => {}
        // SAFETY: the one thread of this process calls it, once.
        Ending::CExit => unsafe { libc::exit(0) },
        Ending::RustExit => process::exit(0),
        Ending::Return => {
            drop(held.take());
            process::exit(0) // What follows when `main` has returned is the same.
        }
    }
}

/// Until nobody can print any more, which a terminal tells by an error.
fn read_to_end(reader: OwnedFd) -> Result<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 512];
    let mut file = File::from(reader);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("reading what was printed"),
        }
    }
    Ok(String::from_utf8_lossy(&seen).into_owned())
}
