//! Four troubles: what is lost, what is done twice, how long does it take?

use std::os::unix::process::ExitStatusExt;
use std::process::abort;
use std::time::Duration;

use anyhow::Result;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{alarm, getppid, pause};
use process_demo::supervisor::{Event, Policy, Worker};
use shared::Stage;
use shared::number::{chosen_with_unit, count, with_unit};

use super::queue::{Outcome, Trouble, WORKERS};

/// For a supervisor that never loses patience: a restart is forgotten at once, so each is the first.
fn patient() -> Policy {
    Policy { window: Duration::ZERO, most_restarts: usize::MAX, ..Policy::default() }
}

pub fn crash(stage: &mut Stage) -> Result<Outcome> {
    let (tasks, planned) = stage.by_effort((4_000, 12), (20_000, 40), (100_000, 200));
    stage.say(format!("{planned} of {} tasks crash their worker. The first time:", count(tasks as u64)));
    stage.note(format!(
        "{WORKERS} workers, each a process, share the tasks: each is the checksum of a page. A table in shared memory says \
         who has which task. {planned} tasks call abort() when they are tried first."
    ));
    let trouble = Trouble { tasks, planned, strike: |_| abort(), bad_tries: 1, policy: patient() };
    let crashes = trouble.supervise(stage.clock())?;
    let from_first_end = crashes.events.iter().skip_while(|event| !matches!(event, Event::Ended { .. }));
    let replaced: Vec<String> = from_first_end.take(3).map(Event::to_string).collect();
    stage.say(replaced.join("; ") + ".");
    let seen = crashes.ended(|exit| exit.signal() == Some(libc::SIGABRT));
    tell(stage, &crashes, "crash", planned, seen);
    Ok(crashes)
}

pub fn hang(stage: &mut Stage) -> Result<Outcome> {
    let (tasks, planned, patience_ms) = stage.by_effort((4_000, 2, 50), (20_000, 6, 100), (100_000, 20, 250));
    let policy = Policy { hung_after: Duration::from_millis(patience_ms), ..patient() };
    stage.say(format!(
        "{planned} of {} tasks hang: a worker without a heartbeat for {} is killed.",
        count(tasks as u64),
        chosen_with_unit("ms", patience_ms as f64)
    ));
    let strike = |_: &Worker<'_>| {
        alarm::set(5); // In seconds: a supervisor that did not notice is to fail a fact, not to hang it.
        loop {
            pause();
        }
    };
    let hangs = Trouble { tasks, planned, strike, bad_tries: 1, policy }.supervise(stage.clock())?;
    tell(stage, &hangs, "hang", planned, hangs.count(|event| matches!(event, Event::Hung { .. })));
    stage.note(
        "A worker that hangs waits for what never comes. It lives, so only its missing heartbeat tells. In a thread, a crash \
         ends the whole program, as `process-demo crash` shows; and a thread that hangs cannot be ended alone, as \
         `process-demo management` shows.",
    );
    Ok(hangs)
}

/// `seen`: how many workers were lost to this kind of trouble.
fn tell(stage: &mut Stage, outcome: &Outcome, what: &str, planned: usize, seen: usize) {
    let says = format!("Although workers {what}, every task is done in the end, with the right result");
    stage.all(says, outcome.done, outcome.tasks);
    let (lost, restarts, again) = (outcome.lost(), outcome.restarts(), outcome.begun_again);
    let finished = outcome.ended(|exit| exit.success());
    let one_each = seen >= planned && lost == seen && restarts == lost && finished == WORKERS;
    let says = format!("Each {what} cost one worker, and each of these was reaped and replaced");
    stage.check(says, one_each, format!("{planned} planned, {lost} workers lost, {restarts} restarts"));
    let says = "No worker lost more than the task that it had in hand; that one was begun again";
    stage.check(says, (planned..=lost).contains(&again), format!("{lost} workers lost, {again} tasks begun again"));
    if seen > planned {
        let healthy = seen - planned;
        stage.spoiled(format!("{healthy} healthy workers got no CPU for so long that they were taken for hung"));
    }
}

pub fn poison(stage: &mut Stage) -> Result<Outcome> {
    const MOST_RESTARTS: usize = 5;
    let tasks = 100;
    stage.say(format!("1 of {tasks} tasks is poison, it crashes whoever tries it: {MOST_RESTARTS} restarts at most."));
    stage.note("The first restart is at once, the next waits 2 ms, and each further one twice as long.");
    let first_wait = Duration::from_millis(2);
    let policy = Policy { first_wait, most_restarts: MOST_RESTARTS, ..Policy::default() };
    let poison = Trouble { tasks, planned: 1, strike: |_| abort(), bad_tries: u64::MAX, policy };
    let poison = poison.supervise(stage.clock())?;
    let given_up = poison.count(|event| matches!(event, Event::GaveUp { restarts: MOST_RESTARTS, .. }));
    let (crashes, restarts) = (poison.lost(), poison.restarts());
    let stopped = given_up == 1 && restarts == MOST_RESTARTS && crashes == MOST_RESTARTS + 1;
    let says = format!("The worker that always crashes is given up after {MOST_RESTARTS} restarts");
    stage.check(says, stopped, format!("{crashes} crashes, {restarts} restarts, given up: {given_up}"));
    let says = "Beside a worker that always crashes, the other one does all other tasks";
    let others = poison.done == tasks - 1 && poison.ended(|exit| exit.success()) == WORKERS - 1;
    stage.fact(says, others, format!("{} of {tasks}", poison.done));
    Ok(poison)
}

pub fn stop(stage: &mut Stage) -> Result<Outcome> {
    let tasks = stage.by_effort(4_000, 20_000, 100_000);
    let strike = |worker: &Worker<'_>| {
        let _ = kill(getppid(), Signal::SIGTERM);
        let passed_on = PollFd::new(worker.stop_request(), PollFlags::POLLIN);
        let _ = poll(&mut [passed_on], PollTimeout::from(5_000_u16)); // In milliseconds; a bound, as above.
    };
    let stop = Trouble { tasks, planned: 1, strike, bad_tries: 1, policy: Policy::default() };
    let stop = stop.supervise(stage.clock())?;
    stage.say(format!("SIGTERM asks all to stop: over after {}.", with_unit("ns", stop.took_ns)));
    stage.note(
        "A worker sends SIGTERM to the supervisor in the middle of a task, and does not finish it before the supervisor has \
         passed the signal on.",
    );
    let by_themselves = stop.ended(|exit| exit.success());
    let orderly = by_themselves == WORKERS && stop.count(|event| matches!(event, Event::Hung { .. })) == 0;
    let none_lost = stop.begun == stop.done && stop.begun < tasks;
    let [begun, done, all] = [stop.begun, stop.done, tasks].map(|number| count(number as u64));
    let says = "No task begun before SIGTERM is lost: each worker finishes its own, and ends by itself";
    let got = format!("{begun} of {all} begun, {done} done; {by_themselves} of {WORKERS} ended by themselves");
    stage.fact(says, none_lost && orderly, got);
    Ok(stop)
}
