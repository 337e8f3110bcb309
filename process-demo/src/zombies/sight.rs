//! What does /proc show of a process or a thread, and when does it show what one waits for?

use std::fs;
use std::thread::yield_now;

use nix::unistd::Pid;
use shared::measure::SystemClock;

/// The state's letter: R runs, S sleeps, T is stopped, Z is a zombie; none if there is no such process or thread.
///
/// See proc_pid_stat(5). The id may be a thread's.
pub fn state(id: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next() // The name before may hold anything.
}

/// The states of all threads of a process.
pub fn states(process: Pid) -> Vec<char> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().filter_map(Result::ok);
    let ids = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| state(Pid::from_raw(id))).collect()
}

/// Resident memory in bytes; none if the kernel tells of none.
pub fn resident_bytes(process: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    Some(kibibytes.trim().parse::<u64>().ok()? << 10)
}

/// How many descriptors are open; none if this process may not know.
pub fn descriptors(process: Pid) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{process}/fd")).ok()?.count())
}

/// Looks again and again until there is something; nothing if patience runs out first.
pub fn look_until<T>(clock: SystemClock, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    const PATIENCE_NS: u64 = 5_000_000_000; // Only a bound: what one looks for comes within microseconds.
    let from_ns = clock.now_ns();
    loop {
        let seen = look();
        if seen.is_some() || clock.now_ns() - from_ns > PATIENCE_NS {
            return seen;
        }
        yield_now(); // On one CPU, what one waits for needs this CPU.
    }
}
