//! How much memory may a demonstration take without hurting the machine?

use std::fs::read_to_string;
use std::path::Path;

use procfs::{Current, Meminfo};

/// A quarter of the memory that is free by the machine's count, or by this control group's where it has less, in bytes.
pub fn spare_bytes() -> u64 {
    let machine = Meminfo::current().ok().and_then(|memory| memory.mem_available).unwrap_or(0);
    group_bytes().unwrap_or(machine).min(machine) / 4
}

/// What this control group (version 2) and those that it lies in may still take; none if none of them has a limit.
fn group_bytes() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let left = |group: &Path| {
        let number = |file: &str| {
            let path = Path::new("/sys/fs/cgroup").join(group).join(file);
            read_to_string(path).ok()?.trim().parse::<u64>().ok()
        };
        Some(number("memory.max")?.saturating_sub(number("memory.current")?))
    };
    Path::new(group).ancestors().filter_map(left).min()
}
