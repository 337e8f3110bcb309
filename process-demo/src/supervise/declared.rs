//! What becomes of the workers when their parent is stopped, and when it is killed?

use anyhow::Result;
use nix::errno::Errno;
use nix::sched::sched_yield;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use process_demo::child::Exit;
use process_demo::supervisor::{Policy, WhenMakerDies};
use shared::Stage;
use shared::measure::SystemClock;
use shared::number::count;

use super::maker::{Maker, state_and_parent};
use super::pieces::Pieces;

/// What was seen, in short.
pub struct Declared {
    /// How many tasks each worker was given in each act.
    pub tasks: usize,
    /// Tasks that the two workers did while their maker was stopped.
    pub while_stopped: usize,
    /// Tasks that the one declared to run on did after its maker's death.
    pub after_death: usize,
}

const DECLARED: [WhenMakerDies; 2] = [WhenMakerDies::End, WhenMakerDies::RunOn];

pub fn show(stage: &mut Stage, pieces: &Pieces) -> Result<Declared> {
    let tasks = stage.by_effort(100, 1_000, 10_000);
    stage.say("The parent of two more workers is stopped, and later killed.");
    stage.note(
        "One of the two is declared to end when its parent dies, the other to run on. The parent is stopped (SIGSTOP), goes \
         on, and is killed (SIGKILL). This process gives the tasks, and inherits whoever is orphaned.",
    );
    let mut maker = Maker::start(Policy::default(), &DECLARED, pieces)?;
    let while_stopped = stop(stage, &maker, tasks)?;
    let after_death = kill(stage, &mut maker, tasks)?;
    Ok(Declared { tasks, while_stopped, after_death })
}

fn stop(stage: &mut Stage, maker: &Maker<'_>, tasks: usize) -> Result<usize> {
    let stopped = maker.stop()?;
    let done: Vec<usize> = maker.workers.iter().map(|worker| worker.does(0..tasks)).collect();
    let still_stopped = state_and_parent(maker.pid()).is_some_and(|(state, _)| state == 'T');
    maker.go_on()?;
    let got = done.iter().map(|done| count(*done as u64)).collect::<Vec<_>>().join(" and ");
    let says = format!("While their parent is stopped, both workers go on: {} tasks each", count(tasks as u64));
    stage.fact(says, stopped && still_stopped && done == [tasks; 2], format!("{got} done"));
    Ok(done.iter().sum())
}

fn kill(stage: &mut Stage, maker: &mut Maker<'_>, tasks: usize) -> Result<usize> {
    maker.send(Signal::SIGKILL)?;
    let killed = maker.end()?;
    let clock = stage.clock();
    let [to_end, to_run_on] = maker.workers.as_mut_slice() else { anyhow::bail!("not two workers") };
    let end = end_of(to_end.pid, clock);
    let ended = end == Some(WaitStatus::Signaled(to_end.pid, Signal::SIGKILL, false));
    let got = if ended { "ended by SIGKILL".to_owned() } else { format!("{end:?}") };
    let says = "When SIGKILL ends the parent, the kernel ends the worker declared to end with it";
    stage.fact(says, ended && killed == Exit::Signal(Signal::SIGKILL), got);
    let after_death = to_run_on.does(0..tasks);
    let adopted = state_and_parent(to_run_on.pid).is_some_and(|(_, parent)| parent == getpid());
    let parent = if adopted { "this process" } else { "somebody else" };
    let says = "The worker declared to run on does as many more, as a child of whoever inherits orphans";
    stage.fact(
        says,
        after_death == tasks && adopted,
        format!("{} done, its parent is {parent}", count(after_death as u64)),
    );
    to_run_on.leave_alone();
    let finished = end_of(to_run_on.pid, clock) == Some(WaitStatus::Exited(to_run_on.pid, 0));
    let left = [to_end.pid, to_run_on.pid].into_iter().filter(|pid| state_and_parent(*pid).is_some()).count();
    let none = waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD);
    let says = "Without more tasks it ends by itself, and no orphan or zombie is left";
    stage.check(says, finished && none && left == 0, format!("{left} of 2 in /proc, no child left: {none}"));
    Ok(after_death)
}

/// Reaps an inherited child; none if it has not ended within a time that is only a bound.
fn end_of(pid: Pid, clock: SystemClock) -> Option<WaitStatus> {
    const PATIENCE_NS: u64 = 5_000_000_000;
    let until_ns = clock.now_ns() + PATIENCE_NS;
    while clock.now_ns() < until_ns {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => _ = sched_yield(), // Lets it end, on one CPU too.
            Ok(status) => return Some(status),
            Err(_) => return None, // Not a child of this process.
        }
    }
    None
}
