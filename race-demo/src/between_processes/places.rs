//! Where can two processes share a count, and how do they add to it there, with and without care?

use std::path::Path;

use anyhow::{Context, Result};
use process_demo::crew::Arguments;
use race_demo::file_counter;
use race_demo::shared_counter::SharedCounter;

/// A count that several processes reach.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub name: &'static str,
    /// What keeps every addition there.
    pub fix: &'static str,
    /// So many additions in one go take about as much time in each place: a file needs system calls.
    pub go: u64,
    pub count: Count<'a>,
}

#[derive(Clone, Copy)]
pub enum Count<'a> {
    Memory(&'a SharedCounter),
    File(&'a Path),
}

impl Place<'_> {
    pub fn set_to_zero(&self) -> Result<()> {
        match self.count {
            Count::Memory(counter) => counter.set(0),
            Count::File(path) => std::fs::write(path, 0_u64.to_le_bytes()).context("making the counter's file")?,
        }
        Ok(())
    }

    pub fn total(&self) -> Result<u64> {
        match self.count {
            Count::Memory(counter) => Ok(counter.total()),
            Count::File(path) => file_counter::total(path).context("reading the counter's file"),
        }
    }

    /// Adds one so often, and returns how often. Loses what another process adds meanwhile.
    pub fn add_around(&self, times: u64, mut meanwhile: impl FnMut()) -> Result<u64> {
        for _ in 0..times {
            match self.count {
                Count::Memory(counter) => counter.add_in_two_steps(&mut meanwhile),
                Count::File(path) => file_counter::add_in_two_steps(path, &mut meanwhile).context(ADDING)?,
            }
        }
        Ok(times)
    }

    pub fn add_in_two_steps(&mut self, [times, ..]: Arguments) -> Result<u64> {
        self.add_around(times, || ())
    }

    /// Loses nothing.
    pub fn add_by_the_fix(&mut self, [times, ..]: Arguments) -> Result<u64> {
        for _ in 0..times {
            match self.count {
                Count::Memory(counter) => counter.add(),
                Count::File(path) => file_counter::add_locked(path).context(ADDING)?,
            }
        }
        Ok(times)
    }
}

const ADDING: &str = "adding to the counter's file";
