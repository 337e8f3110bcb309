//! Is a fork cheaper when its maker's memory lies in huge pages?

use std::fs;

use anyhow::{Context, Result, ensure};
use shared::measure::Measured;
use shared::{Placement, Stage};

use super::by_size::Maker;
use super::starter::{Pages, Starter};
use super::ways;
use shared::spare_bytes;

/// A process that holds as much as the largest of the others, in huge pages; none, and a sentence why, where the system
/// does not give them.
pub fn maker(stage: &mut Stage, largest: Option<&Maker>) -> Option<Maker> {
    let mib = largest.map(|maker| maker.mib).filter(|&mib| mib > 0)?;
    match hold(mib) {
        Ok((maker, huge_mib)) => {
            stage.note(format!("Of {mib} MiB in huge pages the kernel gave {huge_mib} MiB in such ones."));
            Some(maker)
        }
        Err(why) => {
            stage.note(format!("A parent of {mib} MiB in huge pages is left out: {why:#}."));
            None
        }
    }
}

pub fn row(maker: &Maker) -> String {
    format!("{}, {} MiB, huge", ways::FORK, maker.mib)
}

pub fn tell(stage: &mut Stage, measured: &Measured, maker: &Maker) {
    if let Some(ratio) = measured.ratio(&row(maker), &maker.row(ways::FORK), Placement::Free) {
        stage.trend(format!("a fork of {} MiB in huge pages against ordinary ones", maker.mib), &ratio);
    }
}

/// The maker, and how much of its memory lies in huge pages.
fn hold(mib: usize) -> Result<(Maker, usize)> {
    ensure!((mib << 20) as u64 <= spare_bytes(), "that is more than a quarter of what is free now");
    let starter = Starter::holding(mib << 20, Pages::Huge)?;
    let memory = fs::read_to_string(format!("/proc/{}/smaps_rollup", starter.pid())).context("smaps_rollup")?;
    let huge = memory.lines().find_map(|line| line.strip_prefix("AnonHugePages:")?.trim().strip_suffix(" kB"));
    let huge_mib = huge.and_then(|kib| kib.trim().parse::<usize>().ok()).context("no word on huge pages")? >> 10;
    ensure!(2 * huge_mib > mib, "the kernel gave it {huge_mib} MiB of them");
    Ok((Maker { mib, starter }, huge_mib))
}
