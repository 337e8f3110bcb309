//! Why must a program with threads not fork?

mod situations;
mod watched;

use std::ffi::OsString;

use anyhow::Result;
use process_demo::crew::NOTHING;
use shared::number::count;
use shared::{Cell, Column, Demo, Extras, Mood, ProgramRole, Snippet, Stage, Table};

use situations::{NOW_AND_THEN, ROLE, SITUATIONS, Situation, Tally, fork_in, take_stdout};

pub const DEMO: Demo = Demo {
    name: "fork-with-threads",
    question: "Why must a program with threads not fork?",
    claims: &[],
    rule: "It answers no claim. A child counts as asleep for ever if its only thread is seen in a private futex call \
           without a time-out: no thread exists that could wake it. If a child neither ends nor sleeps so, the demonstration fails.",
    extras: Extras { roles: &[ProgramRole { name: ROLE, play }], ..Extras::NONE },
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
    let mut tallies = [Tally::default(); 8];
    for (at, situation) in SITUATIONS.iter().enumerate() {
        tallies[at] = fork_in(situation, if at == 0 { many } else { few }, stage.clock(), NOTHING)?;
    }
    let [held, stdout, pool, free, _, allocation, _, command] = tallies;
    stage.show(table(&tallies));
    if allocation.done == allocation.tried {
        stage.note(
            "The allocator works in the child although another thread used it at the fork: the C library takes the \
             allocator's locks before a fork and frees them after it, on both sides. It can do so for its own locks only.",
        );
    }
    tell_facts(stage, [held, free, stdout, pool, command]);
    try_luck(stage)?;
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
    take_stdout()
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

fn table(tallies: &[Tally]) -> Table {
    let row = |(situation, tally): (&Situation, &Tally)| {
        let of = |number: u32, mood| {
            let [number, tried] = [number, tally.tried].map(|number| count(number.into()));
            Cell::Word { says: format!("{number} of {tried}"), mood }
        };
        let asleep = of(tally.asleep, if tally.asleep > 0 { Mood::Bad } else { Mood::Neutral });
        let done = of(tally.done, if tally.done == tally.tried { Mood::Good } else { Mood::Neutral });
        let [child, other] = [situation.child, situation.other].map(|who| Cell::Text(who.to_owned()));
        vec![child, other, asleep, done]
    };
    Table {
        title: "A child that is forked beside another thread".to_owned(),
        columns: vec![
            Column::label("the child"),
            Column::label("the other thread"),
            Column::value("sleeps for ever", ""),
            Column::value("finishes", ""),
        ],
        rows: SITUATIONS.iter().zip(tallies).map(row).collect(),
    }
}

/// How often does it happen by itself, when the lock is held only now and then?
fn try_luck(stage: &mut Stage) -> Result<()> {
    const PERIOD_NS: u64 = 100_000; // Long beside a turn of the lock, short beside the time between two forks.
    let times = stage.by_effort(20, 300, 4_000);
    stage.note(format!(
        "Now without force: the other thread takes the lock every {} us and holds it for a share of that time, and \
         {times} children are forked without regard to it.",
        PERIOD_NS / 1_000
    ));
    let mut rows = Vec::new();
    for held_percent in [1, 10, 50] {
        let busy_with = [PERIOD_NS * held_percent / 100, PERIOD_NS, 0];
        let Tally { tried, asleep, .. } = fork_in(&NOW_AND_THEN, times, stage.clock(), busy_with)?;
        let rate = 100.0 * f64::from(asleep) / f64::from(tried);
        rows.push([held_percent as f64, tried.into(), asleep.into(), rate]);
    }
    let heads = [("forks", ""), ("asleep for ever", ""), ("rate", "%")].map(|(head, unit)| Column::value(head, unit));
    stage.table(Table {
        title: "Forks at a random moment".to_owned(),
        columns: [Column::x("lock held, aim", "%")].into_iter().chain(heads).collect(),
        rows: rows.iter().map(|row| row.map(Cell::Number).to_vec()).collect(),
    });
    if let Some([percent, ..]) = rows.iter().take_while(|[.., asleep, _]| *asleep == 0.0).last() {
        stage.note(format!("Up to {percent} % no child was seen asleep for ever; it may happen all the same."));
    }
    Ok(())
}
