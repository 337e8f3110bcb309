//! Why must a program with threads not fork?

mod luck;
mod scenes;
mod victim;
mod watch;

use std::ffi::OsString;

use anyhow::Result;
use shared::number::count;
use shared::{Cell, Column, Demo, Extras, Mood, ProgramRole, Snippet, Stage, Table};

use victim::{Tally, perform};

pub const DEMO: Demo = Demo {
    name: "fork-with-threads",
    question: "Why must a program with threads not fork?",
    claims: &[],
    rule: "It answers no claim. A child counts as asleep for ever if its only thread is seen in a private futex call \
           without a time-out: no thread exists that could wake it. If a child neither ends nor sleeps so, the demonstration fails.",
    extras: Extras { roles: &[ProgramRole { name: scenes::ROLE, play }], ..Extras::NONE },
    snippets: &[
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/pidfd.rs", text: include_str!("../snippets/pidfd.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "A fork copies the memory as it is, with every lock that is held, but only the thread that calls it. Here it is \
         done all the same, in a process that exists for that alone, where each child is watched and ended.",
    );
    let (many, few) = (stage.by_effort(20, 1_000, 1_000), stage.by_effort(4, 30, 200));
    let clock = stage.clock();
    let held = perform(|| scenes::held_lock(clock, many))?;
    let free = perform(|| scenes::free_lock(clock, few))?;
    let stdout = perform(|| scenes::held_stdout(clock, few))?;
    let pool = perform(|| scenes::pool_of_the_maker(clock, few))?;
    let own_pool = perform(|| scenes::pool_of_its_own(clock, few))?;
    let allocation = perform(|| scenes::allocation(clock, few))?;
    let exec = perform(|| scenes::exec_at_once(clock, few))?;
    let command = perform(|| scenes::command(few))?;
    stage.show(table(&[
        ("takes a mutex", "holds it", held),
        ("takes the lock of stdout", "holds it", stdout),
        ("uses its parent's rayon pool", "is in the pool", pool),
        ("takes a mutex", "does not hold it", free),
        ("makes its own rayon pool", "is in an idle pool", own_pool),
        ("allocates memory", "allocates too", allocation),
        ("runs a program by exec", "holds stdout's lock", exec),
        ("runs a program by Command", "holds stdout's lock", command),
    ]));
    if allocation.done == allocation.tried {
        stage.note(
            "The allocator works in the child although other threads used it at the fork: the C library takes the \
             allocator's locks before a fork and frees them after it, on both sides. It can do so for its own locks only.",
        );
    }
    tell_facts(stage, [held, free, stdout, pool, command]);
    luck::show(stage)?;
    let [asleep, tried] = [held.asleep, held.tried].map(|number| count(number.into()));
    stage.headline(format!("{asleep} of {tried} children hang on a lock"));
    stage.answer(format!(
        "Because the child inherits locks but not their holders: {asleep} of {tried} slept for ever on a held lock. A \
         program started by Command worked in {} of {}.",
        command.done, command.tried
    ));
    stage.advise("Fork before you start threads (copy `child`), or use Command.");
    Ok(())
}

fn play(_arguments: &[OsString]) -> u8 {
    scenes::take_stdout()
}

fn tell_facts(stage: &mut Stage, [held, free, stdout, pool, command]: [Tally; 5]) {
    let in_words = |tally: Tally| format!("{} of {} slept for ever", tally.asleep, tally.tried);
    let says = "A child sleeps for ever on a lock that another thread held at the fork";
    stage.fact(says, held.asleep == held.tried, in_words(held));
    let got = format!("{} of {} still slept", held.still_asleep, held.tried);
    let says = "It sleeps on when the holder lets go: that frees the parent's lock, not the child's copy";
    stage.fact(says, held.still_asleep == held.tried, got);
    let got = format!("{} of {} took it", free.done, free.tried);
    stage.fact("If nobody holds the lock at the fork, the child takes it", free.done == free.tried, got);
    let says = "The hidden lock of stdout does the same: a thread that prints holds it";
    stage.fact(says, stdout.asleep == stdout.tried, in_words(stdout));
    let says = "A pool of threads is dead in the child, and still works in its parent";
    stage.fact(says, pool.asleep == pool.tried && pool.still_asleep == pool.tried, in_words(pool));
    let got = format!("{} of {} worked", command.done, command.tried);
    let says = "A program by Command works, whatever lock is held here: its memory and locks are its own";
    stage.fact(says, command.done == command.tried, got);
}

fn table(scenes: &[(&str, &str, Tally)]) -> Table {
    let row = |(child, other, tally): &(&str, &str, Tally)| {
        let of = |number: u32, mood| {
            let [number, tried] = [number, tally.tried].map(|number| count(number.into()));
            Cell::Word { says: format!("{number} of {tried}"), mood }
        };
        let asleep = of(tally.asleep, if tally.asleep > 0 { Mood::Bad } else { Mood::Neutral });
        let done = of(tally.done, if tally.done == tally.tried { Mood::Good } else { Mood::Neutral });
        vec![Cell::Text((*child).to_owned()), Cell::Text((*other).to_owned()), asleep, done]
    };
    Table {
        title: "A child that is forked beside another thread".to_owned(),
        columns: vec![
            Column::label("the child"),
            Column::label("the other thread"),
            Column::value("sleeps for ever", ""),
            Column::value("finishes", ""),
        ],
        rows: scenes.iter().map(row).collect(),
    }
}
