//! Why must a program with threads not fork?

mod luck;
mod scenes;
mod victim;
mod watch;

use std::ffi::OsString;

use anyhow::Result;
use shared::{Cell, Column, Demo, Extras, Mood, ProgramRole, Snippet, Stage, Table};

use victim::{Tally, perform};

pub const DEMO: Demo = Demo {
    name: "fork-with-threads",
    question: "Why must a program with threads not fork?",
    claims: &[],
    rule: "It answers no claim. A child counts as asleep for ever if its only thread is seen in a private futex call \
           without a time-out: whoever could wake it does not exist. A time-out is only a bound.",
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
         done all the same, in a process that exists for that alone, with each child watched and ended.",
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
    stage.table(table(&[
        ("takes a lock of ours", "holds it", held),
        ("takes a lock of ours", "does not hold it", free),
        ("takes std's stdout", "holds it", stdout),
        ("uses its maker's rayon pool", "is of the pool", pool),
        ("makes a rayon pool of its own", "is of an idle pool", own_pool),
        ("allocates memory", "allocates all the time", allocation),
        ("is a program by fork and exec", "holds std's stdout", exec),
        ("is a program by Command", "holds std's stdout", command),
    ]));
    if allocation.done == allocation.tried {
        stage.note(
            "The allocator works in the child although other threads used it at the fork: the C library takes the \
             allocator's locks before a fork and frees them after it, on both sides. It can do so for its own locks only.",
        );
    }
    tell_facts(stage, [held, free, stdout, pool, command]);
    let luck = luck::show(stage)?;
    stage.answer(format!(
        "Because the child inherits locks and not their holders: {} of {} slept for ever on a lock that was held, and {} \
         of {} on one that was to be held {} % of the time; a program started by Command worked in {} of {}.",
        held.asleep, held.tried, luck.tally.asleep, luck.tally.tried, luck.held_percent, command.done, command.tried
    ));
    Ok(())
}

fn play(_arguments: &[OsString]) -> u8 {
    scenes::take_stdout()
}

fn tell_facts(stage: &mut Stage, [held, free, stdout, pool, command]: [Tally; 5]) {
    let in_words = |tally: Tally| format!("{} of {}", tally.asleep, tally.tried);
    let says =
        "A child that takes a lock which another thread held at the fork sleeps for ever, with nobody to wake it";
    stage.fact(says, held.asleep == held.tried, in_words(held));
    let got = format!("{} of {} still slept", held.still_asleep, held.tried);
    let says = "It sleeps on when the holder lets go: that frees the maker's lock, not the child's copy";
    stage.fact(says, held.still_asleep == held.tried, got);
    let got = format!("{} of {} took it", free.done, free.tried);
    stage.fact("If nobody holds the lock at the fork, the child takes it", free.done == free.tried, got);
    let says = "So it is with a lock that one does not see: whoever prints holds std's";
    stage.fact(says, stdout.asleep == stdout.tried, in_words(stdout));
    let says = "A pool of threads is dead in the child, and alive in its maker";
    stage.fact(says, pool.asleep == pool.tried && pool.still_asleep == pool.tried, in_words(pool));
    let got = format!("{} of {} worked", command.done, command.tried);
    let says = "A program by Command works, whatever lock is held here: it has memory and locks of its own";
    stage.fact(says, command.done == command.tried, got);
}

fn table(scenes: &[(&str, &str, Tally)]) -> Table {
    let row = |(child, other, tally): &(&str, &str, Tally)| {
        let count = |count: u32, mood| Cell::Word { says: format!("{count} of {}", tally.tried), mood };
        let asleep = count(tally.asleep, if tally.asleep > 0 { Mood::Bad } else { Mood::Neutral });
        let done = count(tally.done, if tally.done == tally.tried { Mood::Good } else { Mood::Neutral });
        vec![Cell::Text((*child).to_owned()), Cell::Text((*other).to_owned()), asleep, done]
    };
    Table {
        title: "What becomes of a child that is forked beside another thread".to_owned(),
        columns: vec![
            Column::label("the child"),
            Column::label("the other thread"),
            Column::value("sleeps for ever", ""),
            Column::value("is done", ""),
        ],
        rows: scenes.iter().map(row).collect(),
    }
}
