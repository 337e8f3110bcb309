//! How many does a semaphore let in at once, between threads and between processes?

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use process_demo::crew::Kind;
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage, Table, tried};

use crate::admission::{Seen, columns, observe};
use crate::locks::SEMAPHORES;

pub const DEMO: Demo = Demo {
    name: "semaphore",
    question: "How many does a semaphore let in at once?",
    claims: &[Claim::OneAtATime],
    rule: "One at a time holds if no semaphore, of however many permits, ever had more than one inside. It holds, \
           except for a semaphore of several permits, if those of one permit had one inside and those of more had \
           more. It is refuted if a semaphore of one permit had more than one. Anything else is undecided.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "sync-demo/snippets/semaphore.rs", text: include_str!("../snippets/semaphore.rs") },
        Snippet { path: "sync-demo/snippets/posix_semaphore.rs", text: include_str!("../snippets/posix_semaphore.rs") },
    ],
    run,
};

const PERMITS: [u32; 2] = [1, 3]; // With one it is a lock; with more it shows what a lock is not.

fn run(stage: &mut Stage) -> Result<()> {
    stage.note("One worker more than there are permits comes to stay in a room; then a crowd comes and goes.");
    let mut seen = Vec::new();
    for workers in [Kind::Processes, Kind::Threads] {
        for kind in SEMAPHORES.iter().filter(|kind| kind.between.contains(&workers)) {
            for permits in PERMITS {
                match tried(observe(stage, workers, kind, permits))? {
                    Ok(found) => seen.push(found),
                    Err(why) => {
                        let with = self::permits(permits);
                        stage.note(format!("{}, {workers}, {with}: it cannot be tried here: {why}.", kind.name));
                    }
                }
            }
        }
    }
    let rows = |workers| seen.iter().filter(move |seen| seen.workers == workers).map(Seen::row);
    stage.show(Table {
        title: "How many were inside at once".to_owned(),
        columns: columns("semaphore"),
        rows: rows(Kind::Threads).chain(rows(Kind::Processes)).collect(),
    });
    conclude(stage, &seen)
}

fn conclude(stage: &mut Stage, seen: &[Seen]) -> Result<()> {
    let inside = |seen: &Seen| format!("{} of {}", seen.most, seen.admits);
    let list = |workers| {
        let each = seen.iter().filter(|seen| seen.workers == workers).map(inside);
        let different: Vec<String> = each.collect::<BTreeSet<_>>().into_iter().collect();
        match different.as_slice() {
            [] => format!("{workers} not tried"),
            some => format!("{workers} {}", some.join(" and ")),
        }
    };
    let lists = [Kind::Threads, Kind::Processes].map(list).join(", ");
    let crowds = seen.iter().all(Seen::kept_the_crowd);
    stage.fact("A crowd fills every permit and never exceeds them", crowds, &lists);

    let most = seen.iter().max_by_key(|seen| seen.most).context("no semaphore was tried")?;
    let kept = if seen.iter().all(Seen::kept_its_number) { "as many" } else { "not as many" };
    let found = format!("{kept} as it has permits: {lists}");
    let ruling = rule(seen, &found);
    stage.rule(Claim::OneAtATime, ruling.by(most.most.into(), "inside at once"))?;
    stage.headline(format!("{} inside at once, with {}", most.most, permits(most.admits)));
    stage.answer(format!("It lets in {found}."));
    stage.advise("To limit how many threads work at once: copy `semaphore`.");
    Ok(())
}

fn rule(seen: &[Seen], found: &str) -> Ruling {
    let (of_one, of_more): (Vec<&Seen>, Vec<&Seen>) = seen.iter().partition(|seen| seen.admits == 1);
    if let Some(one) = of_one.iter().find(|seen| seen.most > 1) {
        return Ruling::refuted(format!("A semaphore of 1 permit had {} {} inside at once", one.most, one.workers));
    }
    if seen.iter().all(|seen| seen.most == 1) {
        Ruling::holds("No semaphore had more than 1 inside at once, whatever its permits")
    } else if of_more.iter().all(|seen| seen.most > 1) {
        Ruling::except("for a semaphore of several permits", format!("It lets in {found}"))
    } else {
        Ruling::undecided(format!("Only some semaphores of several permits had more than 1 inside: {found}"))
    }
}

fn permits(count: u32) -> String {
    if count == 1 { "1 permit".to_owned() } else { format!("{count} permits") }
}
