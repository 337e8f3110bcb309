//! Crashes, hangs, and a task that crashes whoever takes it: what is lost, what is done twice, how long does it take?

use std::time::Duration;

use anyhow::Result;
use process_demo::supervisor::Policy;
use shared::Stage;
use shared::number::count;

use super::in_words;
use super::jobs::{Failure, Tries};
use super::pieces::Pieces;
use super::queue::{self, Outcome, Trouble, WORKERS};

/// What came of each.
pub struct Troubles {
    pub crashes: Outcome,
    pub hangs: Outcome,
    pub hopeless: Outcome,
}

/// Of the crashes and hangs together.
pub struct Saved {
    pub tasks: usize,
    pub done: usize,
    /// Workers.
    pub lost: usize,
    pub repeated: u64,
}

impl Troubles {
    pub fn saved(&self) -> Saved {
        let sum = |of: fn(&Outcome) -> usize| of(&self.crashes) + of(&self.hangs);
        let repeated = self.crashes.repeated + self.hangs.repeated;
        Saved { tasks: sum(|it| it.tasks), done: sum(|it| it.done), lost: sum(|it| it.seen.failed()), repeated }
    }
}

impl Saved {
    pub fn all_but_those_in_hand(&self) -> bool {
        self.done == self.tasks && self.repeated <= self.lost as u64
    }
}

const WAIT: Duration = Duration::from_millis(2);
const MOST_RESTARTS: usize = 5;

pub fn show(stage: &mut Stage, pieces: &Pieces) -> Result<Troubles> {
    Ok(Troubles { crashes: crash(stage, pieces)?, hangs: hang(stage, pieces)?, hopeless: despair(stage, pieces)? })
}

fn crash(stage: &mut Stage, pieces: &Pieces) -> Result<Outcome> {
    let (tasks, crashes) = stage.by_effort((4_000, 12), (20_000, 40), (100_000, 200));
    stage.say(format!("{crashes} of {} tasks crash their worker. The first time:", count(tasks as u64)));
    stage.note(format!(
        "{WORKERS} workers, each a process, share the tasks: checksums of pieces of this program's own file. A table in \
         shared memory says who has which task. {crashes} tasks crash whoever tries them first, by turns with abort() and \
         with a write to a forbidden address."
    ));
    let failures: Vec<Failure> =
        [Failure::Abort, Failure::SegmentationFault].into_iter().cycle().take(crashes).collect();
    let outcome = queue::supervise(
        stage,
        pieces,
        &Trouble { tasks, failures: &failures, tries: Tries::First, policy: patient() },
    )?;
    stage.say(outcome.seen.first_crash().join("; ") + ".");
    facts(stage, &outcome, crashes, "crash");
    Ok(outcome)
}

fn hang(stage: &mut Stage, pieces: &Pieces) -> Result<Outcome> {
    let (tasks, hangs) = stage.by_effort((4_000, 2), (20_000, 6), (100_000, 20));
    let hung_after = Duration::from_millis(stage.by_effort(50, 100, 250));
    stage.say(format!(
        "{hangs} of {} tasks hang: a worker without a heartbeat for {} is killed.",
        count(tasks as u64),
        in_words(hung_after)
    ));
    let failures = vec![Failure::Hang; hangs];
    let policy = Policy { hung_after, ..patient() };
    let outcome =
        queue::supervise(stage, pieces, &Trouble { tasks, failures: &failures, tries: Tries::First, policy })?;
    facts(stage, &outcome, hangs, "hang");
    stage.note(
        "A worker that hangs waits for what never comes. It lives, so only its missing heartbeat tells. In a thread, a crash \
         ends the whole program, as `process-demo crash` shows; and a thread that hangs cannot be ended alone, as \
         `process-demo management` shows.",
    );
    Ok(outcome)
}

/// For a supervisor that never loses patience: a restart is forgotten at once, so each is the first.
fn patient() -> Policy {
    Policy { window: Duration::ZERO, most_restarts: usize::MAX, ..Policy::default() }
}

fn facts(stage: &mut Stage, outcome: &Outcome, planned: usize, what: &str) {
    let Outcome { tasks, done, repeated, seen, none_left, .. } = outcome;
    let got = format!("{} of {}", count(*done as u64), count(*tasks as u64));
    stage.fact(
        format!("Although workers {what}, every task is done in the end, with the right result"),
        done == tasks,
        got,
    );
    let (failed, restarts) = (seen.failed(), seen.restarts());
    let says = format!("Each {what} cost one worker, and each of these was replaced");
    let all_told = seen.otherwise == 0 && seen.finished == WORKERS && restarts == failed;
    stage.check(says, all_told && failed >= planned, format!("{planned} planned, {failed} seen, {restarts} restarts"));
    let says = "No worker lost more than the task that it had in hand; that one was begun again";
    let once_each = (planned as u64..=failed as u64).contains(repeated);
    stage.check(says, once_each, format!("{failed} workers lost, {repeated} tasks begun again"));
    let left = if *none_left { "no child left" } else { "some left" };
    stage.check("The supervisor has reaped them all", *none_left, left);
    if failed > planned {
        let healthy = failed - planned;
        stage.spoiled(format!("{healthy} healthy workers got no CPU for so long that they were taken for hung"));
    }
}

fn despair(stage: &mut Stage, pieces: &Pieces) -> Result<Outcome> {
    const TASKS: usize = 100;
    stage.say(format!("1 of {TASKS} tasks is poison, it crashes whoever tries it: {MOST_RESTARTS} restarts at most."));
    stage.note(format!(
        "The first restart is at once, the next waits {}, each further one twice as long, but never longer than {}.",
        in_words(WAIT),
        in_words(4 * WAIT)
    ));
    let policy = Policy {
        first_wait: WAIT,
        longest_wait: 4 * WAIT,
        most_restarts: MOST_RESTARTS,
        window: Duration::MAX,
        ..Policy::default()
    };
    let trouble = Trouble { tasks: TASKS, failures: &[Failure::Abort], tries: Tries::Every, policy };
    let outcome = queue::supervise(stage, pieces, &trouble)?;
    let Outcome { done, seen, .. } = &outcome;
    let says = format!("The worker that always crashes is given up after {MOST_RESTARTS} restarts");
    let got = format!("{} crashes, {} restarts, given up: {}", seen.crashed, seen.restarts(), seen.gave_up.len());
    let stopped = seen.gave_up == [MOST_RESTARTS] && seen.restarts() == MOST_RESTARTS;
    stage.check(says, stopped && seen.crashed == MOST_RESTARTS + 1, got);
    let waits: Vec<String> = seen.waits.iter().map(|wait| wait.as_millis().to_string()).collect();
    let expected = [0, 1, 2, 4, 4].map(|times| times * WAIT);
    stage.check(
        "The waits before them grew as they should",
        seen.waits == expected,
        format!("{} ms", waits.join(", ")),
    );
    let says = "Beside a worker that always crashes, the other one does all other tasks";
    stage.fact(says, *done == TASKS - 1 && seen.finished == WORKERS - 1, format!("{done} of {TASKS}"));
    Ok(outcome)
}
