//! What does a dead process keep until its parent waits for it?

mod reuse;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid};
use process_demo::asleep::{look_until, state_of};
use process_demo::child::Exit;
use process_demo::crew::{Crew, Kind, NOTHING, Reply};
use process_demo::memory_of;
use process_demo::pidfd::PidFd;
use shared::measure::SystemClock;
use shared::number::{chosen_with_unit, with_unit};
use shared::{Cell, Claim, Column, Demo, Extras, Ruling, Snippet, Stage, Table, Tried};

use reuse::Reuse;

pub const DEMO: Demo = Demo {
    name: "zombies",
    question: "What does a dead process keep until its parent waits for it?",
    claims: &[Claim::OwnPid],
    rule: "The claim is refuted if a living process gets a pid that another still has. Else it holds with an exception if a \
           dead process keeps its pid until its parent waits for it, or if another process gets the pid later; and \
           without one if neither was seen. Where this machine lets nobody choose a pid, no other process is tried.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/pidfd.rs", text: include_str!("../snippets/pidfd.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

const CODE: i32 = 42;
const HELD_BYTES: usize = 16 << 20; // More than the program itself has resident, so that it is seen to go.

fn run(stage: &mut Stage) -> Result<()> {
    PidFd::open(getpid()).context("pidfd_open")?; // Refused, it skips all this before anything is made.
    set_child_subreaper(true).context("becoming a subreaper")?; // Whatever loses its parent here is waited for here.
    stage.note(format!(
        "A child fills {} and then ends by itself, with exit code {CODE}. Its parent knows, but does not wait for it.",
        chosen_with_unit("bytes", HELD_BYTES as f64)
    ));
    let death = live_and_die(stage.clock())?;
    show_what_is_left(stage, &death);
    tell_facts(stage, &death);
    let reuse = reuse::show(stage)?;
    let (ruling, after) = judge(death.zombie.pid_taken, &reuse);
    stage.rule(Claim::OwnPid, ruling)?;
    let things = [
        ("memory", death.zombie.resident_bytes.is_some()),
        ("descriptors", !death.closed),
        ("pid", death.zombie.pid_taken),
        ("exit status", death.status_kept()),
    ];
    let kept: Vec<&str> = things.into_iter().filter_map(|(name, kept)| kept.then_some(name)).collect();
    let (count, names) = (kept.len(), kept.join(", "));
    stage.headline(format!("{count} of {} stay: {names}", things.len()));
    stage.answer(format!(
        "Of {} things a dead process keeps {count} until its parent waits for it: {names}. {after}.",
        things.len(),
    ));
    stage.advise("Wait for every child, and signal it by descriptor: copy `pidfd`.");
    Ok(())
}

/// What is known of a process at one moment.
struct Look {
    state: char,
    resident_bytes: Option<u64>,
    /// None if this process may not know.
    descriptors: Option<usize>,
    pid_taken: bool,
}

fn look(pid: Pid) -> Result<Look> {
    Ok(Look {
        state: state_of(pid)?,
        resident_bytes: memory_of::of(pid).ok().map(|memory| memory.rss_bytes),
        descriptors: std::fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count),
        pid_taken: kill(pid, None).is_ok(),
    })
}

/// What was seen of a process, in this order.
struct Death {
    alive: Look,
    zombie: Look,
    /// Its status, looked at and not taken.
    status: WaitStatus,
    /// The socket between it and its parent has ended.
    closed: bool,
    after_sigkill: char,
    /// Its status, taken.
    exit: Exit,
    /// Its pid is taken after that.
    still_there: bool,
    again: nix::Result<WaitStatus>,
}

impl Death {
    fn status_kept(&self) -> bool {
        matches!(self.status, WaitStatus::Exited(_, CODE))
    }
}

fn live_and_die(clock: SystemClock) -> Result<Death> {
    let mut crew = Crew::of(Kind::Processes, 1, || Ok(vec![7_u8; HELD_BYTES]))?;
    let pid = crew.pid(0).context("the child has ended")?;
    let descriptor = PidFd::open(pid).context("pidfd_open")?;
    look_until(clock, || state_of(pid).map(|state| (state == 'S').then_some(())))?
        .context("it does not fall asleep")?;
    let alive = look(pid)?;
    // SAFETY: it ends the process without running anything of it.
    crew.tell(0, |_, _| unsafe { libc::_exit(CODE) }, NOTHING);
    // Waits for the end without taking it: from now on, and as long as nobody waits for it, it is a zombie.
    let status = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).context("waitid")?;
    let (zombie, closed) = (look(pid)?, crew.is_over(0)?);
    kill(pid, Signal::SIGKILL).context("killing a zombie")?;
    let after_sigkill = state_of(pid)?;
    let Reply::Gone(exit) = crew.hear(0)? else { bail!("a child answered instead of ending") };
    let still_there = descriptor.signal(None).is_ok(); // Its pid may be a stranger's by now: only the descriptor tells.
    let again = waitpid(pid, None); // No other child lives that could have the number.
    Ok(Death { alive, zombie, status, closed, after_sigkill, exit, still_there, again })
}

fn show_what_is_left(stage: &mut Stage, death: &Death) {
    let pid = |taken| if taken { "taken" } else { "free" };
    let row = |moment: &str, look: &Look, status| {
        let memory = look.resident_bytes.map_or("none".into(), Cell::from);
        let descriptors = look.descriptors.map_or("not shown".into(), Cell::from);
        vec![moment.into(), look.state.to_string().into(), memory, descriptors, pid(look.pid_taken).into(), status]
    };
    let taken = format!("{}, taken", death.exit).into();
    let rows = [
        row("alive", &death.alive, Cell::Nothing),
        row("dead, not waited for", &death.zombie, format!("{}, kept", told_by(death.status)).into()),
        vec!["waited for".into(), "none".into(), Cell::Nothing, Cell::Nothing, pid(death.still_there).into(), taken],
    ];
    let columns = ["the child", "state", "memory", "descriptors", "pid", "exit status"];
    let columns = columns.map(|name| Column::value(name, if name == "memory" { "bytes" } else { "" }));
    stage.show(Table::new("What is left of a process", columns, rows));
}

fn tell_facts(stage: &mut Stage, death: &Death) {
    let Death { alive, zombie, status, closed, after_sigkill, exit, still_there, again } = death;
    let state = zombie.state;
    let says = "A dead process that nobody has waited for, a zombie, keeps its pid and its exit status";
    let kept = state == 'Z' && zombie.pid_taken && death.status_kept();
    stage.fact(says, kept, format!("state {state}, {}", told_by(*status)));
    let size = |bytes: Option<u64>| bytes.map_or("none".to_owned(), |bytes| with_unit("bytes", bytes as f64));
    let freed = alive.resident_bytes.is_some_and(|bytes| bytes >= HELD_BYTES as u64) && zombie.resident_bytes.is_none();
    let got = format!(
        "{} resident before, {} after; its socket {}",
        size(alive.resident_bytes),
        size(zombie.resident_bytes),
        if *closed { "is closed" } else { "is still open" }
    );
    stage.fact("A zombie's memory is gone, and its descriptors are closed", freed && *closed, got);
    let waited_again = again.map_or_else(|error| format!("{error:?}"), told_by);
    let got = format!("state {after_sigkill} after SIGKILL, then {exit}; waiting again: {waited_again}");
    let once = *exit == Exit::Code(CODE) && *again == Err(Errno::ECHILD) && !still_there;
    let says = "SIGKILL does not remove a zombie; waiting does, and gets the exit status once";
    stage.fact(says, *after_sigkill == 'Z' && once, got);
}

fn told_by(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exit code {code}"),
        other => format!("{other:?}"),
    }
}

/// The ruling, and what became of the pid.
fn judge(kept_by_the_dead: bool, reuse: &Tried<Reuse>) -> (Ruling, &'static str) {
    let Reuse { given_twice, given_again } =
        *reuse.as_ref().unwrap_or(&Reuse { given_twice: false, given_again: false });
    let after = match given_again {
        _ if reuse.is_err() => "Whether the pid is given again was not tried",
        true => "The next process got the pid right after that",
        false => "The next process did not get the pid after that",
    };
    let ruling = match (given_twice, kept_by_the_dead) {
        (true, _) => Ruling::refuted("A living process got the pid of another that still had it"),
        (false, true) => Ruling::except("that a dead process keeps its pid until its parent waits for it", after),
        (false, false) if given_again => Ruling::except("that another process can get the pid later", after),
        (false, false) => Ruling::holds("The pid was free as soon as the program had ended"),
    };
    (ruling, after)
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    #[test]
    fn a_pid_that_two_have_refutes_it_and_one_that_is_kept_or_given_again_qualifies_it() {
        let verdict = |kept, given_twice, given_again| judge(kept, &Ok(Reuse { given_twice, given_again })).0.verdict;
        assert_eq!(verdict(true, true, true), Verdict::Refuted);
        assert_eq!(verdict(true, false, true), Verdict::Qualified);
        assert_eq!(verdict(false, false, true), Verdict::Qualified);
        assert_eq!(verdict(false, false, false), Verdict::Holds);
        let (ruling, after) = judge(true, &Err("no namespace".to_owned()));
        assert_eq!((ruling.verdict, after), (Verdict::Qualified, "Whether the pid is given again was not tried"));
    }
}
