//! Memory that several processes map: what of it is each one's own all the same? The addresses in it, and its page tables.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::fd::AsFd;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use process_demo::child::Exit;
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply, Task};
use process_demo::memory_of;
use shared::number::{chosen_with_unit, count};
use shared::{Cell, Column, Stage, Table, refused};

pub const WORD_BYTES: usize = size_of::<AtomicU64>();

/// A file of one word, which nobody else can open: its name is gone.
pub fn new_file(path: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(path).context("a file")?;
    fs::remove_file(path)?;
    file.set_len(WORD_BYTES as u64).context("a file of eight bytes")?;
    Ok(file)
}

/// The words of a file, mapped for as long as this process lives.
pub fn map(file: impl AsFd, bytes: usize, how: MapFlags) -> Result<&'static [AtomicU64]> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let length = bytes.try_into().context("a mapping of no bytes")?;
    // SAFETY: the kernel chooses a free address, so no memory in use is replaced.
    let start = match unsafe { mmap(None, length, access, how, file, 0) } {
        Err(Errno::ENODEV) => Err(Errno::EOPNOTSUPP).context("this file system maps no files"),
        start => start.context("mapping a file"),
    }?;
    // SAFETY: that long, aligned to a page, never unmapped, of a file that nobody shrinks; any bytes are atomic words.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), bytes / WORD_BYTES) })
}

/// All words of a region.
pub fn words_of(region: &SharedRegion) -> &[AtomicU64] {
    // SAFETY: the region is that long, zeroed, aligned to a page and lives as long; any bytes are atomic words.
    unsafe { std::slice::from_raw_parts(region.as_ptr().cast(), region.len() / WORD_BYTES) }
}

/// A list in shared memory, joined by pointers and by offsets: which of them still lead where they should?
pub fn follow_links(stage: &mut Stage) -> Result<bool> {
    const NODES: usize = 100;
    let list = SharedRegion::new(2 * NODES * WORD_BYTES)?;
    let words = words_of(&list);
    for node in 0..NODES {
        let next = next_of(node, NODES);
        words[2 * node].store(ptr::from_ref(&words[2 * next]).expose_provenance() as u64, Relaxed);
        words[2 * node + 1].store((2 * next) as u64, Relaxed);
    }
    stage.note(format!(
        "A list of {NODES} nodes lies in such memory, each joined to the next by a pointer and by an offset. One child \
         inherits the mapping; another maps it elsewhere, and lets go of what it inherited."
    ));
    let mut heir = Crew::of(Kind::Processes, 1, || Ok(words))?;
    let mut stranger = Crew::of(Kind::Processes, 1, || {
        let again = map(list.fd(), list.len(), MapFlags::MAP_SHARED)?;
        let start = NonNull::new(list.as_ptr()).context("a region at zero")?;
        // SAFETY: in this process nobody uses it any more. Only now: so nothing else comes to lie there.
        unsafe { munmap(start.cast(), list.len()) }?;
        Ok(again)
    })?;
    let here = heir.ask(0, by_pointers, NOTHING)?.value()?;
    let by_offset = stranger.ask(0, by_offsets, NOTHING)?.value()?;
    let there = stranger.ask(0, by_pointers, NOTHING)?;
    let crashed = there == Reply::Gone(Exit::Signal(Signal::SIGSEGV));
    let end = match there {
        Reply::Gone(exit) => exit.to_string(),
        reply => format!("by pointer {} there", reply.value()?),
    };
    let says =
        "Inherited pointers lead to their nodes; mapped elsewhere only offsets do, and a pointer ends in SIGSEGV";
    let all = NODES as u64;
    let led = here == all && by_offset == all && crashed;
    Ok(stage.fact(says, led, format!("by pointer {here} of {all}, by offset {by_offset}; {end}")))
}

/// The list goes criss-cross through the memory, and reaches every node: its stride has no divisor in common with 100.
fn next_of(node: usize, nodes: usize) -> usize {
    const STRIDE: usize = 37;
    (node + STRIDE) % nodes
}

/// How many steps led to the next node.
fn by_offsets(words: &mut &[AtomicU64], _: Arguments) -> Result<u64> {
    let (mut node, mut right) = (0, 0);
    for _ in 0..words.len() / 2 {
        let next = words[2 * node + 1].load(Relaxed) as usize / 2;
        right += u64::from(next == next_of(node, words.len() / 2));
        node = next;
    }
    Ok(right)
}

fn by_pointers(words: &mut &[AtomicU64], _: Arguments) -> Result<u64> {
    let (mut node, mut right) = (0, 0);
    let mut at = ptr::from_ref(&words[0]);
    for _ in 0..words.len() / 2 {
        // SAFETY: inherited, it is a node of the list. Mapped elsewhere, nothing lies there, and the fault that ends this
        // process is what is to be seen.
        at = ptr::with_exposed_provenance(unsafe { (*at).load(Relaxed) } as usize);
        node = next_of(node, words.len() / 2);
        right += u64::from(ptr::eq(at, &raw const words[2 * node]));
    }
    Ok(right)
}

const PAGE_BYTES: usize = 4096; // The smallest page of any machine.

/// The memory is there already, but not the maps of it: how many page faults does each party's touch of it cost?
pub fn touch_first(stage: &mut Stage) -> Result<bool> {
    const MIB: usize = 1 << 20;
    let bytes = stage.by_effort(4 * MIB, 64 * MIB, 256 * MIB);
    let size = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!(
        "Is such a mapping free? {size} are there already; five parties write a word into each page, or read it, twice."
    ));
    let touches = touch_by_each_party(bytes)?;
    let row = |(who, faults): &(&str, Touches)| {
        let cells = match faults {
            Ok(counted) => counted.map(|number| Cell::Number(number as f64)),
            Err(why) => [Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing],
        };
        [Cell::Text((*who).to_owned())].into_iter().chain(cells).collect()
    };
    let pages = count((bytes / PAGE_BYTES) as u64);
    stage.table(Table {
        title: format!("{pages} pages of shared memory: page faults by who touches them"),
        columns: vec![
            Column::label("who"),
            Column::value("first touch", ""),
            Column::value("second", ""),
            Column::value("page tables", "bytes"),
        ],
        rows: touches.iter().map(row).collect(),
    });
    let [_, (_, Ok([thread, ..])), (_, Ok([process, again, _])), ..] = touches[..] else { return Ok(false) };
    let says = "A second process must map the pages at its first touch; a second thread finds them mapped";
    Ok(stage.fact(
        says,
        process > thread && process > again,
        format!("{} and {} page faults", count(process), count(thread)),
    ))
}

/// Page faults of a first touch of all pages and of a second, and by how much the page tables grew; or why it is unknown.
type Touches = Result<[u64; 3], String>;

fn touch_by_each_party(bytes: usize) -> Result<Vec<(&'static str, Touches)>> {
    let (region, warm_up) = (SharedRegion::new(bytes)?, SharedRegion::new(PAGE_BYTES)?);
    let enlist = || {
        for touch in [write_pages, read_pages] {
            touch(&mut &warm_up, NOTHING)?; // From now on the code and the stack that this takes are mapped.
        }
        Ok(&region)
    };
    let mut crews = [Crew::of(Kind::Threads, 2, enlist)?, Crew::of(Kind::Processes, 3, enlist)?];
    let parties: [(&str, usize, usize, Task<&SharedRegion>); 5] = [
        ("a process, writing", 0, 0, write_pages),
        ("its second thread, writing", 0, 1, write_pages),
        ("another process, writing", 1, 0, write_pages),
        ("another process, reading", 1, 1, read_pages),
        ("another process, after MADV_POPULATE_WRITE", 1, 2, populate_and_write_pages),
    ];
    let mut touches = Vec::new();
    for (who, crew, worker, touch) in parties {
        let faults = match faults_of(&mut crews[crew], worker, touch) {
            Ok(faults) => Ok(faults),
            Err(error) => Err(refused(&error).ok_or(error)?),
        };
        touches.push((who, faults));
    }
    Ok(touches)
}

fn faults_of<W>(crew: &mut Crew<W>, worker: usize, touch: Task<W>) -> Result<[u64; 3]> {
    let process = crew.pid(worker).context("the worker has ended")?;
    let before = memory_of::of(process)?.page_table_bytes;
    let [first, second] = [crew.ask(worker, touch, NOTHING)?.value()?, crew.ask(worker, touch, NOTHING)?.value()?];
    Ok([first, second, memory_of::of(process)?.page_table_bytes.saturating_sub(before)])
}

fn write_pages(region: &mut &SharedRegion, _: Arguments) -> Result<u64> {
    faults_while(|| words_of(region).iter().step_by(PAGE_BYTES / WORD_BYTES).for_each(|word| word.store(1, Relaxed)))
}

fn read_pages(region: &mut &SharedRegion, _: Arguments) -> Result<u64> {
    let each = || words_of(region).iter().step_by(PAGE_BYTES / WORD_BYTES);
    faults_while(|| each().for_each(|word| _ = black_box(word.load(Relaxed))))
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

fn faults_while(touch: impl FnOnce()) -> Result<u64> {
    let so_far = || -> Result<u64> { Ok(u64::try_from(getrusage(UsageWho::RUSAGE_THREAD)?.minor_page_faults())?) };
    let before = so_far()?;
    touch();
    Ok(so_far()? - before)
}
