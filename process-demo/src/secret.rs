//! Who can read what a worker keeps in its memory?

use std::fs::{self, File};
use std::io::Read;

use anyhow::{Context, Result};
use nix::sys::prctl::set_dumpable;
use nix::unistd::{Pid, Uid};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply, Task};
use process_demo::foreign_memory;
use shared::{Cell, Demo, Extras, Snippet, Stage, Table, Tried, tried};

use crate::allowance::{become_nobody, confine_to};

pub const DEMO: Demo = Demo {
    name: "secret",
    question: "Who can read what a worker keeps in its memory?",
    claims: &[],
    rule: "It answers no claim. A sibling is told where a worker keeps a random number. A thread reads there; a process asks \
           the kernel for what stands there (process_vm_readv). It has read the secret if it got that very number.",
    extras: Extras::NONE,
    snippets: &[
        Snippet {
            path: "process-demo/snippets/foreign_memory.rs",
            text: include_str!("../snippets/foreign_memory.rs"),
        },
        Snippet { path: "process-demo/snippets/sandbox.rs", text: include_str!("../snippets/sandbox.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

const NO_MORE: Task<()> = |(), _| Ok(0);
const HIDE_MEMORY: Task<()> = |(), _| Ok(set_dumpable(false).map(|()| 0)?);
const CONFINE: Task<()> = |(), _| confine_to(&[]); // Landlock, with no directory at all.
const BECOME_NOBODY: Task<()> = |(), _| become_nobody();

/// Who reads, and what the owner and the reader do before it does.
const CASES: [(&str, Kind, Task<()>, Task<()>); 6] = [
    ("a thread", Kind::Threads, NO_MORE, NO_MORE),
    ("a thread confined by Landlock", Kind::Threads, NO_MORE, CONFINE),
    ("a process", Kind::Processes, NO_MORE, NO_MORE),
    ("a process, the owner not dumpable", Kind::Processes, HIDE_MEMORY, NO_MORE),
    ("a process of another user", Kind::Processes, NO_MORE, BECOME_NOBODY),
    ("a process confined by Landlock", Kind::Processes, NO_MORE, CONFINE),
];

enum Outcome {
    Read,
    Refused(String),
    /// Something else than the secret was read.
    Wrong,
}

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(format!(
        "A worker draws a random number and keeps it to itself. Its sibling is told where it lies: a thread reads there, a \
         process asks the kernel for it (process_vm_readv). Both are {}.",
        if Uid::effective().is_root() { "root's" } else { "an ordinary user's" }
    ));
    let mut seen: Vec<(&str, Kind, Tried<Outcome>)> = Vec::new();
    for (says, kind, owner_does, reader_does) in CASES {
        seen.push((says, kind, tried(spy(kind, owner_does, reader_does))?));
    }
    let cell = |outcome: &Outcome| match outcome {
        Outcome::Read => Cell::bad("reads it"),
        Outcome::Refused(why) => Cell::good(format!("refused ({why})")),
        Outcome::Wrong => Cell::neutral("reads something else"),
    };
    let row = |(says, _, outcome): &(&str, Kind, Tried<Outcome>)| vec![(*says).into(), Cell::of(outcome, cell)];
    stage.show(Table::new("Who reads a sibling's secret", ["sibling", "the secret"], seen.iter().map(row)));
    if let Ok(scope) = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") {
        stage.note(format!("Yama's ptrace scope, which decides on processes of one user too, is {}.", scope.trim()));
    }
    let wrong = seen.iter().filter(|(.., outcome)| matches!(outcome, Ok(Outcome::Wrong))).count();
    stage.check("Whoever reads it reads the right one", wrong == 0, format!("{wrong} wrong"));
    let [(by_threads, threads), (by_processes, processes)] = [Kind::Threads, Kind::Processes].map(|of| {
        let tried = || seen.iter().filter(|(_, kind, _)| *kind == of).filter_map(|(.., outcome)| outcome.as_ref().ok());
        (tried().filter(|outcome| matches!(outcome, Outcome::Read)).count(), tried().count())
    });
    stage.all("A sibling thread reads the secret, confined or not", by_threads, threads);
    stage.headline(format!("{} of {} siblings read it", by_threads + by_processes, threads + processes));
    stage.answer(format!(
        "A sibling thread reads it in {by_threads} of {threads} cases. For a sibling process the kernel decides: it lets \
         {by_processes} of {processes} read."
    ));
    stage.advise("Keep a secret from a process by confining that one: copy `sandbox`.");
    Ok(())
}

fn spy(kind: Kind, owner_does: Task<()>, reader_does: Task<()>) -> Result<Outcome> {
    const OWNER: usize = 0;
    const READER: usize = 1;
    let mut crew = Crew::of(kind, 2, || Ok(()))?;
    let address = crew.ask(OWNER, draw_secret, NOTHING)?.value().context("drawing a secret")?;
    let secret = crew.ask(OWNER, read_here, [address, 0, 0])?.value()?;
    crew.ask(OWNER, owner_does, NOTHING)?.value()?;
    crew.ask(READER, reader_does, NOTHING)?.value()?;
    let read = match kind {
        Kind::Threads => crew.ask(READER, read_here, [address, 0, 0])?,
        Kind::Processes => {
            let owner = crew.pid(OWNER).context("the owner is gone")?.as_raw() as u64;
            let there: Task<()> =
                |(), [pid, address, _]| Ok(foreign_memory::read_word(Pid::from_raw(pid as i32), address as usize)?);
            crew.ask(READER, there, [owner, address, 0])?
        }
    };
    Ok(match read {
        Reply::Done(value) if value == secret => Outcome::Read,
        Reply::Failed { errno, .. } => Outcome::Refused(format!("{errno:?}")),
        reply => reply.value().map(|_| Outcome::Wrong)?,
    })
}

/// Returns where it lies.
fn draw_secret((): &mut (), _: Arguments) -> Result<u64> {
    let secret = Box::leak(Box::new([0; 8]));
    File::open("/dev/urandom")?.read_exact(secret)?;
    Ok(secret.as_ptr().expose_provenance() as u64)
}

fn read_here((): &mut (), [address, ..]: Arguments) -> Result<u64> {
    let secret = std::ptr::with_exposed_provenance::<[u8; 8]>(address as usize);
    // SAFETY: whoever asks has the address from a living worker of this process, whose secret is drawn and stays.
    Ok(u64::from_ne_bytes(unsafe { secret.read_volatile() }))
}
