//! What can two processes share a count in? Memory or a file, each with its way to lose and its way to keep.

use std::path::Path;

use anyhow::{Context, Result};
use race_demo::file_counter;
use race_demo::shared_counter::SharedCounter;

/// A count that several processes reach.
pub trait Counter: Copy + Sync {
    const WHERE: &'static str;
    /// How the additions are kept.
    const FIX: &'static str;
    /// How often luck may try in one go, for as much time in a file as in memory: the file takes system calls.
    const GO: u64;

    fn set_to_zero(self) -> Result<()>;
    fn total(self) -> Result<u64>;
    /// Loses what another process adds meanwhile.
    fn add_in_two_steps(self, meanwhile: impl FnOnce()) -> Result<()>;
    /// Loses nothing.
    fn add(self) -> Result<()>;
}

/// What both sides do: returns how many additions were made.
pub fn add_so_often(times: u64, add: impl Fn() -> Result<()>) -> Result<u64> {
    let mut added = 0;
    while added < times {
        add()?;
        added += 1;
    }
    Ok(added)
}

#[derive(Clone, Copy)]
pub struct InMemory<'a>(pub &'a SharedCounter);

#[derive(Clone, Copy)]
pub struct InFile<'a>(pub &'a Path);

impl Counter for InMemory<'_> {
    const WHERE: &'static str = "shared memory";
    const FIX: &'static str = "fetch_add";
    const GO: u64 = 300_000;

    fn set_to_zero(self) -> Result<()> {
        self.0.set(0);
        Ok(())
    }

    fn total(self) -> Result<u64> {
        Ok(self.0.total())
    }

    fn add_in_two_steps(self, meanwhile: impl FnOnce()) -> Result<()> {
        self.0.add_in_two_steps(meanwhile);
        Ok(())
    }

    fn add(self) -> Result<()> {
        self.0.add();
        Ok(())
    }
}

impl Counter for InFile<'_> {
    const WHERE: &'static str = "a file";
    const FIX: &'static str = "flock";
    const GO: u64 = 200;

    fn set_to_zero(self) -> Result<()> {
        std::fs::write(self.0, 0_u64.to_le_bytes()).context("making the counter's file")
    }

    fn total(self) -> Result<u64> {
        file_counter::total(self.0).context("reading the counter's file")
    }

    fn add_in_two_steps(self, meanwhile: impl FnOnce()) -> Result<()> {
        file_counter::add_in_two_steps(self.0, meanwhile).context("adding to the counter's file")
    }

    fn add(self) -> Result<()> {
        file_counter::add_locked(self.0).context("adding to the counter's file")
    }
}
