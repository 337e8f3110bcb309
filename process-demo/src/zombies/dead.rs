//! What has a dead process given back before its parent waits for it, and what does it still hold?

use std::hint::black_box;
use std::io::{self, Read, Write};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use process_demo::child::{self, Exit};
use process_demo::pidfd::PidFd;
use shared::measure::SystemClock;
use shared::number::{chosen_with_unit, with_unit};
use shared::{Cell, Column, Mood, Stage, Table};

use super::sight::{descriptors, look_until, resident_bytes, state};

/// What was seen, in short.
pub struct Dead {
    /// Its number was still taken, and its exit status still to be had.
    pub kept_number: bool,
    /// What was resident while it lived, and no longer when it was dead.
    pub freed_bytes: u64,
}

const CODE: u8 = 42;
const HELD_BYTES: usize = 16 << 20; // More than the program itself has resident, so that it is seen to go.

/// What is known of it at one moment; of nobody, nothing.
#[derive(Default)]
struct Look {
    state: Option<char>,
    resident_bytes: Option<u64>,
    descriptors: Option<usize>,
    number_taken: bool,
}

/// A life and what came after it, in the order in which it was.
struct Course {
    alive: Look,
    /// Dead, not waited for.
    zombie: Look,
    /// Its status, looked at and not taken.
    status: WaitStatus,
    pipe_ended: bool,
    /// Still a zombie after SIGKILL.
    unmoved: bool,
    /// Its status, taken.
    exit: Exit,
    gone: Look,
    again: nix::Result<WaitStatus>,
}

pub fn show(stage: &mut Stage) -> Result<Dead> {
    stage.note(format!(
        "A child fills {} and then ends by itself, with exit code {CODE}. Its parent knows, but does not wait for it.",
        chosen_with_unit("bytes", HELD_BYTES as f64)
    ));
    let Course { alive, zombie, status, pipe_ended, unmoved, exit, gone, again } = take_course(stage.clock())?;
    stage.show(table(&[
        ("alive", &alive, String::new()),
        ("dead, not waited for", &zombie, format!("{}, kept", told_by(status))),
        ("waited for", &gone, format!("{exit}, taken")),
    ]));
    let kept =
        zombie.state == Some('Z') && zombie.number_taken && told_by(status) == Exit::Code(CODE.into()).to_string();
    let got = format!("state {}, {}", letter(zombie.state), told_by(status));
    let says = "A dead process that nobody has waited for, a zombie, keeps its pid and its exit status";
    let kept_number = stage.fact(says, kept, got);
    let freed_bytes = alive.resident_bytes.unwrap_or(0);
    let got = format!(
        "{} resident before, {} after; its pipe {}",
        with_unit("bytes", freed_bytes as f64),
        zombie.resident_bytes.map_or("none".to_owned(), |bytes| with_unit("bytes", bytes as f64)),
        if pipe_ended { "has ended" } else { "is still open" }
    );
    // The kernel's figure is batched by CPU, so half of it is enough.
    let freed = freed_bytes >= HELD_BYTES as u64 / 2 && zombie.resident_bytes.is_none() && pipe_ended;
    stage.fact("A zombie's memory is gone, and its descriptors are closed", freed, got);
    let waited_again = again.map_or_else(|error| error.to_string(), told_by);
    let got =
        format!("state {} after SIGKILL, then {exit}; waiting again: {waited_again}", letter(unmoved.then_some('Z')));
    let once = exit == Exit::Code(CODE.into()) && again == Err(Errno::ECHILD) && !gone.number_taken;
    stage.fact("SIGKILL does not remove a zombie; waiting does, and gets the exit status once", unmoved && once, got);
    Ok(Dead { kept_number, freed_bytes })
}

fn take_course(clock: SystemClock) -> Result<Course> {
    let (mut told, mut teller) = io::pipe().context("a pipe")?;
    let (mut gate, mut opener) = io::pipe().context("a pipe")?;
    let live = move || {
        let held = vec![CODE; HELD_BYTES];
        let filled = black_box(&held).iter().all(|&byte| byte == CODE);
        let ready = teller.write_all(&[u8::from(filled)]);
        let ends = ready.and_then(|()| gate.read_exact(&mut [0])); // Lives until the parent writes a byte.
        if ends.is_ok() { CODE } else { 1 }
    };
    // SAFETY: the child uses two pipes and memory of its own; nothing here is in shared memory.
    let child = unsafe { child::fork(live) }.context("forking")?;
    let mut filled = [0];
    told.read_exact(&mut filled)?;
    ensure!(filled == [1], "the child's memory does not hold what it wrote");
    let pid = child.pid();
    let pidfd = PidFd::open(pid).context("pidfd_open")?;
    look_until(clock, || (state(pid) == Some('S')).then_some(())).context("the child does not fall asleep")?;
    let alive = look(pid);
    opener.write_all(&[0])?;
    // Waits for the end without taking it: the process stays what it is from now on, a zombie.
    let status = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).context("waitid")?;
    let zombie = look(pid);
    let pipe_ended = told.read(&mut [0])? == 0;
    kill(pid, Signal::SIGKILL).context("killing a zombie")?;
    let unmoved = state(pid) == Some('Z');
    let exit = child.wait()?;
    // Its number may be a stranger's by now: only the descriptor tells.
    let gone = if pidfd.signal(None).is_ok() { look(pid) } else { Look::default() };
    let again = waitpid(pid, None); // No other child lives that could have the number.
    Ok(Course { alive, zombie, status, pipe_ended, unmoved, exit, gone, again })
}

fn look(pid: Pid) -> Look {
    Look {
        state: state(pid),
        resident_bytes: resident_bytes(pid),
        descriptors: descriptors(pid),
        number_taken: kill(pid, None).is_ok(),
    }
}

fn told_by(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exit code {code}"),
        other => format!("{other:?}"),
    }
}

fn letter(state: Option<char>) -> String {
    state.map_or("none".to_owned(), |letter| letter.to_string())
}

fn table(moments: &[(&str, &Look, String)]) -> Table {
    let row = |(moment, look, status): &(&str, &Look, String)| {
        let alive = look.state == Some('S') || look.state == Some('R');
        let resident = match (look.state, look.resident_bytes) {
            (None, _) => Cell::Nothing,
            (Some(_), bytes) => bytes.map_or(Cell::Text("none".to_owned()), |bytes| Cell::Number(bytes as f64)),
        };
        let open = match (look.state, look.descriptors) {
            (None, _) => Cell::Nothing,
            (Some(_), Some(count)) => Cell::Number(count as f64),
            (Some(_), None) => Cell::Text("not shown".to_owned()),
        };
        let number = if look.number_taken { "taken" } else { "free" };
        let mood = if alive || !look.number_taken { Mood::Neutral } else { Mood::Bad };
        let status = if status.is_empty() { Cell::Nothing } else { Cell::Text(status.clone()) };
        let [moment, state] = [(*moment).to_owned(), letter(look.state)].map(Cell::Text);
        vec![moment, state, resident, open, Cell::Word { says: number.to_owned(), mood }, status]
    };
    Table {
        title: "What is left of a process".to_owned(),
        columns: vec![
            Column::label("the child"),
            Column::value("state", ""),
            Column::value("memory", "bytes"),
            Column::value("descriptors", ""),
            Column::value("pid", ""),
            Column::value("exit status", ""),
        ],
        rows: moments.iter().map(row).collect(),
    }
}
