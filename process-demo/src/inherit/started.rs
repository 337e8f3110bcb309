//! What reaches a program that nobody meant to pass on, by a bare fork and exec, and by `spawn`?

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::execv;
use process_demo::child::{self, Exit};
use process_demo::spawn::{self, WithParent};
use shared::{Cell, Column, Mood, Stage, Table};

use crate::exit_number::{done, number_of};

/// The role of the program that is started, and tells what it got.
pub const ROLE: &str = "inherit-started";

#[derive(Clone, Copy)]
enum Start {
    Bare,
    Spawn,
}

/// What the program finds.
struct Found {
    blocked: bool,
    stray: bool,
    /// By which number the descriptor came that it was handed.
    handed: u8,
}

pub fn show(stage: &mut Stage) -> Result<()> {
    let (bare, spawned) = (try_out(Start::Bare)?, try_out(Start::Spawn)?);
    let cell = |reached| {
        let (says, mood) = if reached { ("passed on", Mood::Bad) } else { ("not passed on", Mood::Good) };
        Cell::Word { says: says.to_owned(), mood }
    };
    let row = |name: &str, reached: fn(&Found) -> bool| {
        vec![Cell::Text(name.to_owned()), cell(reached(&bare)), cell(reached(&spawned))]
    };
    stage.table(Table {
        title: "What a program gets that nobody meant to pass on".to_owned(),
        columns: vec![Column::label("the parent's"), Column::value("fork and exec", ""), Column::value("spawn", "")],
        rows: vec![
            row("signal mask", |found| found.blocked),
            row("descriptor that is not close-on-exec", |found| found.stray),
        ],
    });
    let says = "A bare fork and exec passes on a signal mask and a stray descriptor; `spawn` passes on neither";
    let kept_clean = !spawned.blocked && !spawned.stray && spawned.handed == 3;
    let got = format!("what `spawn` was handed came as descriptor {}", spawned.handed);
    stage.fact(says, bare.blocked && bare.stray && kept_clean, got);
    Ok(())
}

fn try_out(start: Start) -> Result<Found> {
    let (mut reports, reporter) = io::pipe().context("a pipe")?;
    let make = move || make(start, reporter).map_or_else(|error| number_of(&error), |()| 0);
    // SAFETY: what the two share is a pipe.
    let maker = unsafe { child::fork(make) }.context("forking")?;
    let mut found = Vec::new();
    reports.read_to_end(&mut found)?;
    done(maker.wait()?).context("starting a program")?;
    let [blocked, stray, handed] =
        found.as_slice().try_into().context("the program that was started told something else")?;
    Ok(Found { blocked: blocked == 1, stray: stray == 1, handed })
}

/// In a process of its own: has what is not meant to be passed on, and starts the program.
fn make(start: Start, reporter: PipeWriter) -> Result<()> {
    SigSet::from(BLOCKED).thread_block()?;
    let stray = File::open("/dev/null")?;
    fcntl(&stray, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let arguments = ["--role", ROLE, &stray.as_raw_fd().to_string()].map(OsString::from);
    match start {
        Start::Spawn => {
            let arguments = arguments.each_ref().map(OsString::as_os_str);
            let program = spawn::spawn(ROLE, &arguments, &[reporter.as_fd()], WithParent::End)?;
            ensure!(program.wait()?.success(), "it failed");
        }
        Start::Bare => {
            let line = OsString::from(reporter.as_raw_fd().to_string());
            let arguments = [OsString::from("started")].into_iter().chain(arguments).chain([line]);
            let arguments = arguments.map(|word| CString::new(word.into_encoded_bytes()));
            let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
            let become_it = || {
                let _ = fcntl(&reporter, FcntlArg::F_SETFD(FdFlag::empty())); // It is to reach the program.
                let _ = execv(c"/proc/self/exe", &arguments); // Returns only if it failed.
                1
            };
            // SAFETY: the child uses its own descriptors and becomes another program.
            let program = unsafe { child::fork(become_it) }?;
            ensure!(program.wait()? == Exit::Code(0), "it failed");
        }
    }
    Ok(())
}

const BLOCKED: Signal = Signal::SIGUSR1;

/// The program's life: look, and tell.
pub fn play(arguments: &[OsString]) -> u8 {
    u8::from(look(arguments).is_err())
}

fn look(arguments: &[OsString]) -> Result<()> {
    let numbers: Vec<RawFd> = arguments.iter().filter_map(|word| word.to_str()?.parse().ok()).collect();
    let line = match (spawn::role()?, numbers.as_slice()) {
        (Some(mut role), _) => role.descriptors.pop().context("nothing was handed over")?,
        // SAFETY: the maker left this descriptor open for this alone, and nobody else here knows of it.
        (None, &[_, line]) => unsafe { OwnedFd::from_raw_fd(line) },
        _ => anyhow::bail!("no line to tell by"),
    };
    let number = line.as_raw_fd();
    let stray = *numbers.first().context("no number to look at")?;
    // SAFETY: it only asks for a flag; what is not open gives an error.
    let is_open = stray != number && unsafe { libc::fcntl(stray, libc::F_GETFD) } >= 0;
    let blocked = SigSet::thread_get_mask()?.contains(BLOCKED);
    Ok(File::from(line).write_all(&[blocked.into(), is_open.into(), u8::try_from(number)?])?)
}
