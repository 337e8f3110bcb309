//! What does the kernel keep for all processes of the machine?

use std::fs;

use anyhow::{Context, Result};

use crate::proc_field::field_bytes;

/// Of the whole machine at one moment, in bytes: whatever else runs moves these too.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub kernel_stacks: u64,
    /// Kernel stacks, page tables, and the kernel's objects that it cannot give back: tasks, maps, descriptors.
    pub kernel: u64,
    /// Memory of programs that no file backs, each page once, however many map it.
    pub anonymous: u64,
}

impl Machine {
    pub fn look() -> Result<Machine> {
        let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
        let bytes = |field| field_bytes(&text, field).with_context(|| format!("/proc/meminfo has no {field}"));
        let kernel_stacks = bytes("KernelStack:")?;
        Ok(Machine {
            kernel_stacks,
            kernel: kernel_stacks + bytes("PageTables:")? + bytes("SUnreclaim:")?,
            anonymous: bytes("AnonPages:")?,
        })
    }
}
