//! What do a new thread, a forked child and an exec inherit?

mod heir;
mod things;

use std::fs::File;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result};
use process_demo::crew::{Arguments, Crew, Kind};
use shared::{Cell, Claim, Demo, Extras, ProgramRole, Ruling, Snippet, Stage, Table, Tried, tried};

use heir::{EXEC, FORK, SPAWN, THREAD, observe};
use things::{COPY, GONE, LOCK_BY_FCNTL, OPEN, OWN, RESET, RESOURCES, SAME, SET, SHARED, THINGS, Thing};

pub const DEMO: Demo = Demo {
    name: "inherit",
    question: "What do a new thread, a forked child and an exec inherit?",
    claims: &[Claim::ProcessOwnsResources, Claim::ThreadsShareResources],
    rule: "That a process owns its resources holds if a forked child shares none of ten with its parent: four kinds of \
           memory, its stack, its program counter, two kinds of descriptor, an open file's offset and a connection. It \
           holds except for those that are shared if some are, and is refuted if all are. That threads share resources \
           holds if a thread shares all of four with its process: both kinds of descriptor, the offset and the \
           connection. It holds in part if it shares some, and is refuted if it shares none. What could not be seen does \
           not count; if nothing could, it is skipped.",
    extras: Extras { roles: &[ProgramRole { name: heir::ROLE, play: heir::play }], ..Extras::NONE },
    snippets: &[
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/spawn.rs", text: include_str!("../snippets/spawn.rs") },
        Snippet { path: "process-demo/snippets/page.rs", text: include_str!("../snippets/page.rs") },
    ],
    run,
};

const COLUMNS: [&str; 4] = ["thread", "fork", "exec", "spawn"];

/// In short, what the manuals promise of each column: pthreads(7), fork(2), execve(2), and the text of `spawn`.
const PROMISES: [&str; 4] = [
    "A thread shares all but its stack, program counter, thread-locals, signal mask and its own signals",
    "A fork copies memory, shares open files and shared mappings, loses threads, timers, signals and fcntl locks",
    "An exec keeps plain descriptors, directory, umask, environment, blocked and ignored signals; memory is new",
    "`spawn` passes on no descriptor but those it was handed, and no blocked signal",
];

/// A thing, and what became of it, by column.
type Row = (&'static Thing, [Tried<&'static str>; 4]);

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "In each case a new process, the parent, sets a thing up and makes a thread or a child. That one looks, changes \
         the thing and looks again. Then the parent looks, changes it too, and both look once more. 'Shared': each sees \
         the other's change. 'A copy': it begins with the parent's value, and neither sees the other's change. 'The \
         same': it is the parent's, and nobody can change it. 'Its own': it is another. 'Reset': it is as it was before \
         the parent set it. 'Gone': it is not there. 'Half shared': only one of the two sees the other's change. A bare \
         fork and exec starts this program once more, and so does `spawn`.",
    );
    let mut rows: Vec<Row> = Vec::new();
    for (index, thing) in THINGS.iter().enumerate() {
        let see = |column| observe(index, column);
        rows.push((thing, [see(THREAD)?, see(FORK)?, see(EXEC)?, see(SPAWN)?]));
    }
    let (resources, others) = rows.split_at(RESOURCES);
    stage.show(table("What each gets of its parent's resources", resources));
    stage.table(table("What each gets of everything else", others));
    tell_what_is_promised(stage, &rows);
    tell_what_closing_unlocks(stage)?;
    let count = |column, words: &[&str]| seen_in(column, &rows).iter().filter(|(_, word)| words.contains(word)).count();
    let (things, shared) = (seen_in(THREAD, &rows).len(), count(THREAD, &[SHARED, SAME]));
    stage.rule(Claim::ProcessOwnsResources, judge_process(resources))?;
    let in_all = format!("{shared} of {things} things in all");
    stage.rule(Claim::ThreadsShareResources, judge_threads(&resources[RESOURCES - OPEN..], &in_all))?;
    let fork_shares = count(FORK, &[SHARED, SAME]);
    stage.headline(format!("{things} things: a thread shares {shared}, a fork {fork_shares}"));
    stage.answer(format!(
        "A thread shares {shared} of {things} things. A forked child shares {fork_shares}, copies {}, loses {} and has {} \
         of its own; an exec keeps {}, {} of them shared.",
        count(FORK, &[COPY]),
        count(FORK, &[GONE, RESET]),
        count(FORK, &[OWN]),
        count(EXEC, &[COPY, SHARED, SAME]),
        count(EXEC, &[SHARED, SAME]),
    ));
    stage.advise("Start programs by `spawn`: they get only what you hand to them.");
    Ok(())
}

/// What a column says, but for what could not be seen.
fn seen_in(column: usize, rows: &[Row]) -> Vec<(&'static Thing, &'static str)> {
    rows.iter().filter_map(|(thing, words)| Some((*thing, *words[column].as_ref().ok()?))).collect()
}

fn table(title: &str, rows: &[Row]) -> Table {
    let word = |word: &&str| match *word {
        SHARED | SAME => Cell::good(*word),
        GONE | RESET => Cell::bad(*word),
        _ => Cell::neutral(*word),
    };
    let cells = |words: &[Tried<&str>]| words.iter().map(|seen| Cell::of(seen, word)).collect::<Vec<_>>();
    let rows = rows.iter().map(|(thing, words)| [vec![thing.name.into()], cells(words)].concat());
    Table::new(title, ["the parent's"].into_iter().chain(COLUMNS), rows)
}

fn tell_what_is_promised(stage: &mut Stage, rows: &[Row]) {
    for (column, says) in PROMISES.into_iter().enumerate() {
        let seen = seen_in(column, rows);
        let others = seen.iter().filter(|(thing, word)| *word != thing.promised[column]);
        let others: Vec<_> = others.map(|(thing, word)| format!("; {}: {word}", thing.name)).collect();
        let got = format!("{} of {} things{}", seen.len() - others.len(), seen.len(), others.concat());
        if !seen.is_empty() {
            stage.fact(says, others.is_empty(), got);
        }
    }
}

/// The famous trap of locks by fcntl, beside the others.
fn tell_what_closing_unlocks(stage: &mut Stage) -> Result<()> {
    let lock_and_close = |_: &mut (), [lock, ..]: Arguments| {
        let Thing { make, look, change, .. } = THINGS[lock as usize];
        let place = make(&AtomicU64::new(0))?;
        change.context("a lock that nobody can take")?(place, SET)?;
        drop(File::open(format!("/proc/self/fd/{place}"))?);
        Ok(look(place).is_some().into())
    };
    let mut holder = Crew::of(Kind::Processes, 1, || Ok(()))?;
    let mut lost = Vec::new();
    for (index, lock) in THINGS.iter().enumerate().filter(|(_, thing)| thing.name.starts_with("lock by")) {
        match tried(holder.ask(0, lock_and_close, [index as u64, 0, 0])?.value())? {
            Ok(held) => lost.extend((held == 0).then_some(lock.name)),
            Err(_) => return Ok(()), // The table says why.
        }
    }
    let says = "Only a lock by fcntl is lost when its process opens the file once more and closes that";
    stage.fact(says, lost == [LOCK_BY_FCNTL], format!("lost of three: {}", lost.join(", ")));
    Ok(())
}

fn judge_process(resources: &[Row]) -> Ruling {
    let seen = seen_in(FORK, resources);
    let shared: Vec<_> = seen.iter().filter(|(_, word)| *word == SHARED).map(|(thing, _)| thing.name).collect();
    let (of, own) = (seen.len(), seen.len() - shared.len());
    let because = format!("A forked child has {own} of {of} things for itself");
    match shared.len() {
        _ if of == 0 => Ruling::skipped("None of the ten things could be seen"),
        0 => Ruling::holds(because),
        _ if own == 0 => Ruling::refuted(because),
        1..=4 => Ruling::except(listed(&shared), because),
        many => Ruling::except(format!("{many} things that a fork shares"), because),
    }
}

fn judge_threads(open: &[Row], in_all: &str) -> Ruling {
    let seen = seen_in(THREAD, open);
    let others: Vec<_> = seen.iter().filter(|(_, word)| *word != SHARED).map(|(thing, _)| thing.name).collect();
    let (of, shared) = (seen.len(), seen.len() - others.len());
    let because =
        format!("A thread shares {shared} of {of} descriptors, offsets and connections with its process, and {in_all}");
    match shared {
        _ if of == 0 => Ruling::skipped("None of the four things could be seen"),
        0 => Ruling::refuted(because),
        _ if others.is_empty() => Ruling::holds(because),
        _ => Ruling::in_part(format!("not true of {}", listed(&others)), because),
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("the {name}")).collect::<Vec<_>>().join(", ")
}
