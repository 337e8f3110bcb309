//! What does a supervisor cost while all is well, and what is lost when it is asked to stop?

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use process_demo::child::Exit;
use process_demo::supervisor::{Policy, WhenMakerDies};
use shared::Stage;
use shared::number::{count, three_digits, with_unit};

use super::in_words;
use super::maker::Maker;
use super::pieces::Pieces;
use super::queue::WORKERS;

/// What was seen, in short.
pub struct Drained {
    pub accepted: usize,
    pub answered: usize,
    /// From SIGTERM to the supervisor's end.
    pub took_ns: f64,
}

const PATIENT: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_millis(400); // So that even a watch of 200 ms sees some looks at the heartbeats.

pub fn show(stage: &mut Stage, pieces: &Pieces) -> Result<Drained> {
    let policy = Policy { hung_after: stage.by_effort(QUICK, PATIENT, PATIENT), ..Policy::default() };
    let mut maker = Maker::start(policy, &[WhenMakerDies::End; WORKERS], pieces)?;
    let (accepted, answered) = be_well(stage, &maker, policy.hung_after)?;
    let clock = stage.clock();
    let in_hand = accepted..accepted + WORKERS;
    for (worker, task) in maker.workers.iter().zip(in_hand.clone()) {
        worker.give(task).context("giving a worker its last task")?;
    }
    let from_ns = clock.now_ns();
    maker.send(Signal::SIGTERM)?;
    let told = maker.hear().context("the events")?; // By now every worker has been sent its own SIGTERM.
    let finished =
        maker.workers.iter().zip(in_hand).filter(|(worker, task)| worker.take(*task).unwrap_or(false)).count();
    let exit = maker.end()?;
    let took_ns = (clock.now_ns() - from_ns) as f64;
    let rest: String = (0..=WORKERS).map_while(|_| maker.hear().ok()).collect();
    let (accepted, answered) = (accepted + WORKERS, answered + finished);
    stage.say(format!("SIGTERM asks all to stop: over after {}.", with_unit("ns", took_ns)));
    stage.note(format!(
        "Before SIGTERM, each of the {WORKERS} workers accepts one more task. The supervisor passes the signal on, and only \
         then may they do what they have in hand."
    ));
    let got = format!("{} accepted, {} answered", count(accepted as u64), count(answered as u64));
    stage.fact("No task accepted before SIGTERM is lost", accepted == answered, got);
    let orderly = told == 'd' && rest == "e".repeat(WORKERS) + "D" && exit == Exit::Code(0);
    let got = format!("supervisor: {exit}; {} workers ended by themselves", rest.matches('e').count());
    stage.check("Each worker finished its task and ended by itself, then the supervisor did", orderly, got);
    Ok(Drained { accepted, answered, took_ns })
}

/// Gives the workers task after task for a while, and looks at what the supervisor needs meanwhile.
fn be_well(stage: &mut Stage, maker: &Maker<'_>, hung_after: Duration) -> Result<(usize, usize)> {
    let span_ns = stage.by_effort(200, 2_000, 5_000) * 1_000_000;
    let (clock, supervisor) = (stage.clock(), maker.pid());
    let (from_ns, cpu_before, wakes_before) = (clock.now_ns(), cpu_ns(supervisor), wake_ups(supervisor));
    let (mut accepted, mut answered) = (0, 0);
    while clock.now_ns() - from_ns < span_ns {
        for worker in &maker.workers {
            worker.give(accepted).context("giving a task")?;
            accepted += 1;
            answered += usize::from(worker.take(accepted - 1).context("a result")?);
        }
    }
    let lasted_ns = (clock.now_ns() - from_ns) as f64;
    let used = cpu_ns(supervisor).zip(cpu_before).map(|(after, before)| (after - before) as f64);
    let wakes = wake_ups(supervisor).zip(wakes_before).map(|(after, before)| after - before);
    let percent = used.map(|used_ns| 100.0 * used_ns / lasted_ns);
    let cost = match (used, percent, wakes) {
        (Some(used), Some(percent), Some(wakes)) => {
            let (used, percent) = (with_unit("ns", used), three_digits(percent));
            format!("it woke {wakes} times and used {used}, which is {percent} % of a CPU")
        }
        _ => "what it used could not be read".to_owned(),
    };
    stage.note(format!(
        "While all is well, a supervisor in a process of its own expects a heartbeat every {}: while its workers did {} \
         tasks in {}, {cost}.",
        in_words(hung_after),
        count(answered as u64),
        with_unit("ns", lasted_ns),
    ));
    Ok((accepted, answered))
}

fn cpu_ns(pid: Pid) -> Option<i64> {
    let used = clock_gettime(ClockId::pid_cpu_clock_id(pid).ok()?).ok()?;
    Some(used.tv_sec() * 1_000_000_000 + used.tv_nsec())
}

/// How often it has gone to sleep, which is as often as it has woken.
fn wake_ups(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok())
}
