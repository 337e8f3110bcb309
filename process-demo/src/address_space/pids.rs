//! Whose is a pid: a program's, or a process's?

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::{Pid, getpid};
use process_demo::child;
use process_demo::crew::{Crew, Kind, NOTHING};
use shared::number::counted;
use shared::{Claim, Ruling, Stage};

pub fn judge_pids(stage: &mut Stage) -> Result<()> {
    let mut children = Crew::of(Kind::Processes, 2, || Ok(()))?;
    let given = [0, 1].map(|child| children.pid(child));
    let mut pids = vec![getpid()]; // Of this process and two children, all alive at once.
    for reply in children.ask_all(|_, _| Ok(getpid().as_raw() as u64), NOTHING)? {
        pids.push(Pid::from_raw(reply.value()? as i32));
    }
    let in_words = |pids: &[Pid]| pids.iter().map(Pid::to_string).collect::<Vec<_>>().join(", ");
    let agreed = pids[1..].iter().map(|pid| Some(*pid)).eq(given);
    stage.fact("Each child sees the pid that its parent was given", agreed, in_words(&pids[1..]));
    let (living, distinct) = (pids.len(), HashSet::<Pid>::from_iter(pids.iter().copied()).len());
    stage.fact("Each living process has a pid of its own", distinct == living, in_words(&pids));

    let (kept_by_exec, before, after) = exec(stage)?;
    let seen = format!("{living} living processes had {}", counted(distinct, "pid"));
    let ruling = if distinct < living {
        Ruling::refuted(seen)
    } else if !agreed {
        Ruling::refuted(format!("{seen}, but a child saw another pid than its parent was given"))
    } else if kept_by_exec && before != after {
        let because = format!("{seen}; one pid ran '{before}', then '{after}'");
        Ruling::except("at an exec, where the pid stays and the program changes", because)
    } else {
        Ruling::holds(seen)
    };
    stage.rule(Claim::OwnPid, ruling)
}

/// A child becomes another program. Does its pid stay, and which programs were they?
fn exec(stage: &mut Stage) -> Result<(bool, String, String)> {
    let (reader, writer) = io::pipe().context("a pipe")?;
    let (gate, opener) = io::pipe().context("a pipe")?;
    let become_a_shell = move || {
        let told = writeln!(&writer, "{} {}", getpid(), program_of(getpid()));
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$; read forever"]).stdin(gate).stdout(writer); // `$$` is the shell's own pid.
        let failed = shell.exec(); // Returns only if there is no such program.
        u8::try_from(told.map_or_else(|error| error, |()| failed).raw_os_error().unwrap_or(1)).unwrap_or(1)
    };
    // SAFETY: the child uses two pipes and becomes another program; nothing here is in shared memory.
    let child = unsafe { child::fork(become_a_shell) }.context("forking")?;
    let mut lines = BufReader::new(reader).lines();
    let first = lines.next().context("the child told nothing")??;
    let (pid_before, before) = first.split_once(' ').context("the child told something else")?;
    let pid_after = lines.next().context("there is no shell: 'sh' did not start")??;
    let after = program_of(child.pid()); // It waits for a line that never comes, so it is still the shell.
    let pid = child.pid();
    drop((child, opener));
    let kept = pid_before == pid_after && pid_after == pid.to_string();
    let got = format!("pid {pid_before} ran '{before}', pid {pid_after} runs '{after}'");
    stage.fact("An exec changes the program and keeps the pid", kept && before != after, got);
    Ok((kept, before.to_owned(), after))
}

/// The file that a process runs; where that is not told, the name that the kernel has for it.
fn program_of(pid: Pid) -> String {
    let file = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let file = file.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    file.unwrap_or_else(|| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned())
}
