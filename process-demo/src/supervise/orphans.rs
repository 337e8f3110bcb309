//! What becomes of the workers when their parent is stopped, and when it is killed?

use std::hint::black_box;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use process_demo::asleep::{look_until, state_of};
use process_demo::child::{self, Child, Exit};
use process_demo::page::Page;
use process_demo::supervisor::{Event, Policy, Supervisor, WhenParentDies, Worker};
use shared::measure::SystemClock;
use shared::number::{chosen_with_unit, count, with_unit};
use shared::{Ruling, Stage};

use super::queue::{WORKERS, checksum};

const ENOUGH: u64 = 1_000; // So many tasks more, and a worker has gone on.
const DECLARED: [WhenParentDies; WORKERS] = [WhenParentDies::End, WhenParentDies::RunOn];
const HUNG_AFTER: Duration = Duration::from_secs(1); // The supervisor looks four times within it.
const AT_MOST_NS: u64 = 60_000_000_000; // A worker also ends if nobody is left to tell it.

/// What the workers of a supervisor in a process of its own share with this process.
struct Board {
    /// How many tasks each has done.
    done: [Page; WORKERS],
    /// Not zero once there is no more work.
    over: Page,
}

pub fn show(stage: &mut Stage) -> Result<Ruling> {
    stage.say("The parent of two more workers is stopped, and later killed.");
    stage.note(
        "One of the two is declared to end when its parent dies, the other to run on. The parent is stopped (SIGSTOP), goes \
         on, and is killed (SIGKILL). This process counts the tasks that they do, and inherits whoever is orphaned.",
    );
    set_child_subreaper(true).context("becoming the one who inherits orphans")?;
    let page = || Page::shared_by_fork().context("a shared page");
    let board = Board { done: [page()?, page()?], over: page()? };
    let clock = stage.clock();
    let life = || match supervise(&board, clock) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO) as u8,
    };
    // SAFETY: the child and its workers use the board by atomics, and memory of their own.
    let supervisor = unsafe { child::fork(life) }.context("forking a supervisor")?;
    let seen = stop_and_kill(stage, supervisor, &board);
    board.over.word().store(1, Relaxed);
    while waitpid(None, None).is_ok() {} // Whatever went wrong, nobody is left: a worker ends when it is over.
    seen
}

/// The supervisor's life.
fn supervise(board: &Board, clock: SystemClock) -> io::Result<()> {
    let until_ns = clock.now_ns() + AT_MOST_NS;
    let work = |worker: &Worker<'_>| {
        let done = board.done[worker.slot()].word();
        while worker.goes_on() && board.over.word().load(Relaxed) == 0 && clock.now_ns() < until_ns {
            black_box(checksum(done.load(Relaxed) as usize));
            done.fetch_add(1, Relaxed);
        }
        0
    };
    let policy = Policy { hung_after: HUNG_AFTER, ..Policy::default() };
    // SAFETY: as above.
    let mut supervisor = unsafe { Supervisor::new(policy, &DECLARED, work) }?;
    while let Some(event) = supervisor.next_event()? {
        if let Event::NotStarted { error, .. } = event {
            return Err(error.into()); // This machine refuses a process: nothing of the rest follows.
        }
    }
    Ok(())
}

fn stop_and_kill(stage: &mut Stage, supervisor: Child, board: &Board) -> Result<Ruling> {
    let (clock, pid) = (stage.clock(), supervisor.pid());
    let both_work = || board.done.iter().all(|done| done.word().load(Relaxed) > 0);
    until(clock, || Ok(both_work() || state_of(pid)? == 'Z'))?;
    if !both_work() {
        kill(pid, Signal::SIGTERM).context("ending the supervisor")?; // Perhaps it has ended already.
        let Exit::Code(why) = supervisor.wait()? else { bail!("a supervisor is gone") };
        return Err(Errno::from_raw(why)).context("starting a worker");
    }
    tell_cost(stage, pid)?;

    kill(pid, Signal::SIGSTOP).context("stopping the supervisor")?;
    let stopped = until(clock, || Ok(state_of(pid)? == 'T'))?;
    let while_stopped = board.done.each_ref().map(|done| more(done, clock));
    let still_stopped = state_of(pid)? == 'T';
    kill(pid, Signal::SIGCONT).context("continuing the supervisor")?;
    let says = "While their parent is stopped, both workers go on: 1,000 tasks or more each";
    let both_go_on = while_stopped.iter().all(|done| *done >= ENOUGH);
    stage.fact(says, stopped && still_stopped && both_go_on, while_stopped.map(count).join(" and ") + " done");

    kill(pid, Signal::SIGKILL).context("killing the supervisor")?;
    supervisor.wait()?;
    // Its workers are children of this process now: whichever ends is found here.
    let next_end = || {
        look_until(clock, || match waitpid(None, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => Ok(None),
            ended => Ok::<_, Errno>(Some(ended)),
        })
    };
    let end = next_end();
    let ended = matches!(end, Ok(Some(WaitStatus::Signaled(_, Signal::SIGKILL, _))));
    let got = if ended { "ended by SIGKILL".to_owned() } else { format!("{end:?}") };
    stage.fact("When SIGKILL ends the parent, the kernel ends the worker declared to end with it", ended, got);
    let after_death = more(&board.done[1], clock);
    board.over.word().store(1, Relaxed);
    let adopted = matches!(next_end(), Ok(Some(WaitStatus::Exited(_, 0))));
    let parent = if adopted { "this process" } else { "somebody else" };
    let says = "The worker declared to run on does as many more, as a child of whoever inherits orphans";
    let got = format!("{} done, waited for by {parent}", count(after_death));
    stage.fact(says, after_death >= ENOUGH && adopted, got);
    Ok(judge(while_stopped, after_death))
}

fn judge(while_stopped: [u64; WORKERS], after_death: u64) -> Ruling {
    let because = format!(
        "Two workers did {} tasks while their parent was stopped; one did {} after its parent was killed",
        count(while_stopped.iter().sum()),
        count(after_death)
    );
    match (while_stopped.iter().all(|done| *done >= ENOUGH), after_death >= ENOUGH) {
        (true, true) => Ruling::holds(because),
        (true, false) => Ruling::except("after its parent's death", because),
        (false, true) => Ruling::except("while its parent is stopped", because),
        (false, false) => Ruling::refuted(because),
    }
}

/// How many tasks a worker does from now on, until these are enough, or in ten seconds.
fn more(done: &Page, clock: SystemClock) -> u64 {
    let before = done.word().load(Relaxed);
    let more = || done.word().load(Relaxed) - before;
    let _ = until(clock, || Ok(more() >= ENOUGH));
    more()
}

fn until(clock: SystemClock, mut reached: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
    Ok(look_until(clock, || Ok::<_, io::Error>(reached()?.then_some(())))?.is_some())
}

/// What does a supervisor need while all is well?
fn tell_cost(stage: &mut Stage, supervisor: Pid) -> Result<()> {
    let (clock, span_ns) = (stage.clock(), stage.by_effort(500, 2_000, 5_000) * 1_000_000);
    let cpu = || -> Result<_> { Ok(Duration::from(clock_gettime(ClockId::pid_cpu_clock_id(supervisor)?)?)) };
    let (from_ns, before) = (clock.now_ns(), cpu()?);
    until(clock, || Ok(clock.now_ns() - from_ns >= span_ns))?;
    let used = with_unit("ns", (cpu()? - before).as_nanos() as f64);
    let span = chosen_with_unit("ns", span_ns as f64);
    stage.note(format!(
        "While all is well, the supervisor looks for heartbeats four times a second, and uses {used} of a CPU in {span}."
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    #[test]
    fn every_verdict_can_come_out() {
        let cases = [
            ([1_000, 1_001], 1_000, Verdict::Holds),
            ([1_000, 1_001], 999, Verdict::Qualified),
            ([1_000, 0], 1_000, Verdict::Qualified),
            ([999, 0], 0, Verdict::Refuted),
        ];
        for (while_stopped, after_death, verdict) in cases {
            assert_eq!(judge(while_stopped, after_death).verdict, verdict);
        }
    }
}
