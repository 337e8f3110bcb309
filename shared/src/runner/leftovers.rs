//! What is left of a run? Counts it by class, ends and removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nix::mqueue::mq_unlink;
use nix::sched::sched_yield;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, geteuid, getpid};
use procfs::process::{ProcState, Process, all_processes};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

use super::run::Run;
use crate::measure::SystemClock;
use crate::report::Leftovers;
use crate::stage::QUEUES;

/// Ends and reaps every child that this process was given as the subreaper, if it is of the run: a stranger's orphan may
/// come to it too, and of a container's first process all do.
///
/// Who still lived is a process left behind, who was dead a zombie. Bounded: what cannot be killed is only counted.
pub(super) fn end_strays(run: &Run) -> (Option<u64>, Option<u64>) {
    const PATIENCE_NS: u64 = 500_000_000; // The interrupt's promise is one second in all.
    let from_ns = SystemClock.now_ns();
    let (mut alive, mut dead) = (BTreeSet::new(), BTreeSet::new());
    let mut empty_looks = 0;
    // The kernel's list may skip some while others of it end: nobody is left once two looks have found nobody.
    while empty_looks < 2 && SystemClock.now_ns() - from_ns < PATIENCE_NS {
        let Some(children) = children_of_this_process() else { return (None, None) };
        let strays: Vec<_> = children.into_iter().filter(|child| run.has_marked(child)).collect();
        empty_looks = if strays.is_empty() { empty_looks + 1 } else { 0 };
        for child in strays {
            let pid = Pid::from_raw(child.pid); // Not reaped yet, so the number is its own.
            if is_dead(&child) && !alive.contains(&pid) {
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

/// The System V objects there were before, so that only what is new is looked at.
pub(super) struct SystemV(Option<BTreeMap<String, Maker>>);

impl SystemV {
    pub(super) fn look() -> SystemV {
        SystemV(system_v_objects())
    }

    /// Zero if there is no object that was not there at the last look, but for those that are known to be somebody
    /// else's. They carry no mark: of any other nobody can tell whose it is, so it is not counted.
    ///
    /// It is asked once the strays have ended: whose maker lives is a stranger's.
    pub(super) fn new_system_v(&mut self) -> Option<u64> {
        let before = std::mem::replace(&mut self.0, system_v_objects());
        let (before, now) = before.zip(self.0.as_ref())?;
        let mut new = now.iter().filter(|(object, _)| !before.contains_key(*object));
        (!new.any(|(_, maker)| maker.may_be_ours())).then_some(0)
    }
}

/// Counts what carries the run's token and goes away by itself or with its directory.
pub(super) fn seen(run: &Run) -> Leftovers {
    let directory = run.directory();
    let files = if directory.exists() { entries(&directory, "") } else { Some(Vec::new()) };
    let files = files.map(|found| found.iter().filter(|path| !path.ends_with(QUEUES)).count() as u64);
    Leftovers { sockets: sockets(&run.token), files, ..Leftovers::default() }
}

/// Removes the objects that have a name in the system, and counts them.
pub(super) fn remove_named(run: &Run) -> Leftovers {
    let named = |directory: &str, prefix: &str| {
        let found = entries(Path::new(directory), prefix)?;
        Some(found.iter().filter(|path| fs::remove_file(path).is_ok()).count() as u64)
    };
    Leftovers {
        shared_memory: named("/dev/shm", &run.token),
        queues: Some(queues(run) + named("/dev/mqueue", &run.token).unwrap_or(0)),
        semaphores: named("/dev/shm", &format!("sem.{}", run.token)),
        ..Leftovers::default()
    }
}

/// Queues exist also where no directory lists them; so the names are written down before they are used.
fn queues(run: &Run) -> u64 {
    let names = fs::read_to_string(run.directory().join(QUEUES)).unwrap_or_default(); // None were used.
    let ours = names.lines().filter(|name| name.starts_with(&format!("/{}", run.token)));
    ours.filter(|&name| mq_unlink(name).is_ok()).count() as u64
}

/// None where /proc cannot be read.
fn children_of_this_process() -> Option<Vec<Process>> {
    let own = getpid().as_raw();
    let listed = Process::myself().and_then(|me| me.task_main_thread()?.children());
    if let Ok(children) = listed {
        return Some(children.into_iter().filter_map(|pid| Process::new(pid as i32).ok()).collect());
    }
    // A kernel without that list: look at every process.
    let is_ours = |process: &Process| process.stat().is_ok_and(|stat| stat.ppid == own);
    Some(all_processes().ok()?.filter_map(Result::ok).filter(is_ours).collect())
}

/// A zombie, or about to be one: whoever dies with its parent has the signal pending when the parent's end is known.
fn is_dead(process: &Process) -> bool {
    let killed = |pending: u64| pending & (1 << (Signal::SIGKILL as u32 - 1)) != 0;
    let is_zombie = process.stat().is_ok_and(|stat| matches!(stat.state(), Ok(ProcState::Zombie)));
    is_zombie || process.status().is_ok_and(|it| killed(it.sigpnd) || killed(it.shdpnd))
}

/// Kills every process of the run: for the janitor, whose children they are not.
pub(super) fn kill_marked(run: &Run) {
    // Again until none is found: one may have forked while it was looked for. Bounded, as all cleaning is.
    for _ in 0..100 {
        let processes: Vec<Process> = all_processes().into_iter().flatten().filter_map(Result::ok).collect();
        let mut found = 0;
        for process in &processes {
            // Held before it is looked at: its number may soon be another's.
            let Some(held) = rustix::process::Pid::from_raw(process.pid) else { continue };
            let Ok(held) = pidfd_open(held, PidfdFlags::empty()) else { continue };
            if run.has_marked(process) && !is_dead(process) {
                found += 1;
                let _ = pidfd_send_signal(held, rustix::process::Signal::KILL); // It may have ended since.
            }
        }
        if found == 0 {
            return;
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

/// Who made a System V object, as far as the kernel tells.
#[derive(Debug, PartialEq)]
struct Maker {
    user: u32,
    /// Only shared memory has one; zero for a process that this namespace does not see.
    process: Option<i32>,
}

impl Maker {
    fn may_be_ours(&self) -> bool {
        let a_stranger = |pid: i32| pid == 0 || Path::new("/proc").join(pid.to_string()).exists();
        self.user == geteuid().as_raw() && !self.process.is_some_and(a_stranger)
    }
}

/// Every System V object by kind and identifier.
fn system_v_objects() -> Option<BTreeMap<String, Maker>> {
    let mut found = BTreeMap::new();
    for kind in ["shm", "sem", "msg"] {
        found.extend(system_v_listed(kind, &fs::read_to_string(format!("/proc/sysvipc/{kind}")).ok()?)?);
    }
    Some(found)
}

/// The kernel's table has a line of names, then one line for each object.
fn system_v_listed(kind: &str, table: &str) -> Option<Vec<(String, Maker)>> {
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let names = lines.next()?;
    let object = |line: Vec<&str>| {
        let field = |name: &str| names.iter().position(|known| *known == name).and_then(|at| line.get(at));
        let maker =
            Maker { user: field("cuid")?.parse().ok()?, process: field("cpid").and_then(|pid| pid.parse().ok()) };
        Some((format!("{kind} {}", line.get(1)?), maker))
    };
    lines.map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_v_object_is_known_by_kind_and_number_and_by_its_maker() {
        let shm = "       key      shmid perms       size  cpid  lpid nattch   uid   gid  cuid  cgid      atime\n         \
                   0          5   644       4096  1234     0      0  1000     0    33     0          0\n";
        let sem = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n         \
                   0          7   644          1     0     0     0     0          0 1700000000\n";
        let known = |user, process, name: &str| Some(vec![(name.to_owned(), Maker { user, process })]);
        assert_eq!(system_v_listed("shm", shm), known(33, Some(1234), "shm 5"));
        assert_eq!(system_v_listed("sem", sem), known(0, None, "sem 7"));
        assert_eq!(system_v_listed("msg", sem.lines().next().unwrap()), Some(vec![]));
    }

    #[test]
    fn only_what_a_dead_process_of_this_user_made_may_be_of_the_run() {
        const NOBODY_HAS_IT: i32 = i32::MAX; // Linux numbers processes up to four million.
        let user = geteuid().as_raw();
        let may = |user, process| Maker { user, process }.may_be_ours();
        assert!(may(user, None) && may(user, Some(NOBODY_HAS_IT)));
        assert!(!may(user, Some(getpid().as_raw())) && !may(user, Some(0)) && !may(user + 1, None));
    }
}
