//! How much memory may a demonstration take without hurting the machine?

use std::fs;
use std::path::Path;

/// A quarter of the memory that is free by the machine's count, or by this control group's where it has less.
pub fn spare_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| field_bytes(&text, "MemAvailable:"));
    let machine = machine.unwrap_or(0);
    group_bytes().unwrap_or(machine).min(machine) / 4
}

/// A field of a file in /proc that is given in kB.
pub fn field_bytes(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// What this control group (version 2) and those that it lies in may still take; none if none of them has a limit.
fn group_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let left = |group: &Path| {
        let number = |file: &str| {
            let path = Path::new("/sys/fs/cgroup").join(group).join(file);
            fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
        };
        Some(number("memory.max")?.saturating_sub(number("memory.current")?))
    };
    Path::new(group).ancestors().filter_map(left).min()
}
