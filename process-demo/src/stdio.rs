//! Why is a line that was printed once seen twice?

mod writers;

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
use process_demo::crew::{Arguments, Crew, Kind, Reply, Task};
use shared::{Cell, Column, Demo, Extras, Mood, Snippet, Stage, Table, refused};

use writers::{Held, PRINTED, WRITERS};

pub const DEMO: Demo = Demo {
    name: "stdio",
    question: "Why is a line that was printed once seen twice?",
    claims: &[],
    rule: "It answers no claim. What arrives is counted until no process is left that could print.",
    extras: Extras::NONE,
    snippets: &[Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") }],
    run,
};

/// Its name, and how the child ends, having done nothing.
type Ending = (&'static str, fn(&mut Held));

#[expect(clippy::disallowed_methods, reason = "what it does, and does not do, is the question")]
const ENDINGS: [Ending; 4] = [
    ("_exit", |_| ()), // By which `child` ends it then.
    // SAFETY: the one thread of this process calls it, once. It runs exit handlers, then writes C's buffers.
    ("C's exit", |_| unsafe { libc::exit(0) }),
    ("process::exit", |_| process::exit(0)), // Rust's own buffer of standard output, then C's way.
    ("return", |held| {
        drop(held.take()); // At the end of `main`, every value is dropped first.
        process::exit(0)
    }),
];

/// How often each line was seen, by what printed it and how the child ended.
type Counts = [[usize; ENDINGS.len()]; WRITERS.len()];

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "A process prints once and forks. Its child does nothing but end, by one of four endings; then the process itself \
         ends as by a return from main. The table says how often the line arrives.",
    );
    let pipe = count_all(|| io::pipe().map(|(reader, writer)| (reader.into(), writer.into())).context("a pipe"))?;
    stage.show(table("How often the line arrives in a pipe, if the child ends by", &pipe, |_| true));
    let terminal = match count_all(open_terminal) {
        Ok(counts) => Some(counts),
        Err(error) => {
            let why = refused(&error).ok_or(error)?;
            stage.note(format!("There is no terminal to print to here: {why}."));
            None
        }
    };
    match &terminal {
        Some(counts) if *counts == pipe => stage.note("On a terminal all of it is the same."),
        Some(counts) => {
            let differs = |writer: usize| counts[writer] != pipe[writer];
            stage.table(table("On a terminal, where all else is as in a pipe", counts, differs));
        }
        None => {}
    }
    check(stage, &pipe, terminal.as_ref());
    let of_ending = |ending: usize| {
        let rows = pipe.iter().chain(terminal.iter().flatten());
        rows.map(|counts| counts[ending]).collect::<Vec<usize>>()
    };
    let all: Vec<Vec<usize>> = (0..ENDINGS.len()).map(of_ending).collect();
    let [directly, often] =
        [&all[..1], &all[..]].map(|these| these.iter().flatten().filter(|count| **count == 2).count());
    let seen = all.concat().len();
    stage.headline(format!("{often} of {seen} lines came twice, {directly} by _exit"));
    stage.answer(format!(
        "Because a fork copies what waits in a buffer, destructor or exit handler, and both processes print it. It \
         happened in {often} of {seen} cases, in {directly} with _exit."
    ));
    stage.advise("Flush before a fork, and end the child by _exit, as `child` does.");
    Ok(())
}

/// A container need not have terminals.
fn open_terminal() -> Result<(OwnedFd, OwnedFd)> {
    let unless_there = |errno| if errno == Errno::ENOENT { Errno::ENOSYS } else { errno };
    let ends = openpty(None, None).map_err(unless_there).context("a terminal (openpty)")?;
    Ok((ends.master, ends.slave))
}

/// By an end to read from and one to print to, new for each line.
fn count_all(open: impl Fn() -> Result<(OwnedFd, OwnedFd)>) -> Result<Counts> {
    let mut counts = Counts::default();
    for (writer, row) in counts.iter_mut().enumerate() {
        for (ending, count) in row.iter_mut().enumerate() {
            let (reader, target) = open()?;
            *count = print_once(reader, target, [writer as u64, ending as u64, 0])
                .with_context(|| format!("printing by {}", WRITERS[writer].0))?;
        }
    }
    Ok(counts)
}

/// A process prints and forks; its child ends like this, and then the process by a return. How often does the line arrive?
fn print_once(reader: OwnedFd, target: OwnedFd, writer_and_ending: Arguments) -> Result<usize> {
    let printer = move || dup2_stdout(&target).context("making it standard output");
    let mut printer = Crew::of(Kind::Processes, 1, printer)?; // This process's copy of the target is closed by now.
    let print_and_fork: Task<()> = |_, [writer, ending, _]| {
        let mut held = WRITERS[writer as usize].1()?;
        let end_child = || {
            ENDINGS[ending as usize].1(&mut held);
            0
        };
        // SAFETY: what the two share is standard output; that both may print to it is what this is about.
        let child = unsafe { child::fork(end_child) }.context("forking")?;
        ensure!(child.wait()? == Exit::Code(0), "the child could not end");
        let [.., (_, by_a_return)] = ENDINGS;
        by_a_return(&mut held); // Nobody is left to reply.
        Ok(0)
    };
    match printer.ask(0, print_and_fork, writer_and_ending)? {
        Reply::Gone(Exit::Code(0)) => {}
        other => drop(other.value()?),
    }
    let mut printed = Vec::new();
    match File::from(reader).read_to_end(&mut printed) {
        Err(error) if error.raw_os_error() != Some(libc::EIO) => return Err(error).context("reading what was printed"),
        _ => {} // By EIO a terminal tells that nobody is left to print.
    }
    Ok(String::from_utf8_lossy(&printed).matches(PRINTED).count())
}

fn table(title: &str, counts: &Counts, shown: impl Fn(usize) -> bool) -> Table {
    let cell = |count: &usize| match count {
        1 => Cell::Word { says: "once".to_owned(), mood: Mood::Good },
        2 => Cell::Word { says: "twice".to_owned(), mood: Mood::Bad },
        count => Cell::Word { says: format!("{count} times"), mood: Mood::Bad },
    };
    let row = |writer: usize| {
        [Cell::Text(WRITERS[writer].0.to_owned())].into_iter().chain(counts[writer].iter().map(cell)).collect()
    };
    let endings = ENDINGS.map(|(name, _)| Column::value(name, ""));
    Table {
        title: title.to_owned(),
        columns: [Column::label("printed by")].into_iter().chain(endings).collect(),
        rows: (0..WRITERS.len()).filter(|writer| shown(*writer)).map(row).collect(),
    }
}

fn check(stage: &mut Stage, pipe: &Counts, terminal: Option<&Counts>) {
    let mut expect = |says: &str, counts: &[usize], due: &[usize]| {
        let often = |times| counts.iter().filter(|count| **count == times).count();
        let got = format!("once in {} of {}, twice in {}", often(1), counts.len(), often(2));
        stage.fact(says, counts == due, got);
    };
    let [write, c_line, _, c_flushed, .., destructor, exit_handler] = pipe;
    expect("What waits in no buffer arrives once, however the child ends", write, &[1; 4]);
    let by_exit = pipe.map(|[directly, ..]| directly);
    expect("A child that ends by _exit writes nothing again", &by_exit, &[1; WRITERS.len()]);
    let says = "In a pipe, a line by C's printf arrives twice, unless the child ends by _exit";
    expect(says, c_line, &[1, 2, 2, 2]);
    if let Some([_, c_line, c_half, ..]) = terminal {
        expect("On a terminal it arrives once: there C writes each line at once", c_line, &[1; 4]);
        let says = "Half a line arrives twice on a terminal too, unless the child ends by _exit";
        expect(says, c_half, &[1, 2, 2, 2]);
    }
    expect("A line that is flushed before the fork arrives once", c_flushed, &[1; 4]);
    expect("A destructor runs twice only if the child returns", destructor, &[1, 1, 1, 2]);
    expect("An exit handler runs twice, unless the child ends by _exit", exit_handler, &[1, 2, 2, 2]);
}
