//! Does a program go on while a long task runs in a background thread?

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, bounded};
use shared::number::{count, with_unit};
use shared::{Claim, Demo, Extras, Lane, Parameter, ParameterKind, Ruling, Snippet, Stage, Timeline};
use threads_demo::background;

pub const DEMO: Demo = Demo {
    name: "background",
    question: "Does a program go on while a long task runs in a background thread?",
    claims: &[Claim::BackgroundExample, Claim::GoesOnWhileWaiting],
    rule: "The example holds if the task, before it ended, heard that the main thread had said its line; else it is \
           refuted. Going on while waiting holds if the main thread also did work before the task ended, and a second \
           count finds that work right; else it is refuted.",
    extras: Extras {
        parameters: &[Parameter {
            key: "task_s",
            says: "how long the task takes; quick effort takes a tenth",
            kind: ParameterKind::Number { unit: "s", default: 5.0, low: 0.01, high: 60.0 },
        }],
        ..Extras::NONE
    },
    snippets: &[Snippet {
        path: "threads-demo/snippets/background.rs",
        text: include_str!("../snippets/background.rs"),
    }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let task_s = stage.setting("task_s") / stage.by_effort(10.0, 1.0, 1.0);
    let (tell, heard) = bounded(1);
    let clock = stage.clock();
    let from_ns = clock.now_ns();
    let elapsed_s = || (clock.now_ns() - from_ns) as f64 / 1e9;
    let task = move || perform(Duration::from_secs_f64(task_s), &heard);
    let task = background::start("task", task).context("starting a thread")?;
    stage.say("Doing other work while the task is being performed...");
    let work_from_s = elapsed_s();
    let mut search = Search::default();
    search.test_next();
    // Sent after the line and after some work. It goes unheard only if the task has ended, as the fact will tell.
    let _ = tell.send(search.tested);
    task.meanwhile(|| search.test_next());
    let work_to_s = elapsed_s();
    let heard = task.join();
    let task_to_s = elapsed_s();
    stage.say(format!("Task completed in {task_to_s:.2} seconds"));

    let lane = |label: &str, from, to| Lane { label: label.to_owned(), from, to };
    let lanes = vec![lane("task, in its thread", 0.0, task_to_s), lane("main thread's work", work_from_s, work_to_s)];
    stage.show(Timeline { title: "Who was busy from when to when".to_owned(), unit: "s".to_owned(), lanes });
    judge(stage, heard, task_to_s, &search)
}

fn judge(stage: &mut Stage, heard: Option<u64>, elapsed_s: f64, search: &Search) -> Result<()> {
    let &Search { tested, primes } = search;
    let (took, did) = (with_unit("s", elapsed_s), format!("tested {} numbers", count(tested)));
    let got = if heard.is_some() { "the task heard of it before it ended" } else { "the task ended unheard" };
    let in_order = stage.fact("The main thread's line appears before the task ends", heard.is_some(), got);
    let got = format!("{} tested when it first reported", count(heard.unwrap_or(0)));
    let meanwhile = stage.fact("The main thread does work before the task ends", heard > Some(0), got);
    let sieved = primes_up_to(tested);
    let got = format!("{} by division, {} by a sieve", count(primes), count(sieved));
    let right = stage.check(format!("The primes up to {} are all found", count(tested)), primes == sieved, got);

    let example = match in_order {
        true => Ruling::holds(format!("The main thread said its line before the task ended, after {took}")),
        false => Ruling::refuted(format!("The task ended after {took} and had not heard of the main thread's line")),
    };
    stage.rule(Claim::BackgroundExample, example)?;
    let goes_on = match (meanwhile, right) {
        (true, true) => Ruling::holds(format!("The main thread {did} while the task ran for {took}")),
        (true, false) => Ruling::refuted(format!("The main thread {did}, but miscounted the primes among them")),
        (false, _) => Ruling::refuted(format!("The task, of {took}, ended before it heard of any other work")),
    };
    stage.rule(Claim::GoesOnWhileWaiting, goes_on.by(tested as f64, "numbers tested"))?;
    let goes_on = in_order && meanwhile;
    stage.headline(format!("{} numbers tested meanwhile", count(if goes_on { tested } else { 0 })));
    stage.answer(match goes_on {
        true => {
            format!("Yes: while the task took its {took}, the main thread {did} and found {} primes.", count(primes))
        }
        false => format!("No: the task ended after {took} without having heard of any other work."),
    });
    stage.advise("Start a long task in a thread and go on: copy `background`.");
    Ok(())
}

/// The task: it takes its time, as a slow server would, and returns how much work the main thread had reported before
/// the end; none if it had reported nothing.
#[expect(clippy::disallowed_methods, reason = "a task that takes so long is what the demonstration is about")]
fn perform(takes: Duration, heard: &Receiver<u64>) -> Option<u64> {
    // Far more than a busy machine takes to give the main thread a turn. The report comes at once on any other.
    const PATIENCE: Duration = Duration::from_secs(10);
    sleep(takes);
    heard.recv_timeout(PATIENCE).ok()
}

/// The other work: looking for primes, number by number.
#[derive(Default)]
struct Search {
    tested: u64,
    primes: u64,
}

impl Search {
    fn test_next(&mut self) {
        self.tested += 1;
        let number = self.tested;
        let divisible =
            (2..).take_while(|divisor| divisor * divisor <= number).any(|divisor| number.is_multiple_of(divisor));
        self.primes += u64::from(number > 1 && !divisible);
    }
}

/// The same count once more, by the sieve of Eratosthenes.
fn primes_up_to(limit: u64) -> u64 {
    let mut crossed_out = vec![false; limit as usize + 1];
    let mut primes = 0;
    for number in 2..crossed_out.len() {
        if !crossed_out[number] {
            primes += 1;
            (number * number..crossed_out.len()).step_by(number).for_each(|multiple| crossed_out[multiple] = true);
        }
    }
    primes
}
