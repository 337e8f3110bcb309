//! What does the kernel say that a process has, and what may still be had?

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;

/// The bytes of the page tables that a process has (`VmPTE`): the lists that say where each of its pages lies.
pub fn page_table_bytes(pid: Pid) -> Result<u64> {
    let status = format!("/proc/{pid}/status");
    field_bytes(&status, "VmPTE:").with_context(|| format!("{status} does not tell the size of the page tables"))
}

/// How many page faults this process and its ended children have had that needed no disk.
pub fn page_faults() -> Result<u64> {
    let own = getrusage(UsageWho::RUSAGE_SELF)?.minor_page_faults();
    let children = getrusage(UsageWho::RUSAGE_CHILDREN)?.minor_page_faults();
    Ok((own + children) as u64)
}

/// A quarter of the memory that is free by the machine's count, or by this control group's where it has less.
pub fn spare_bytes() -> u64 {
    let machine = field_bytes("/proc/meminfo", "MemAvailable:").unwrap_or(0);
    group_bytes().unwrap_or(machine).min(machine) / 4
}

/// What this control group (version 2) may still take; none if it has no limit.
fn group_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let number = |file: &str| {
        let path = Path::new("/sys/fs/cgroup").join(group).join(file);
        fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
    };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

/// A field of a /proc file that is given in kB.
fn field_bytes(file: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
