//! Why must a program with threads not fork?

mod situations;
mod watched;

use anyhow::Result;
use process_demo::crew::NOTHING;
use shared::number::count;
use shared::{Cell, Column, Demo, Extras, Snippet, Stage, Table};

use situations::{NOW_AND_THEN, SITUATIONS, Situation, Tally, fork_in};

pub const DEMO: Demo = Demo {
    name: "fork-with-threads",
    question: "Why must a program with threads not fork?",
    claims: &[],
    rule: "It answers no claim. A child counts as asleep for ever if its only thread is seen in a private futex call \
           without a time-out: no thread exists that could wake it. If a child neither ends nor sleeps so, the demonstration fails.",
    extras: Extras::NONE,
    snippets: &[Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "A fork copies the memory as it is, with every lock that is held, but only the thread that calls it. Here it is \
         done all the same, in a process that exists for that alone, where each child is watched and ended.",
    );
    let (many, few) = (stage.by_effort(20, 1_000, 1_000), stage.by_effort(4, 30, 200));
    let mut tallies = [Tally::default(); 7];
    for (at, situation) in SITUATIONS.iter().enumerate() {
        tallies[at] = fork_in(situation, if at == 0 { many } else { few }, stage.clock(), NOTHING)?;
    }
    stage.show(table(&tallies));
    tell_facts(stage, tallies);
    try_luck(stage)?;
    let [held, .., command] = tallies;
    let [asleep, tried] = [held.asleep, held.tried].map(|number| count(number as u64));
    stage.headline(format!("{asleep} of {tried} children hang on a lock"));
    stage.answer(format!(
        "Because the child inherits locks but not their holders: {asleep} of {tried} slept for ever on a held lock. A \
         program started by Command worked in {} of {}.",
        command.done, command.tried
    ));
    stage.advise("Fork before you start threads (copy `child`), or use Command.");
    Ok(())
}

fn table(tallies: &[Tally]) -> Table {
    let row = |((child, other, ..), tally): (&Situation, &Tally)| {
        let says = |number: usize| format!("{} of {}", count(number as u64), count(tally.tried as u64));
        let asleep = if tally.asleep > 0 { Cell::bad } else { Cell::neutral };
        let done = if tally.done == tally.tried { Cell::good } else { Cell::neutral };
        vec![(*child).into(), (*other).into(), asleep(says(tally.asleep)), done(says(tally.done))]
    };
    let [child, other] = ["the child", "the other thread"].map(Column::label);
    let columns = [child, other, "sleeps for ever".into(), "finishes".into()];
    Table::new("A child that is forked beside another thread", columns, SITUATIONS.iter().zip(tallies).map(row))
}

fn tell_facts(stage: &mut Stage, [held, stdout, pool, free, _, allocation, command]: [Tally; 7]) {
    if allocation.done == allocation.tried {
        stage.note(
            "The allocator works in the child although another thread used it at the fork: the C library takes the \
             allocator's locks before a fork and frees them after it, on both sides. It can do so for its own locks only.",
        );
    }
    let facts = [
        ("A child sleeps for ever on a lock that another thread held at the fork", held.asleep, held),
        ("It sleeps on when the holder lets go: that frees the parent's lock alone", held.still_asleep, held),
        ("If nobody holds the lock at the fork, the child takes it", free.done, free),
        ("The hidden lock of stdout does the same: a thread that prints holds it", stdout.asleep, stdout),
        ("A pool of threads is dead in the child, and still works in its parent", pool.still_asleep, pool),
        ("A program by Command works: its memory and its locks are its own", command.done, command),
    ];
    for (says, seen, Tally { tried, .. }) in facts {
        stage.all(says, seen, tried);
    }
}

/// How often does it happen by itself, when the lock is held only now and then?
fn try_luck(stage: &mut Stage) -> Result<()> {
    const PERIOD_NS: u64 = 100_000; // Long beside a turn of the lock, short beside the time between two forks.
    let times = stage.by_effort(20, 300, 4_000);
    stage.note(format!(
        "Now without force: the other thread takes the lock every {} us and holds it for a share of that time, and \
         {times} children are forked without regard to it. None of them asleep does not mean that it cannot happen.",
        PERIOD_NS / 1_000
    ));
    let mut rows = Vec::new();
    for held_percent in [1, 10, 50] {
        let busy_with = [PERIOD_NS * held_percent / 100, PERIOD_NS, 0];
        let Tally { tried, asleep, .. } = fork_in(&NOW_AND_THEN, times, stage.clock(), busy_with)?;
        let rate = 100.0 * asleep as f64 / tried as f64;
        rows.push(vec![held_percent.into(), tried.into(), asleep.into(), rate.into()]);
    }
    let columns = [Column::x("lock held, aim", "%"), "forks".into(), "asleep for ever".into(), ("rate", "%").into()];
    stage.table(Table::new("Forks at a random moment", columns, rows));
    Ok(())
}
