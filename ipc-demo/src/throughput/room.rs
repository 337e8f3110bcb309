//! How much memory may be taken without hurting the machine?

use std::fs;
use std::path::Path;

/// A quarter of the memory that is free by the machine's count, or by this control group's where it has less.
pub fn spare_bytes() -> usize {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_bytes(&text)).unwrap_or(0);
    group_bytes().unwrap_or(machine).min(machine) / 4
}

fn available_bytes(meminfo: &str) -> Option<usize> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

/// What this control group (version 2) and those that it lies in may still take; none if none of them has a limit.
fn group_bytes() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let left = |group: &Path| {
        let number = |file: &str| {
            let path = Path::new("/sys/fs/cgroup").join(group).join(file);
            fs::read_to_string(path).ok()?.trim().parse::<usize>().ok()
        };
        Some(number("memory.max")?.saturating_sub(number("memory.current")?))
    };
    Path::new(group).ancestors().filter_map(left).min()
}
