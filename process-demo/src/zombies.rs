//! Who may wait for whom, and what becomes of those nobody waits for?

mod dead;
mod death_signal;
mod management;
mod namespace;
mod orphan;
mod reuse;
mod sight;

use anyhow::{Context, Result};
use nix::sys::prctl::set_child_subreaper;
use nix::unistd::getpid;
use process_demo::pidfd::PidFd;
use shared::number::with_unit;
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage};

use dead::Dead;
use management::Management;
use orphan::Orphans;
use reuse::Reuse;

pub const DEMO: Demo = Demo {
    name: "zombies",
    question: "Who may wait for whom, and what becomes of those nobody waits for?",
    claims: &[Claim::OwnPid, Claim::RunsIndependently, Claim::ManagementDiffers],
    rule: "An own pid is refuted if a living process gets a pid that another still has; it holds with an exception if a pid \
           outlives its program or is given again. Running independently is refuted if an orphan does not go on; it holds \
           except for a child that asked for a signal, if its parent's end ended it. Else both hold. Of five acts (wait \
           for, stop, prioritise, limit, end), those count by which a parent reaches one process alone. Management differs \
           if at least half of them do not reach one thread alone; in part if fewer; refuted if all do; undecided if none \
           could be tried.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/pidfd.rs", text: include_str!("../snippets/pidfd.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    PidFd::open(getpid()).context("pidfd_open")?; // Refused, it skips all this before anything is made.
    set_child_subreaper(true).context("becoming a subreaper")?; // The orphans made here stay here, and are waited for.
    let dead = dead::show(stage)?;
    let orphans = orphan::show(stage)?;
    let asked_ended = death_signal::show(stage)?;
    let reuse = reuse::show(stage)?;
    let management = management::show(stage)?;
    stage.rule(Claim::OwnPid, judge_pid(&dead, &reuse))?;
    stage.rule(Claim::RunsIndependently, judge_independence(&orphans, asked_ended))?;
    stage.rule(Claim::ManagementDiffers, judge_management(&management))?;
    stage.note(format!(
        "{} of {} orphans worked on, with a new parent to wait for them.",
        orphans.went_on, orphans.made
    ));
    let (waiters, tried) = (management.waiters.as_slice(), management.tried);
    let name = if let [one] = waiters { format!(": {one}") } else { String::new() };
    stage.headline(format!("{} of {tried} can reap a zombie{name}", waiters.len()));
    stage.answer(format!(
        "Of {tried} who tried, {} could wait for a process{name}. Until then a dead process {} its pid and exit status, \
         but none of its {}.",
        waiters.len(),
        if dead.kept_number { "keeps" } else { "does not keep" },
        with_unit("bytes", dead.freed_bytes as f64),
    ));
    stage.advise("Wait for every child, and signal it by descriptor: copy `pidfd`.");
    Ok(())
}

fn judge_pid(dead: &Dead, reuse: &Reuse) -> Ruling {
    let (shared, again) = match reuse {
        Reuse::Forced { kept_from_the_living, given_again } => (!kept_from_the_living, *given_again),
        Reuse::ByLuck { given_again, .. } => (false, *given_again),
    };
    let after = match reuse {
        Reuse::Forced { given_again: true, .. } => "The next process got the pid right after that".to_owned(),
        Reuse::ByLuck { forks, given_again: true } => format!("Another process got the pid {forks} forks later"),
        Reuse::Forced { .. } => "The next process did not get the pid after that".to_owned(),
        Reuse::ByLuck { forks, .. } => format!("The pid was not given again in {forks} forks"),
    };
    match (shared, dead.kept_number) {
        (true, _) => Ruling::refuted("A living process got the pid of another that still had it"),
        (false, true) => Ruling::except("that a dead process keeps its pid until its parent waits for it", after),
        (false, false) if again => Ruling::except("that another process can get the pid later", after),
        (false, false) => Ruling::holds("The pid was free as soon as the program had ended"),
    }
}

fn judge_independence(orphans: &Orphans, asked_ended: bool) -> Ruling {
    let Orphans { made, went_on } = orphans;
    let because = format!("{went_on} of {made} orphans worked on after their parent's end");
    match (went_on == made, asked_ended) {
        (false, _) => Ruling::refuted(because),
        (true, true) => Ruling::except("a child that has asked for a signal when its parent ends", because),
        (true, false) => Ruling::holds(because),
    }
}

fn judge_management(management: &Management) -> Ruling {
    let (acts, differ) = (management.of_process.len(), management.not_of_thread.len());
    let which = management.not_of_thread.join(", ");
    let because =
        format!("Of {acts} acts that reach one process alone, {differ} do not reach one thread alone: {which}");
    let ruling = match (acts, differ) {
        (0, _) => Ruling::undecided("No act could be tried that reaches one process alone"),
        (_, 0) => Ruling::refuted(format!("All {acts} acts that reach one process alone reach one thread alone too")),
        (acts, differ) if 2 * differ >= acts => Ruling::holds(because),
        _ => Ruling::in_part(format!("true of {differ} of {acts} acts"), because),
    };
    ruling.by(differ as f64, "acts")
}
