//! What does the kernel say that a process has been given?

use std::fs;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;

use crate::proc_field::field_bytes;

/// The bytes of the page tables that a process has (`VmPTE`): the lists that say where each of its pages lies.
pub fn page_table_bytes(pid: Pid) -> Result<u64> {
    let status = format!("/proc/{pid}/status");
    let bytes = fs::read_to_string(&status).ok().and_then(|text| field_bytes(&text, "VmPTE:"));
    bytes.with_context(|| format!("{status} does not tell the size of the page tables"))
}

/// How many page faults this process and its ended children have had that needed no disk.
pub fn page_faults() -> Result<u64> {
    let own = getrusage(UsageWho::RUSAGE_SELF)?.minor_page_faults();
    let children = getrusage(UsageWho::RUSAGE_CHILDREN)?.minor_page_faults();
    Ok((own + children) as u64)
}
