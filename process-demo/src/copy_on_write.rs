//! When does a forked process get memory of its own?

mod touches;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Result, ensure};
use nix::sys::prctl::set_thp_disable;
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, getpid, sysconf};
use process_demo::crew::{Arguments, Crew, Kind};
use process_demo::memory_of;
use shared::number::count;
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage, Table, Verdict, spare_bytes};

use touches::{read_pages, time_first_write, words_in_a_page, write_pages};

pub const DEMO: Demo = Demo {
    name: "copy-on-write",
    question: "When does a forked process get memory of its own?",
    claims: &[Claim::NewMemorySpace],
    rule: "A new process gets a new memory space, and the claim holds, if a forked child that has written nothing \
           yet has as many pages for itself as its parent filled; it holds except pages that nobody has written to \
           if it has fewer at first, and gets one for each that it writes to, by the count of page faults and of \
           pages that it shares with nobody; refuted if what it writes shows in its parent's memory; else \
           undecided.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/memory_of.rs", text: include_str!("../snippets/memory_of.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let wanted = stage.by_effort(4, 64, 256) << 20;
    // A child may copy all of it, and fresh memory beside it is touched.
    let Some(bytes) = (0..6).map(|halvings| wanted >> halvings).find(|bytes| 4 * bytes <= spare_bytes() as usize)
    else {
        stage.skip("there is too little free memory to copy some of it");
        return Ok(());
    };
    let _ = set_thp_disable(true); // Pages are counted one by one. A kernel without huge pages does not know the call.
    let words = (bytes + page_bytes()) / size_of::<u64>(); // A page more than is counted, for a start.
    let mut memory: Vec<u64> = (1..=words as u64).collect(); // No two pages are alike.
    let ruling = write_page_by_page(stage, &mut memory)?;
    let first_write = time_first_write(stage, &mut memory)?;
    clone_arcs(stage)?;
    let (when, advice) = match ruling.verdict {
        Verdict::Qualified => ("Page by page", "Load, then fork: what is only read stays shared. Copy `child`."),
        Verdict::Holds => ("All at once, at the fork", "Load after the fork what a child alone needs: copy `child`."),
        Verdict::Refuted => ("Never: its parent sees what it writes", "Trust no fork here: look by `memory_of`."),
        _ => ("The counts do not tell", "Measure before you count on sharing: copy `memory_of`."),
    };
    stage.headline(format!("{first_write} a page, when first written to"));
    stage.answer(format!("{when}; the first write to a page takes {first_write}."));
    stage.advise(advice);
    stage.rule(Claim::NewMemorySpace, ruling)
}

/// What was seen of one child that wrote to so many of the pages.
struct Erosion {
    written: u64,
    faults: u64,
    /// The pages that were its own alone before it wrote, its stack among them, and after.
    own_before: u64,
    own_after: u64,
    /// Of both: what is there.
    family_bytes: u64,
    /// Did its parent's memory stay as it was?
    apart: bool,
}

/// How much of its parent's memory does a child still share, once it has written so much of it? The last one writes all.
fn write_page_by_page(stage: &mut Stage, memory: &mut [u64]) -> Result<Ruling> {
    let pages = size_of_val(memory) / page_bytes() - 1;
    stage.note(format!(
        "This process fills {} pages. For each row it forks a child that writes one word into so many of them.",
        count(pages as u64)
    ));
    erode(memory, 0)?; // With one child that is not counted, this process too does everything for the first time.
    let children = (0..=4).map(|quarters| erode(memory, pages * quarters / 4)).collect::<Result<Vec<Erosion>>>()?;
    let columns = [
        ("written to", ""),
        ("page faults", ""),
        ("its own before", ""),
        ("its own after", ""),
        ("PSS of both", "bytes"),
    ];
    let row = |it: &Erosion| [it.written, it.faults, it.own_before, it.own_after, it.family_bytes].map(Into::into);
    let title = format!("A child that writes to the {} pages that its parent filled", count(pages as u64));
    stage.show(Table::new(title, columns, children.iter().map(|child| row(child).into())));
    let more = |it: &Erosion| it.own_after.saturating_sub(it.own_before);
    let sum = |of: fn(&Erosion) -> u64| count(children.iter().map(of).sum());
    let got = format!("{} pages, {} faults", sum(|it| it.written), sum(|it| it.faults));
    let by_faults = children.iter().all(|it| is_about(it.faults, it.written));
    stage.fact("Each page that a child writes to costs one page fault", by_faults, got);
    let got = format!("{} pages written, {} pages more its own", sum(|it| it.written), sum(more));
    let by_pages = children.iter().all(|it| is_about(more(it), it.written));
    stage.fact("Those pages become the child's own, and hardly any other", by_pages, got);
    let apart = children.iter().filter(|it| it.apart).count();
    stage.all("The parent's pages stay as they were", apart, children.len());
    Ok(judge(&children, by_faults && by_pages))
}

fn erode(memory: &mut [u64], written: usize) -> Result<Erosion> {
    let before = read_pages(memory);
    let lent = Mutex::new(&mut *memory); // To the child alone, which has a copy of it.
    let mut crew = Crew::of(Kind::Processes, 1, || Ok(lent.lock().unwrap()))?;
    let child = crew.tid(0);
    let mut write = |pages: Range<usize>| {
        let write = |memory: &mut MutexGuard<'_, &mut [u64]>, [from, to, _]: Arguments| {
            let before = faults();
            write_pages(&mut memory[from as usize..to as usize]);
            Ok(faults() - before)
        };
        let [from, to] = [pages.start, pages.end].map(|page| (page * words_in_a_page()) as u64);
        crew.ask(0, write, [from, to, 0])?.value()
    };
    // Both do everything twice before it counts: then the stack of each is its own, and the code that it uses is mapped.
    for _ in 0..2 {
        write(0..1)?;
        memory_of::of(child)?;
    }
    let own_before = memory_of::of(child)?.uss_bytes;
    let faults = write(1..1 + written)?;
    let (its, own) = (memory_of::of(child)?, memory_of::of(getpid())?);
    let [own_before, own_after] = [own_before, its.uss_bytes].map(|bytes| bytes / page_bytes() as u64);
    let (family_bytes, apart) = (own.pss_bytes + its.pss_bytes, read_pages(memory) == before);
    Ok(Erosion { written: written as u64, faults, own_before, own_after, family_bytes, apart })
}

/// So many page faults has this process had.
fn faults() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may always ask for its own usage");
    (usage.minor_page_faults() + usage.major_page_faults()) as u64
}

/// So many, give or take what a kernel does besides: it may take a page back, or move one.
fn is_about(counted: u64, expected: u64) -> bool {
    const BESIDES: u64 = 8; // Pages; none, as long as the machine is not short of memory.
    counted.abs_diff(expected) <= expected / 100 + BESIDES
}

fn page_bytes() -> usize {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |bytes| bytes as usize)
}

fn judge(children: &[Erosion], copied_as_written: bool) -> Ruling {
    let pages = children.iter().map(|it| it.written).max().unwrap_or(0);
    let first = children.iter().map(|it| it.own_before).min().unwrap_or(0);
    let last = children.iter().map(|it| it.own_after).max().unwrap_or(0);
    let [had, has, all] = [first, last, pages].map(count);
    let because = format!("A child had {had} pages for itself, and {has} once it had written to its parent's {all}");
    if !children.iter().all(|it| it.apart) {
        Ruling::refuted("What a child wrote showed in its parent's memory")
    } else if first >= pages {
        Ruling::holds(because)
    } else if copied_as_written {
        Ruling::except("pages that nobody has written to since the fork", because)
    } else {
        Ruling::undecided(because)
    }
}

/// With its two counters in front, each fills a small page: no two counters share one.
type Payload = [u64; 510];

/// Is it only a read to clone an `Arc`?
fn clone_arcs(stage: &mut Stage) -> Result<()> {
    let number = stage.by_effort(256, 4096, 16384);
    let arcs: Vec<Arc<Payload>> = (0..=number).map(|index| Arc::new([index; 510])).collect();
    // The counters lie right before the value.
    let counters = |arc: &Arc<Payload>| Arc::as_ptr(arc).addr() - 2 * size_of::<usize>();
    let pages = arcs[1..].iter().map(|arc| counters(arc) / page_bytes()).collect::<BTreeSet<usize>>().len() as u64;
    let mut child = Crew::of(Kind::Processes, 1, || Ok(&arcs))?;
    let read = |arcs: &mut &Vec<Arc<Payload>>, [from, to, sum]: Arguments| {
        let before = faults();
        let read: u64 = arcs[from as usize..to as usize].iter().flat_map(|arc| arc.iter()).sum();
        ensure!(read == sum, "the child did not read its parent's values");
        Ok(faults() - before)
    };
    let clone = |arcs: &mut &Vec<Arc<Payload>>, [from, to, _]: Arguments| {
        let before = faults();
        arcs[from as usize..to as usize].iter().for_each(|arc| drop(black_box(Arc::clone(arc))));
        Ok(faults() - before)
    };
    // The first one is for the code that is used; it is not counted.
    let mut by = |task| {
        child.ask(0, task, [0, 1, 0])?.value()?;
        child.ask(0, task, [1, number + 1, (1..=number).sum::<u64>() * 510])?.value()
    };
    let (by_reading, by_cloning) = (by(read)?, by(clone)?);
    stage.note(
        "Now this process holds values in Arcs, each with its counters on a page of its own. A child reads all of them, and \
         then clones and drops each Arc.",
    );
    let got = format!("{} page faults", count(by_reading));
    stage.fact("Reading values in Arcs copies no page", is_about(by_reading, 0), got);
    let got = format!("{} page faults for {} pages", count(by_cloning), count(pages));
    let says = "Cloning the Arcs copies each page: an Arc counts its owners beside the value";
    stage.fact(says, is_about(by_cloning, pages), got);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_can_come_out() {
        let child = |written, own_before, own_after, apart| Erosion {
            written,
            faults: written,
            own_before,
            own_after,
            family_bytes: 0,
            apart,
        };
        let seen = |own_before, copied_as_written, apart| {
            let children = [child(0, own_before, own_before, true), child(1000, own_before, 1000, apart)];
            judge(&children, copied_as_written).verdict
        };
        assert_eq!(seen(1010, true, true), Verdict::Holds);
        assert_eq!(seen(10, true, true), Verdict::Qualified);
        assert_eq!(seen(10, true, false), Verdict::Refuted);
        assert_eq!(seen(10, false, true), Verdict::Undecided);
    }

    #[test]
    fn a_count_may_be_a_little_off() {
        assert!(is_about(8, 0) && is_about(1000, 1018) && is_about(1018, 1000));
        assert!(!is_about(9, 0) && !is_about(1000, 1020) && !is_about(1019, 1000));
    }
}
