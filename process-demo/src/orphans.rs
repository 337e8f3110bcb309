//! What becomes of a process whose parent ends?

use std::panic::resume_unwind;
use std::thread::yield_now;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::{set_child_subreaper, set_pdeathsig};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};
use process_demo::child::Exit;
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply};
use process_demo::pidfd::PidFd;
use shared::{Cell, Claim, Demo, Extras, Ruling, Snippet, Stage, Table};

use crate::family::{self, become_process_one, go_on_as_child};

pub const DEMO: Demo = Demo {
    name: "orphans",
    question: "What becomes of a process whose parent ends?",
    claims: &[Claim::RunsIndependently],
    rule: "The claim is refuted if an orphan does not work on after its parent's end. It holds except for a child that has \
           asked for a signal, if the end of the thread that forked one ended it. Else it holds.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/pidfd.rs", text: include_str!("../snippets/pidfd.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    PidFd::open(getpid()).context("pidfd_open")?; // Refused, it skips all this before anything is made.
    set_child_subreaper(true).context("becoming a subreaper")?; // The orphans made here stay here, and are waited for.
    let fates = show_orphans(stage)?;
    let asked_ended = end_a_thread_that_forked(stage)?;
    let (made, went_on) = (fates.len(), fates.iter().filter(|fate| fate.works_on).count());
    stage.rule(Claim::RunsIndependently, judge(made, went_on, asked_ended))?;
    let parents: Vec<&str> = fates.iter().map(|fate| fate.new_parent.as_str()).collect();
    stage.headline(format!("{went_on} of {made} orphans outlived their parent"));
    stage.answer(format!(
        "{went_on} of {made} orphans worked on after their parent's end, each with a new parent: {}.",
        parents.join(", ")
    ));
    stage.advise("Want no orphans? `child` makes children that end with their parent.");
    Ok(())
}

fn judge(made: usize, went_on: usize, asked_ended: bool) -> Ruling {
    let because = format!("{went_on} of {made} orphans worked on after their parent's end");
    match (went_on == made, asked_ended) {
        (false, _) => Ruling::refuted(because),
        (true, true) => Ruling::except("a child that has asked for a signal when its parent ends", because),
        (true, false) => Ruling::holds(because),
    }
}

/// What became of an orphan.
struct Fate {
    grandparent: &'static str,
    new_parent: String,
    works_on: bool,
    /// Its new parent got its exit status.
    waited_for: bool,
    /// Who else tried to, and what came of it.
    other: String,
}

/// What the grandparent does before it has a child.
type Prepare = fn() -> Result<()>;

/// The grandparents, and who adopts the orphan then.
const GRANDPARENTS: [(&str, Prepare, &str); 3] = [
    ("no subreaper", || Ok(()), THIS),
    ("a subreaper", || Ok(set_child_subreaper(true)?), "its grandparent"),
    ("process 1 of a namespace", become_process_one, "process 1"),
];

const THIS: &str = "this program";

fn show_orphans(stage: &mut Stage) -> Result<Vec<Fate>> {
    stage.note(
        "A process makes a child, the child makes one too, and ends. Its own child is an orphan: from now on somebody \
         else is its parent. It tells who, and works on. This program is a subreaper.",
    );
    let mut fates = Vec::new();
    for (grandparent, prepare, _) in GRANDPARENTS {
        match family::tried(bereave(grandparent, prepare))? {
            Ok(fate) => fates.push(fate),
            Err(why) => stage.note(format!("An orphan whose grandparent is {grandparent} was not tried: {why}.")),
        }
        family::wait_for_the_adopted(stage.clock())?;
    }
    let yes_or_no = |yes| if yes { Cell::good("yes") } else { Cell::bad("no") };
    let row = |fate: &Fate| {
        let (parent, other) = (fate.new_parent.as_str().into(), fate.other.as_str().into());
        vec![fate.grandparent.into(), parent, yes_or_no(fate.works_on), yes_or_no(fate.waited_for), other]
    };
    let columns = ["its grandparent is", "new parent", "works on", "waits for it", "who else tries to wait"];
    stage.show(Table::new("Who adopts an orphan", columns, fates.iter().map(row)));
    let got: Vec<&str> = fates.iter().map(|fate| fate.new_parent.as_str()).collect();
    let is_nearest = |fate: &Fate| {
        GRANDPARENTS
            .iter()
            .any(|(grandparent, _, adopts)| (*grandparent, *adopts) == (fate.grandparent, &fate.new_parent))
    };
    let says = "An orphan's new parent is its nearest ancestor that is a subreaper, not its grandparent as such";
    stage.fact(says, fates.iter().all(is_nearest), got.join(", "));
    let [went_on, waited_for] = [|fate: &&Fate| fate.works_on, |fate: &&Fate| fate.waited_for];
    let (went_on, waited_for) = (fates.iter().filter(went_on).count(), fates.iter().filter(waited_for).count());
    let says = "An orphan goes on when its parent dies, and its new parent can wait for it";
    let got = format!("{went_on} of {} answered, {waited_for} were waited for", fates.len());
    stage.fact(says, went_on == fates.len() && waited_for == fates.len(), got);
    Ok(fates)
}

/// Bereaves a worker of its parent, whose own parent was prepared.
fn bereave(grandparent: &'static str, prepare: Prepare) -> Result<Fate> {
    let mut crew = Crew::of(Kind::Processes, 1, || prepare().and_then(|()| become_orphan()))?;
    let works_on = crew.ask(0, |_, [number, ..]| Ok(2 * number), [21, 0, 0])? == Reply::Done(42);
    let parent = crew.ask(0, |_, _| Ok(getppid().as_raw() as u64), NOTHING)?.value()?;
    let its_grandparent = crew.ask(0, |grandparent, _| Ok(grandparent.as_raw() as u64), NOTHING)?.value()?;
    let by_grandparent = match crew.ask(0, |_, _| Ok(raise(Signal::SIGKILL).map(|()| 0)?), NOTHING)? {
        Reply::Gone(Exit::Code(0)) => Ok(()),
        Reply::Gone(Exit::Code(number)) => Err(Errno::from_raw(number)),
        reply => return reply.value().and(Err(Errno::EINVAL.into())),
    };
    let here = waitpid(None, None).map(drop); // The grandparent is waited for: if there is a child, it is the orphan.
    let shown = |got: Result<(), Errno>| got.map_or_else(|errno| format!("{errno:?}"), |()| "waits too".to_owned());
    let (new_parent, waited_for, other) = match parent {
        _ if parent == getpid().as_raw() as u64 => {
            (THIS.to_owned(), here.is_ok(), format!("its grandparent: {}", shown(by_grandparent)))
        }
        _ if parent == its_grandparent => {
            let name = if parent == 1 { "process 1" } else { "its grandparent" };
            (name.to_owned(), by_grandparent.is_ok(), format!("{THIS}: {}", shown(here)))
        }
        stranger => (format!("process {stranger}"), false, String::new()),
    };
    Ok(Fate { grandparent, new_parent, works_on, waited_for, other })
}

/// Goes on as an orphan, whose grandparent is the calling process, and returns that one's pid. That one waits until a child
/// of its child is its own, and has ended; it exits with the error's number, or zero.
fn become_orphan() -> Result<Pid> {
    let grandparent = getpid();
    go_on_as_child(|parent| {
        let waited = waitpid(parent, None); // From now on the orphan has another parent.
        waited.and_then(|_| waitpid(None, None)).map_or_else(|errno| errno as u8, |_| 0)
    })?;
    let parent = getpid();
    go_on_as_child(|_| 0)?;
    while getppid() == parent {
        yield_now(); // All that the parent does is to end.
    }
    Ok(grandparent)
}

/// Says whether a child that had asked for the signal ended with the thread that forked it, and with nothing else.
fn end_a_thread_that_forked(stage: &mut Stage) -> Result<bool> {
    stage.note(
        "Each of two threads of a process forks a child, which asks to get SIGKILL when its parent dies. Then one of the \
         threads ends. The process does not.",
    );
    let bear = |(): &mut (), _: Arguments| {
        // SAFETY: this process has several threads, so the child keeps to calls that are async-signal-safe: prctl, raise
        // and _exit. That is also why process_demo::child is not used: it refuses a process with several threads.
        match unsafe { fork() }.context("forking")? {
            ForkResult::Child if set_pdeathsig(Signal::SIGKILL).is_ok() => loop {
                let _ = raise(Signal::SIGSTOP); // So its parent sees that it has asked. A stop is no shelter from SIGKILL.
            },
            // SAFETY: it ends the child without running anything of it.
            ForkResult::Child => unsafe { libc::_exit(1) },
            ForkResult::Parent { child } => match waitpid(child, Some(WaitPidFlag::WUNTRACED))? {
                WaitStatus::Stopped(..) => Ok(child.as_raw() as u64),
                _ => Err(Errno::EPERM).context("asking for a signal at the parent's end"),
            },
        }
    };
    let mut crew = Crew::of(Kind::Threads, 2, || Ok(()))?;
    let first = crew.ask(0, bear, NOTHING)?.value()?;
    let second = crew.ask(1, bear, NOTHING)?.value()?;
    let was_killed = |(): &mut (), [child, seconds, _]: Arguments| {
        let child = PidFd::open(Pid::from_raw(child as i32))?;
        let end = child.wait_for(Duration::from_secs(seconds))?;
        Ok(matches!(end, Some(WaitStatus::Signaled(_, Signal::SIGKILL, _))).into())
    };
    let too_early = crew.ask(1, was_killed, [first, 0, 0])?.value()? == 1;
    crew.ask(0, |(), _| resume_unwind(Box::new(())), NOTHING)?; // A panic without a message: it ends the thread.
    // Ten seconds are only a bound: the kernel sends the signal as the thread ends.
    let killed = !too_early && crew.ask(1, was_killed, [first, 10, 0])?.value()? == 1;
    let spared = crew.ask(1, was_killed, [second, 0, 0])?.value()? == 0;
    let got = format!(
        "the child of the thread that ended {}, the other's {}",
        if killed { "was killed" } else { "was not killed by it" },
        if spared { "lived" } else { "was dead" }
    );
    let says = "A parent-death signal comes when the thread that forked ends, though its process goes on";
    let holds = stage.fact(says, killed && spared, got);
    if holds {
        stage.note("So a program that forks such children from a pool's thread loses them when the pool shrinks.");
    }
    drop(crew);
    family::wait_for_the_adopted(stage.clock())?; // The other child ends with its process.
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    #[test]
    fn an_orphan_that_ends_refutes_it_and_a_signal_that_was_asked_for_qualifies_it() {
        let verdict = |made, went_on, asked_ended| judge(made, went_on, asked_ended).verdict;
        assert_eq!(verdict(3, 2, true), Verdict::Refuted);
        assert_eq!(verdict(2, 2, true), Verdict::Qualified);
        assert_eq!(verdict(3, 3, false), Verdict::Holds);
    }
}
