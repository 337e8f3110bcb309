//! Is it only a read to clone an `Arc`?

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use shared::Stage;
use shared::number::count;

use super::block::page_bytes;
use super::subject::{faults, fork_and_ask, is_about};

/// With its two counters in front, each fills a small page: no two counters share one.
type Payload = [u64; 510];

pub fn show(stage: &mut Stage) -> Result<()> {
    let number = stage.by_effort(256, 4096, 16384);
    let arcs: Vec<Arc<Payload>> = (0..number).map(|index| Arc::new([index; 510])).collect();
    let pages: BTreeSet<usize> = arcs.iter().map(|arc| counter_of(arc) / page_bytes()).collect();
    let pages = pages.len() as u64;
    let sum: u64 = (0..number).sum::<u64>() * 510;
    let (_child, [read, by_reading, by_cloning]) = fork_and_ask(|| {
        let read_all = || arcs.iter().flat_map(|arc| arc.iter()).sum::<u64>();
        let before = faults();
        let read = read_all();
        let between = faults();
        arcs.iter().for_each(|arc| drop(std::hint::black_box(Arc::clone(arc))));
        [read, between - before, faults() - between]
    })?;
    stage.note(format!(
        "Now this process holds {} values, each in an Arc, whose counters lie on {} pages. A child reads all of them, and \
         then clones and drops each Arc.",
        count(number),
        count(pages)
    ));
    stage.fact(
        "Reading values in Arcs copies no page",
        read == sum && is_about(by_reading, 0),
        format!("{} page faults", count(by_reading)),
    );
    stage.fact(
        "Cloning the Arcs copies each page: an Arc counts its owners beside the value",
        is_about(by_cloning, pages),
        format!("{} page faults for {} pages", count(by_cloning), count(pages)),
    );
    Ok(())
}

/// Where the counters lie: right before the value.
fn counter_of(arc: &Arc<Payload>) -> usize {
    Arc::as_ptr(arc).addr() - 2 * size_of::<usize>()
}
