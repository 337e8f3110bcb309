//! How much of its maker's memory does a child still share, once it has written so much of it?

use anyhow::{Context, Result};
use nix::unistd::getpid;
use process_demo::memory_of;
use shared::number::{chosen_with_unit, count};
use shared::{Cell, Column, Stage, Table};

use super::block::{Block, page_bytes};
use super::subject::{faults, fork_and_ask, is_about, is_near};

/// What was seen of one child that wrote so many of the pages.
struct Sight {
    percent: usize,
    /// Pages that it wrote.
    written: u64,
    faults: u64,
    pss_bytes: u64,
    /// The pages that were its own alone before it wrote, its stack among them; and how many more were so afterwards.
    own_at_first: u64,
    own_pages: u64,
    /// Of both: what is there.
    family_bytes: u64,
    /// Did its maker's memory stay as it was?
    apart: bool,
}

/// What the counts say.
pub struct Erosion {
    pub pages: u64,
    /// Those that a child had for itself, its stack included, before it wrote, and when it had written all.
    pub own_at_first: u64,
    pub own_at_last: u64,
    pub copied_as_written: bool,
    pub kept_apart: bool,
}

pub fn show(stage: &mut Stage, block: &mut Block) -> Result<Erosion> {
    let pages = block.pages() as u64;
    let held = chosen_with_unit("bytes", size_of_val(&block[..]) as f64);
    stage.note(format!(
        "This process fills {held}, which is {} pages. For each row it forks a child that writes one word into so many \
         of them.",
        count(pages)
    ));
    let step = stage.by_effort(25, 10, 5);
    let sights = (0..=100).step_by(step).map(|percent| look(block, percent)).collect::<Result<Vec<Sight>>>()?;
    stage.show(in_pages(&sights, pages));
    stage.table(table(&sights));
    let by_faults = sights.iter().all(|sight| is_about(sight.faults, sight.written));
    let by_pages = sights.iter().all(|sight| is_near(sight.own_pages, sight.written));
    let kept_apart = sights.iter().all(|sight| sight.apart);
    let sum = |of: fn(&Sight) -> u64| count(sights.iter().map(of).sum());
    let written = sum(|sight| sight.written);
    stage.fact(
        "Each page that a child writes to costs one page fault",
        by_faults,
        format!("{written} pages, {} faults", sum(|sight| sight.faults)),
    );
    stage.fact(
        "Those pages, and hardly any other, become the child's own",
        by_pages,
        format!("{written} pages written, {} pages more its own", sum(|sight| sight.own_pages)),
    );
    stage.fact("The parent's pages stay as they were", kept_apart, if kept_apart { "all of them" } else { "changed" });
    Ok(Erosion {
        pages,
        own_at_first: sights.iter().map(|sight| sight.own_at_first).min().unwrap_or(0),
        own_at_last: sights.last().map_or(0, |sight| sight.own_at_first + sight.own_pages),
        copied_as_written: by_faults && by_pages,
        kept_apart,
    })
}

fn look(block: &mut Block, percent: usize) -> Result<Sight> {
    let before = block.read_pages();
    let written = block.pages() * percent / 100;
    let (child, [own_before, its_faults]) = fork_and_ask(|| {
        block.write_pages(0); // Whatever the code and the stack cost is paid before it counts.
        let own = memory_of::of(getpid()).map_or(0, |memory| memory.uss_bytes);
        let from = faults();
        block.write_pages(written);
        [own, faults() - from]
    })?;
    let own = memory_of::of(getpid())?;
    let memory = memory_of::of(child.pid()).context("looking at the child")?;
    Ok(Sight {
        percent,
        written: written as u64,
        faults: its_faults,
        pss_bytes: memory.pss_bytes,
        own_at_first: own_before / page_bytes() as u64,
        own_pages: memory.uss_bytes.saturating_sub(own_before) / page_bytes() as u64,
        family_bytes: own.pss_bytes + memory.pss_bytes,
        apart: block.read_pages() == before,
    })
}

/// With none, half and all of them written.
fn in_pages(sights: &[Sight], pages: u64) -> Table {
    let row = |sight: &Sight| {
        let own = sight.own_at_first + sight.own_pages;
        [sight.written, sight.faults, sight.own_at_first, own].map(|pages| Cell::Number(pages as f64)).into()
    };
    let head = ["page faults", "its own before", "its own after"].map(|head| Column::value(head, ""));
    Table {
        title: format!("A child that writes to the {} pages that its parent filled", count(pages)),
        columns: [Column::x("written to", "")].into_iter().chain(head).collect(),
        rows: sights.iter().filter(|sight| sight.percent % 50 == 0).map(row).collect(),
    }
}

fn table(sights: &[Sight]) -> Table {
    let row = |sight: &Sight| {
        let own_bytes = sight.own_pages * page_bytes() as u64;
        let bytes = [sight.pss_bytes, own_bytes, sight.family_bytes];
        let counts = [sight.percent as f64, sight.faults as f64];
        counts.into_iter().chain(bytes.map(|bytes| bytes as f64)).map(Cell::Number).collect()
    };
    Table {
        title: "The same in finer steps, and in bytes".to_owned(),
        columns: vec![
            Column::x("written to", "%"),
            Column::value("page faults", ""),
            Column::value("its PSS", "bytes"),
            Column::value("own by writing", "bytes"),
            Column::value("PSS of both", "bytes"),
        ],
        rows: sights.iter().map(row).collect(),
    }
}
