//! Who can read what a worker keeps in its memory?

use std::fs::{self, File};
use std::io::Read;

use anyhow::{Context, Result, ensure};
use nix::sys::prctl::set_dumpable;
use nix::unistd::{Pid, Uid};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply};
use process_demo::foreign_memory;
use shared::{Cell, Column, Mood, Stage, Table};

use super::settings::{Act, become_nobody, read_public_only};
use super::{Places, tried};

const NO_MORE: Act = |_, _| Ok(0);
const HIDE_MEMORY: Act = |_, _| Ok(set_dumpable(false).map(|()| 0)?);

/// Who reads, and what the owner and the reader do before it does.
const CASES: [(&str, Kind, Act, Act); 6] = [
    ("a thread", Kind::Threads, NO_MORE, NO_MORE),
    ("a thread confined by Landlock", Kind::Threads, NO_MORE, read_public_only),
    ("a process", Kind::Processes, NO_MORE, NO_MORE),
    ("a process, the owner not dumpable", Kind::Processes, HIDE_MEMORY, NO_MORE),
    ("a process of another user", Kind::Processes, NO_MORE, become_nobody),
    ("a process confined by Landlock", Kind::Processes, NO_MORE, read_public_only),
];

enum Outcome {
    Read,
    Refused(String),
    /// Something else than the secret was read.
    Wrong,
    Skipped(String),
}

pub fn show(stage: &mut Stage, places: &Places) -> Result<()> {
    stage.note(format!(
        "A worker draws a random number and keeps it to itself. Its sibling is told where it lies: a thread reads there, a \
         process asks the kernel for it (process_vm_readv). Both are {}.",
        if Uid::effective().is_root() { "root's" } else { "an ordinary user's" }
    ));
    let mut outcomes = Vec::new();
    for (says, kind, owner_does, reader_does) in CASES {
        let outcome = tried(spy(kind, places, owner_does, reader_does))?.unwrap_or_else(Outcome::Skipped);
        outcomes.push((says, kind, outcome));
    }
    stage.table(table(&outcomes));
    if let Ok(scope) = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") {
        stage.note(format!("Yama's ptrace scope, which decides on processes of one user too, is {}.", scope.trim()));
    }
    let [(by_threads, threads), (by_processes, processes)] = [Kind::Threads, Kind::Processes].map(|of| {
        let tried = outcomes.iter().filter(|(_, kind, outcome)| *kind == of && !matches!(outcome, Outcome::Skipped(_)));
        (tried.clone().filter(|(.., outcome)| matches!(outcome, Outcome::Read)).count(), tried.count())
    });
    let got = format!("{by_threads} of {threads}");
    stage.fact("A sibling thread reads the secret, confined or not", by_threads == threads, got);
    let wrong = outcomes.iter().filter(|(.., outcome)| matches!(outcome, Outcome::Wrong)).count();
    stage.check("Whoever reads it reads the right one", wrong == 0, format!("{wrong} wrong"));
    stage.note(format!(
        "A sibling thread read the secret in {by_threads} of {threads} cases, a sibling process in {by_processes} of \
         {processes}."
    ));
    Ok(())
}

fn table(outcomes: &[(&str, Kind, Outcome)]) -> Table {
    let row = |(says, _, outcome): &(&str, Kind, Outcome)| {
        let word = |says: &str, mood| Cell::Word { says: says.to_owned(), mood };
        let cell = match outcome {
            Outcome::Read => word("reads it", Mood::Bad),
            Outcome::Refused(why) => word(&format!("refused ({why})"), Mood::Good),
            Outcome::Wrong => word("reads something else", Mood::Neutral),
            Outcome::Skipped(why) => Cell::Skipped { skipped: why.clone() },
        };
        vec![Cell::Text((*says).to_owned()), cell]
    };
    Table {
        title: "Who reads a sibling's secret".to_owned(),
        columns: vec![Column::label("sibling"), Column::value("the secret", "")],
        rows: outcomes.iter().map(row).collect(),
    }
}

fn spy(kind: Kind, places: &Places, owner_does: Act, reader_does: Act) -> Result<Outcome> {
    const OWNER: usize = 0;
    const READER: usize = 1;
    let mut crew = Crew::of(kind, 2, || Ok(places))?;
    let address = crew.ask(OWNER, draw_secret, NOTHING)?.value().context("drawing a secret")?;
    let secret = crew.ask(OWNER, read_here, [address, 0, 0])?.value()?;
    for (worker, act) in [(OWNER, owner_does), (READER, reader_does)] {
        match crew.ask(worker, act, NOTHING)? {
            Reply::Done(_) => {}
            Reply::Failed { errno, .. } => return Ok(Outcome::Skipped(errno.desc().to_owned())),
            reply => reply.value().map(drop)?,
        }
    }
    let read = match kind {
        Kind::Threads => crew.ask(READER, read_here, [address, 0, 0])?,
        Kind::Processes => {
            let owner = crew.pid(OWNER).context("the owner is gone")?.as_raw() as u64;
            let there = |_: &mut &Places, [pid, address, _]: Arguments| {
                Ok(foreign_memory::read_word(Pid::from_raw(pid as i32), address as usize)?)
            };
            crew.ask(READER, there, [owner, address, 0])?
        }
    };
    ensure!(!matches!(read, Reply::Gone(_)), "a reader ended");
    Ok(match read {
        Reply::Done(value) if value == secret => Outcome::Read,
        Reply::Failed { errno, .. } => Outcome::Refused(format!("{errno:?}")),
        _ => Outcome::Wrong,
    })
}

/// Returns where it lies.
fn draw_secret(_: &mut &Places, _: Arguments) -> Result<u64> {
    let secret = Box::leak(Box::new([0; 8]));
    File::open("/dev/urandom")?.read_exact(secret)?;
    Ok(secret.as_ptr().expose_provenance() as u64)
}

fn read_here(_: &mut &Places, [address, ..]: Arguments) -> Result<u64> {
    let secret = std::ptr::with_exposed_provenance::<[u8; 8]>(address as usize);
    // SAFETY: whoever asks has the address from a living worker of this process, whose secret is drawn and stays.
    Ok(u64::from_ne_bytes(unsafe { secret.read_volatile() }))
}
