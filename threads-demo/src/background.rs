//! Does a program go on while a long task runs in a background thread?

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, bounded};
use shared::number::count;
use shared::{Claim, Demo, Extras, Parameter, ParameterKind, Snippet, Stage, Verdict};
use threads_demo::background;

pub const DEMO: Demo = Demo {
    name: "background",
    question: "Does a program go on while a long task runs in a background thread?",
    claims: &[Claim::BackgroundExample, Claim::GoesOnWhileWaiting],
    rule: "The example holds if the task heard, before it ended, that the main thread had said its line, and then \
           completed. Going on while waiting holds if the main thread also did work before the end of the task, and \
           that work proves right.",
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
    let from_ns = stage.clock().now_ns();
    let task = move || perform(Duration::from_secs_f64(task_s), &heard);
    let task = background::start("task", task).context("starting a thread")?;
    stage.say("Doing other work while the task is being performed...");
    let mut search = Search::default();
    search.test_next();
    // Sent after the line and after some work. It goes unheard only if the task has ended, as the fact will tell.
    let _ = tell.send(search.tested);
    task.meanwhile(|| search.test_next());
    let heard = task.join();
    let elapsed_s = (stage.clock().now_ns() - from_ns) as f64 / 1e9;
    stage.say(format!("Task completed in {elapsed_s:.2} seconds"));

    judge(stage, heard, elapsed_s, &search)
}

fn judge(stage: &mut Stage, heard: Option<u64>, elapsed_s: f64, search: &Search) -> Result<()> {
    let &Search { tested, primes } = search;
    let order = if heard.is_some() { "the task heard of it before it ended" } else { "the task ended unheard" };
    let in_order = stage.fact("The main thread's line appeared before the task ended", heard.is_some(), order);
    let meanwhile = stage.fact("The main thread did work before the task ended", heard > Some(0), reported(heard));
    let sieved = primes_up_to(tested);
    let got = format!("{} by division, {} by a sieve", count(primes), count(sieved));
    let says = format!("The primes found up to {} are as many as there are", count(tested));
    let right = stage.fact(says, primes == sieved, got);

    let because = format!("the main thread said its line, and {order}, after {elapsed_s:.2} seconds");
    stage.verdict(Claim::BackgroundExample, if in_order { Verdict::Holds } else { Verdict::Refuted }, because)?;
    let goes_on = if meanwhile && right { Verdict::Holds } else { Verdict::Refuted };
    let did = format!("the main thread tested {} numbers and found {} primes", count(tested), count(primes));
    let because = format!("{did} meanwhile");
    stage.verdict_by(Claim::GoesOnWhileWaiting, goes_on, because, tested as f64, "numbers tested")?;
    let so = if in_order && meanwhile { "Yes" } else { "No" };
    stage.answer(format!("{so}: while the task took its {elapsed_s:.2} seconds, {did}."));
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

fn reported(heard: Option<u64>) -> String {
    heard.map_or("nothing was reported".to_owned(), |tested| format!("numbers tested by the first report: {tested}"))
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

/// The same count by another way: the sieve of Eratosthenes.
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
