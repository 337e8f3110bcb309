//! What is left of a run? Counts it by class, ends and removes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sched::sched_yield;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};
use procfs::process::{ProcState, Process, Stat, all_processes};

use super::run::{Run, TOKEN};
use crate::measure::SystemClock;
use crate::report::Leftovers;

/// What the system held before, so that only what is new is counted.
pub(super) struct Before {
    system_v: Option<BTreeSet<String>>,
}

impl Before {
    pub(super) fn look() -> Before {
        Before { system_v: system_v_objects() }
    }

    /// Counts the objects of this run, and removes those that have a name.
    pub(super) fn objects(&self, run: &Run) -> Leftovers {
        let named = |directory: &str, prefix: &str| {
            let found = entries(Path::new(directory), prefix)?;
            found.iter().for_each(|path| drop(fs::remove_file(path)));
            Some(found.len() as u64)
        };
        let files = entries(&run.directory(), "").map_or(0, |found| found.len() as u64);
        let system_v = system_v_objects().zip(self.system_v.as_ref());
        Leftovers {
            processes: None,
            zombies: None,
            shared_memory: named("/dev/shm", &run.token),
            // Queues exist without this directory being mounted; then nobody can list them.
            queues: named("/dev/mqueue", &run.token),
            semaphores: named("/dev/shm", &format!("sem.{}", run.token)),
            system_v: system_v.map(|(after, before)| after.difference(before).count() as u64),
            sockets: sockets(&run.token),
            files: Some(files),
        }
    }
}

/// Ends and reaps every child that this process was given as the subreaper, all but the janitor.
///
/// Who still lived is a process left behind, who was dead a zombie. Bounded: what cannot be killed is only counted.
pub(super) fn end_strays(janitor: Option<Pid>) -> (Option<u64>, Option<u64>) {
    const PATIENCE_NS: u64 = 500_000_000; // The interrupt's promise is one second in all.
    let from_ns = SystemClock.now_ns();
    let (mut alive, mut dead) = (BTreeSet::new(), BTreeSet::new());
    let mut empty_looks = 0;
    // The kernel's list may skip some while others of it end: nobody is left once two looks have found nobody.
    while empty_looks < 2 && SystemClock.now_ns() - from_ns < PATIENCE_NS {
        let Some(children) = children_of_this_process() else { return (None, None) };
        let strays: Vec<_> = children.into_iter().filter(|(pid, _)| Some(*pid) != janitor).collect();
        empty_looks = if strays.is_empty() { empty_looks + 1 } else { 0 };
        for (pid, is_dead) in strays {
            if is_dead && !alive.contains(&pid) {
                dead.insert(pid);
            } else if alive.insert(pid) {
                let _ = kill(pid, Signal::SIGKILL); // It may have ended by itself since.
            }
            // Until it is reaped, its own children are still its own: the next look finds them as ours.
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
        let _ = sched_yield(); // Never fails on Linux; lets the killed ones end.
    }
    (Some(alive.len() as u64), Some(dead.len() as u64))
}

/// Every direct child with whether it is dead, a zombie or about to be one; none where /proc cannot be read.
fn children_of_this_process() -> Option<Vec<(Pid, bool)>> {
    let own = getpid().as_raw();
    let listed = Process::myself().and_then(|me| me.task_main_thread()?.children());
    if let Ok(children) = listed {
        let stats = children.into_iter().filter_map(|pid| Process::new(pid as i32).ok()?.stat().ok());
        return Some(stats.map(|stat| (Pid::from_raw(stat.pid), is_dead(&stat))).collect());
    }
    // A kernel without that list: look at every process.
    let stats = all_processes().ok()?.filter_map(|process| process.ok()?.stat().ok());
    let ours = stats.filter(|stat| stat.ppid == own);
    Some(ours.map(|stat| (Pid::from_raw(stat.pid), is_dead(&stat))).collect())
}

/// Whoever dies with its parent has the signal pending when the parent's end is known.
fn is_dead(stat: &Stat) -> bool {
    let killed = |pending: u64| pending & (1 << (Signal::SIGKILL as u32 - 1)) != 0;
    let pending = Process::new(stat.pid).and_then(|process| process.status());
    matches!(stat.state(), Ok(ProcState::Zombie)) || pending.is_ok_and(|it| killed(it.sigpnd) || killed(it.shdpnd))
}

/// Kills every process that carries the run's token in its environment: for the janitor, whose children they are not.
pub(super) fn kill_by_token(run: &Run) {
    let mark = format!("{TOKEN}={}", run.token);
    let own = getpid().as_raw();
    // Again until none is found: one may have forked while it was looked for. Bounded, as all cleaning is.
    for _ in 0..100 {
        let processes = all_processes().into_iter().flatten().filter_map(Result::ok);
        let carries = |pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
        };
        let found: Vec<i32> = processes.map(|p| p.pid).filter(|&pid| pid != own && carries(pid)).collect();
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // It may have ended since.
        }
    }
}

fn entries(directory: &Path, prefix: &str) -> Option<Vec<PathBuf>> {
    let listed = fs::read_dir(directory).ok()?.filter_map(Result::ok);
    let matching = listed.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    Some(matching.map(|entry| entry.path()).collect())
}

fn sockets(token: &str) -> Option<u64> {
    let listed = fs::read_to_string("/proc/net/unix").ok()?;
    Some(listed.lines().filter(|line| line.contains(token)).count() as u64)
}

/// Kind and identifier of every System V object.
fn system_v_objects() -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for kind in ["shm", "sem", "msg"] {
        let listed = fs::read_to_string(format!("/proc/sysvipc/{kind}")).ok()?;
        let identifiers = listed.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        found.extend(identifiers.map(|identifier| format!("{kind} {identifier}")));
    }
    Some(found)
}
