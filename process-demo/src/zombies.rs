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
use shared::{Claim, Demo, Extras, Snippet, Stage, Verdict};

use dead::Dead;
use management::Management;
use orphan::Orphans;
use reuse::Reuse;

pub const DEMO: Demo = Demo {
    name: "zombies",
    question: "Who may wait for whom, and what becomes of those nobody waits for?",
    claims: &[Claim::OwnPid, Claim::RunsIndependently, Claim::ManagementDiffers],
    rule: "An own pid is refuted if a living process gets the number that another still has; it is qualified if a number \
           stays taken after its program has ended, or is given again; else it holds. Running independently is refuted \
           if an orphan does not go on; it is qualified if the orphans go on, but one that had asked for it ended with \
           its maker; else it holds. Of five acts (wait for, stop, prioritise, limit, end), those count that reach one \
           process alone, tried by its parent. Management differs if at least half of them do not reach one thread \
           alone, tried by another of its process; it is qualified if fewer do not; refuted if all do; undecided if \
           none could be tried.",
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
    judge_pid(stage, &dead, &reuse)?;
    judge_independence(stage, &orphans, asked_ended)?;
    judge_management(stage, &management)?;
    stage.answer(format!(
        "Of {} kinds of others that tried, {} could wait for a process: {}. Until that one does, a dead process holds its \
         number and its exit status, and none of its {}; {} of {} orphans worked on, with a new parent to wait for them.",
        management.tried,
        management.waiters.len(),
        if management.waiters.is_empty() { "nobody".to_owned() } else { management.waiters.join(", ") },
        with_unit("bytes", dead.freed_bytes as f64),
        orphans.went_on,
        orphans.made,
    ));
    Ok(())
}

fn judge_pid(stage: &mut Stage, dead: &Dead, reuse: &Reuse) -> Result<()> {
    let (shared, again) = match reuse {
        Reuse::Forced { kept_from_the_living, given_again } => (!kept_from_the_living, *given_again),
        Reuse::ByLuck { given_again, .. } => (false, *given_again),
    };
    let after = match reuse {
        Reuse::Forced { given_again: true, .. } => "another process had it right after that".to_owned(),
        Reuse::ByLuck { forks, given_again: true } => format!("another process had it {forks} forks later"),
        Reuse::Forced { .. } => "no other process had it after that".to_owned(),
        Reuse::ByLuck { forks, .. } => format!("it was not given again in {forks} forks"),
    };
    let (verdict, because) = match (shared, dead.kept_number) {
        (true, _) => (Verdict::Refuted, "a living process had the number of another that still had it".to_owned()),
        (false, true) => {
            (Verdict::Qualified, format!("the number outlived the program, until the dead was waited for; {after}"))
        }
        (false, false) if again => (Verdict::Qualified, after),
        (false, false) => (Verdict::Holds, format!("the number was free as soon as the program had ended; {after}")),
    };
    stage.verdict(Claim::OwnPid, verdict, because)
}

fn judge_independence(stage: &mut Stage, orphans: &Orphans, asked_ended: bool) -> Result<()> {
    let Orphans { made, went_on } = orphans;
    let because = format!("{went_on} of {made} orphans worked on after their parent's end");
    let (verdict, because) = match (went_on == made, asked_ended) {
        (false, _) => (Verdict::Refuted, because),
        (true, true) => {
            (Verdict::Qualified, format!("{because}, but one that had asked for a signal ended with its maker"))
        }
        (true, false) => (Verdict::Holds, because),
    };
    stage.verdict(Claim::RunsIndependently, verdict, because)
}

fn judge_management(stage: &mut Stage, management: &Management) -> Result<()> {
    let (acts, differ) = (management.of_process.len(), &management.not_of_thread);
    let verdict = match (acts, differ.len()) {
        (0, _) => Verdict::Undecided,
        (_, 0) => Verdict::Refuted,
        (acts, differ) if 2 * differ >= acts => Verdict::Holds,
        _ => Verdict::Qualified,
    };
    let which = if differ.is_empty() { String::new() } else { format!(": {}", differ.join(", ")) };
    let because =
        format!("{} of {acts} acts that reach one process alone do not reach one thread alone{which}", differ.len());
    stage.verdict_by(Claim::ManagementDiffers, verdict, because, differ.len() as f64, "acts")
}
