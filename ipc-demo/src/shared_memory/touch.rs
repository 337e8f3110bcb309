//! The memory is shared, but not the maps of it: what does each party's first touch cost, counted?

use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, Builder};

use anyhow::{Context, Result, ensure};
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::sys::mman::{MmapAdvise, madvise};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::getpid;
use process_demo::child::{Exit, fork};
use process_demo::memory_of;
use shared::number::count;
use shared::{Cell, Column, Table, refused};

use super::memory::{WORD_BYTES, words_of};

/// Who touched the pages, and what the kernel counted; or why it was refused.
pub struct Row {
    pub name: &'static str,
    pub counted: Result<Counted, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Page faults of the first round over all pages, and of the second.
    pub faults: [u64; 2],
    /// By how much the page tables of the process grew.
    pub table_bytes: u64,
}

pub const PAGE_BYTES: usize = 4096; // The smallest page of any machine.

/// How a party goes over the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Writing,
    Reading,
    /// Has the kernel map all pages by one call before it writes.
    PopulatedFirst,
}

pub const FIRST: &str = "the process that made it, writing";
pub const THREAD: &str = "its second thread, writing";
pub const WRITER: &str = "a forked process, writing";

/// All parties use one region after the other; it was reserved, so the memory itself is there already.
pub fn observe(bytes: usize) -> Result<Vec<Row>> {
    let region = SharedRegion::new(bytes)?;
    let mut rows = vec![Row { name: FIRST, counted: Ok(touch_warm(&region, Touch::Writing)?) }];
    let children = [
        (WRITER, Touch::Writing),
        ("a forked process, reading", Touch::Reading),
        ("a forked process, after MADV_POPULATE_WRITE", Touch::PopulatedFirst),
    ];
    for (name, how) in children {
        let counted = match in_child(&region, how) {
            Ok(counted) => Ok(counted),
            Err(error) => Err(refused(&error).ok_or(error)?),
        };
        rows.push(Row { name, counted });
    }
    let counted = thread::scope(|scope| {
        let second = Builder::new().spawn_scoped(scope, || touch_warm(&region, Touch::Writing));
        second.context("starting a thread")?.join().unwrap()
    })?;
    rows.insert(1, Row { name: THREAD, counted: Ok(counted) });
    Ok(rows)
}

fn in_child(region: &SharedRegion, how: Touch) -> Result<Counted> {
    let report = SharedRegion::new(3 * WORD_BYTES)?;
    let work = || {
        let Ok(Counted { faults, table_bytes }) = touch_warm(region, how) else { return 1 };
        let words = words_of(&report);
        [faults[0], faults[1], table_bytes].into_iter().zip(words).for_each(|(value, word)| word.store(value, Relaxed));
        0
    };
    // SAFETY: what stays shared are plain words.
    let exit = unsafe { fork(work) }.context("starting a process")?.wait()?;
    ensure!(exit == Exit::Code(0), "the process that was to touch the memory failed: {exit}");
    let word = |slot: usize| words_of(&report)[slot].load(Relaxed);
    Ok(Counted { faults: [word(0), word(1)], table_bytes: word(2) })
}

/// Touches something else first: the code and the stack that this takes are mapped from then on.
fn touch_warm(region: &SharedRegion, how: Touch) -> Result<Counted> {
    touch(&SharedRegion::new(PAGE_BYTES)?, how)?;
    touch(region, how)
}

fn touch(region: &SharedRegion, how: Touch) -> Result<Counted> {
    let tables = || Ok::<_, anyhow::Error>(memory_of::of(getpid())?.page_table_bytes);
    let before = tables()?;
    if how == Touch::PopulatedFirst {
        let start = std::ptr::NonNull::new(region.as_ptr().cast()).context("a region at zero")?;
        // SAFETY: it maps what the region promises anyway.
        match unsafe { madvise(start, region.len(), MmapAdvise::MADV_POPULATE_WRITE) } {
            Err(Errno::EINVAL) => return Err(Errno::EOPNOTSUPP).context("Linux has it from 5.14 on"),
            done => done.context("MADV_POPULATE_WRITE")?,
        }
    }
    let mut faults = [0; 2];
    for round in &mut faults {
        let from = faults_so_far()?;
        for word in words_of(region).iter().step_by(PAGE_BYTES / WORD_BYTES) {
            match how {
                Touch::Reading => _ = std::hint::black_box(word.load(Relaxed)),
                Touch::Writing | Touch::PopulatedFirst => word.store(1, Relaxed),
            }
        }
        *round = faults_so_far()? - from;
    }
    Ok(Counted { faults, table_bytes: tables()?.saturating_sub(before) })
}

fn faults_so_far() -> Result<u64> {
    Ok(u64::try_from(getrusage(UsageWho::RUSAGE_THREAD)?.minor_page_faults())?)
}

pub fn counted(rows: &[Row], name: &str) -> Option<Counted> {
    rows.iter().find(|row| row.name == name)?.counted.as_ref().ok().copied()
}

pub fn table(rows: &[Row], bytes: usize) -> Table {
    let row = |row: &Row| {
        let cells = match &row.counted {
            Ok(Counted { faults, table_bytes }) => {
                [faults[0], faults[1], *table_bytes].map(|number| Cell::Number(number as f64)).to_vec()
            }
            Err(why) => vec![Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing],
        };
        [Cell::Text(row.name.to_owned())].into_iter().chain(cells).collect()
    };
    Table {
        title: format!(
            "{} pages of shared memory: page faults by who touches them",
            count((bytes / PAGE_BYTES) as u64)
        ),
        columns: vec![
            Column::label("who"),
            Column::value("first touch", ""),
            Column::value("second", ""),
            Column::value("page tables", "bytes"),
        ],
        rows: rows.iter().map(row).collect(),
    }
}
