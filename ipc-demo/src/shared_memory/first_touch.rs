//! The memory is there already, but not the maps of it: who must map it, and at what cost?

use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::sys::mman::{MmapAdvise, madvise};
use nix::sys::resource::{UsageWho, getrusage};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Task};
use process_demo::memory_of;
use shared::number::{chosen_with_unit, count};
use shared::{Cell, Stage, Table, Tried, tried};

use crate::mapped::{PAGE_BYTES, WORD_BYTES, words_of};

/// Whether a second process had to map the pages, and a second thread had not.
pub fn count_faults(stage: &mut Stage) -> Result<bool> {
    const MIB: usize = 1 << 20;
    let bytes = stage.by_effort(4 * MIB, 64 * MIB, 256 * MIB);
    let size = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!("Is such a mapping free? {size} are there already; four write a word into each page, twice."));
    let (region, warm_up) = (SharedRegion::new(bytes)?, SharedRegion::new(PAGE_BYTES)?);
    // From then on the code and the stack that it takes are mapped.
    let enlist = || write_pages(&mut &warm_up, NOTHING).map(|_| &region);
    let (mut threads, mut processes) = (Crew::of(Kind::Threads, 2, enlist)?, Crew::of(Kind::Processes, 2, enlist)?);
    let touches = [
        ("a process", tried(touch_twice(&mut threads, 0, write_pages))?),
        ("its second thread", tried(touch_twice(&mut threads, 1, write_pages))?),
        ("another process", tried(touch_twice(&mut processes, 0, write_pages))?),
        ("another, after MADV_POPULATE_WRITE", tried(touch_twice(&mut processes, 1, populate_and_write_pages))?),
    ];
    let row = |(who, faults): &(&str, Tried<[u64; 3]>)| match faults {
        Ok(counted) => [vec![Cell::from(*who)], counted.map(Cell::from).into()].concat(),
        Err(why) => vec![Cell::from(*who), Cell::Skipped { skipped: why.clone() }],
    };
    let title = format!("{} pages of shared memory: page faults", count((bytes / PAGE_BYTES) as u64));
    let columns = [("who writes", ""), ("first touch", ""), ("second", ""), ("page tables", "bytes")];
    stage.table(Table::new(title, columns, touches.iter().map(row)));
    let [_, (_, Ok([thread, ..])), (_, Ok([process, again, _])), _] = touches else { return Ok(false) };
    let says = "A second process must map the pages at its first touch; a second thread finds them mapped";
    let holds = process > thread && process > again;
    Ok(stage.fact(says, holds, format!("{} and {} page faults", count(process), count(thread))))
}

/// Page faults of a first touch of all pages and of a second, and by how much the process's page tables grew.
fn touch_twice<W>(crew: &mut Crew<W>, worker: usize, touch: Task<W>) -> Result<[u64; 3]> {
    let process = crew.pid(worker).context("the worker has ended")?;
    let before = memory_of::of(process)?.page_table_bytes;
    let [first, second] = [crew.ask(worker, touch, NOTHING)?.value()?, crew.ask(worker, touch, NOTHING)?.value()?];
    Ok([first, second, memory_of::of(process)?.page_table_bytes.saturating_sub(before)])
}

/// Writes a word into each page; the page faults that took.
fn write_pages(region: &mut &SharedRegion, _: Arguments) -> Result<u64> {
    let so_far = || Ok::<_, anyhow::Error>(u64::try_from(getrusage(UsageWho::RUSAGE_THREAD)?.minor_page_faults())?);
    let before = so_far()?;
    words_of(region).iter().step_by(PAGE_BYTES / WORD_BYTES).for_each(|word| word.store(1, Relaxed));
    Ok(so_far()? - before)
}

/// Has the kernel map all pages by one call before it writes.
fn populate_and_write_pages(region: &mut &SharedRegion, _: Arguments) -> Result<u64> {
    let start = NonNull::new(region.as_ptr()).context("a region at zero")?;
    // SAFETY: it maps what the region promises anyway.
    match unsafe { madvise(start.cast(), region.len(), MmapAdvise::MADV_POPULATE_WRITE) } {
        Err(Errno::EINVAL) => Err(Errno::EOPNOTSUPP).context("Linux has it from 5.14 on"),
        done => done.context("MADV_POPULATE_WRITE"),
    }?;
    write_pages(region, NOTHING)
}
