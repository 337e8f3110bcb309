//! A message in shared memory that the reader finds by looking again and again: without a pause, or yielding the CPU.

use std::hint::spin_loop;

use anyhow::Result;
use nix::sched::sched_yield;

use super::desk::{self, Beside, Notice, Place};

pub struct Spin;

pub struct Yield;

pub fn pair() -> Result<(Beside<Spin>, Beside<Spin>)> {
    desk::pair(|_, _| Ok(Spin))
}

/// For two sides on one CPU: who finds nothing lets the other one run.
pub fn yielding_pair() -> Result<(Beside<Yield>, Beside<Yield>)> {
    desk::pair(|_, _| Ok(Yield))
}

impl Notice for Spin {
    fn wait(&mut self, place: &Place, number: u32) -> Result<()> {
        while !place.has(number) {
            place.pass_gate()?; // On the cache line that is looked at anyway.
            spin_loop();
        }
        Ok(())
    }

    fn give(&mut self, _place: &Place, _number: u32) -> Result<()> {
        Ok(()) // The message itself is what the reader looks for.
    }

    fn is_awake(&self) -> bool {
        true
    }
}

impl Notice for Yield {
    fn wait(&mut self, place: &Place, number: u32) -> Result<()> {
        while !place.has(number) {
            place.pass_gate()?;
            sched_yield()?;
        }
        Ok(())
    }

    fn give(&mut self, _place: &Place, _number: u32) -> Result<()> {
        Ok(())
    }

    fn is_awake(&self) -> bool {
        true
    }
}
