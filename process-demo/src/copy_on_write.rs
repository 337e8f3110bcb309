//! When does a forked process get memory of its own?

mod block;
mod saving;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::getpid;
use process_demo::crew::{Arguments, Crew, Kind, NOTHING};
use process_demo::memory_of;
use shared::measure::SystemClock;
use shared::number::{chosen_with_unit, count, with_unit};
use shared::stats::{median, ratio};
use shared::{Cell, Claim, Column, Demo, Extras, Ruling, Snippet, Stage, Table, Verdict, spare_bytes};

use block::{Block, page_bytes};

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
        Snippet { path: "process-demo/snippets/snapshot.rs", text: include_str!("../snippets/snapshot.rs") },
        Snippet { path: "process-demo/snippets/memory_of.rs", text: include_str!("../snippets/memory_of.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    const MIB: usize = 1 << 20;
    let wanted = stage.by_effort(4, 64, 256) * MIB;
    // A child may copy all of it, and fresh memory beside it is touched.
    let Some(bytes) = (0..6).map(|halvings| wanted >> halvings).find(|bytes| 4 * bytes <= spare_bytes() as usize)
    else {
        stage.skip("there is too little free memory to copy some of it");
        return Ok(());
    };
    let mut block = Block::filled(bytes).context("filling memory")?;
    let erosion = write_page_by_page(stage, &mut block)?;
    let ruling = judge(&erosion);
    let when = match ruling.verdict {
        Verdict::Holds => "All at once, at the fork; the first write to a page takes",
        Verdict::Qualified => "Page by page: the first write to each takes",
        Verdict::Refuted => "Never: its parent sees what it writes; the first write to a page takes",
        _ => "The counts do not tell; the first write to a page takes",
    };
    stage.rule(Claim::NewMemorySpace, ruling)?;
    let first_write = time_first_write(stage, &mut block)?;
    drop(block);
    clone_arcs(stage)?;
    let saved = saving::show(stage, bytes / 2)?;
    stage.headline(format!("{first_write} a page, when first written to"));
    stage.answer(format!("{when} {first_write}.{saved}"));
    stage.advise("Save what changes all the time from a forked child: copy `snapshot`.");
    Ok(())
}

/// What was seen of one child that wrote to so many of the pages.
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
    /// Did its parent's memory stay as it was?
    apart: bool,
}

/// What the counts say.
struct Erosion {
    pages: u64,
    /// Those that a child had for itself, its stack included, before it wrote, and when it had written all.
    own_at_first: u64,
    own_at_last: u64,
    copied_as_written: bool,
    kept_apart: bool,
}

/// By the counted pages.
fn judge(erosion: &Erosion) -> Ruling {
    let Erosion { pages, own_at_first, own_at_last, copied_as_written, kept_apart } = *erosion;
    let [first, last, all] = [own_at_first, own_at_last, pages].map(count);
    let because =
        format!("A child had {first} pages for itself at first, and {last} once it had written to its parent's {all}");
    if !kept_apart {
        Ruling::refuted("What a child wrote showed in its parent's memory")
    } else if own_at_first >= pages {
        Ruling::holds(because)
    } else if copied_as_written {
        Ruling::except("pages that nobody has written to since the fork", because)
    } else {
        Ruling::undecided(because)
    }
}

/// How much of its parent's memory does a child still share, once it has written so much of it?
fn write_page_by_page(stage: &mut Stage, block: &mut Block) -> Result<Erosion> {
    let pages = block.pages() as u64;
    let held = chosen_with_unit("bytes", size_of_val(&block[..]) as f64);
    stage.note(format!(
        "This process fills {held}, which is {} pages. For each row it forks a child that writes one word into so many \
         of them.",
        count(pages)
    ));
    let step = stage.by_effort(25, 10, 5);
    let sights = (0..=100).step_by(step).map(|percent| look(block, percent)).collect::<Result<Vec<Sight>>>()?;
    show_sights(stage, &sights, pages);
    let by_faults = sights.iter().all(|sight| is_about(sight.faults, sight.written));
    let by_pages = sights.iter().all(|sight| is_near(sight.own_pages, sight.written));
    let kept_apart = sights.iter().all(|sight| sight.apart);
    let sum = |of: fn(&Sight) -> u64| count(sights.iter().map(of).sum());
    let written = sum(|sight| sight.written);
    let got = format!("{written} pages, {} faults", sum(|sight| sight.faults));
    stage.fact("Each page that a child writes to costs one page fault", by_faults, got);
    let got = format!("{written} pages written, {} pages more its own", sum(|sight| sight.own_pages));
    stage.fact("Those pages, and hardly any other, become the child's own", by_pages, got);
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
    let (before, written) = (block.read_pages(), block.pages() * percent / 100);
    let lent = Mutex::new(&mut *block); // To the child alone, which has a copy of it.
    let mut child = Crew::of(Kind::Processes, 1, || Ok(lent.lock().unwrap()))?;
    let own_before = |block: &mut MutexGuard<'_, &mut Block>, _: Arguments| {
        block.write_pages(0); // Whatever the code and the stack cost is paid before it counts.
        Ok(memory_of::of(getpid())?.uss_bytes)
    };
    let write = |block: &mut MutexGuard<'_, &mut Block>, [pages, ..]: Arguments| {
        let from = faults();
        block.write_pages(pages as usize);
        Ok(faults() - from)
    };
    let own_before = child.ask(0, own_before, NOTHING)?.value()?;
    let its_faults = child.ask(0, write, [written as u64, 0, 0])?.value()?;
    let own = memory_of::of(getpid())?;
    let memory = memory_of::of(child.tid(0)).context("looking at the child")?;
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

/// In pages with none, half and all of them written; then in finer steps, and in bytes.
fn show_sights(stage: &mut Stage, sights: &[Sight], pages: u64) {
    let numbers = |numbers: &[u64]| numbers.iter().map(|number| Cell::Number(*number as f64)).collect();
    let in_pages = |sight: &Sight| {
        numbers(&[sight.written, sight.faults, sight.own_at_first, sight.own_at_first + sight.own_pages])
    };
    let heads = ["page faults", "its own before", "its own after"].map(|head| Column::value(head, ""));
    stage.show(Table {
        title: format!("A child that writes to the {} pages that its parent filled", count(pages)),
        columns: [Column::x("written to", "")].into_iter().chain(heads).collect(),
        rows: sights.iter().filter(|sight| sight.percent % 50 == 0).map(in_pages).collect(),
    });
    let in_bytes = |sight: &Sight| {
        let own_bytes = sight.own_pages * page_bytes() as u64;
        numbers(&[sight.percent as u64, sight.faults, sight.pss_bytes, own_bytes, sight.family_bytes])
    };
    let heads = [("page faults", ""), ("its PSS", "bytes"), ("own by writing", "bytes"), ("PSS of both", "bytes")];
    stage.table(Table {
        title: "The same in finer steps, and in bytes".to_owned(),
        columns: [Column::x("written to", "%")]
            .into_iter()
            .chain(heads.map(|(head, unit)| Column::value(head, unit)))
            .collect(),
        rows: sights.iter().map(in_bytes).collect(),
    });
}

/// So many page faults has this process had.
fn faults() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may always ask for its own usage");
    (usage.minor_page_faults() + usage.major_page_faults()) as u64
}

/// So many, give or take what a process does besides: its stack, its program, a page that the kernel moved meanwhile.
fn is_about(counted: u64, expected: u64) -> bool {
    counted >= expected && is_near(counted, expected)
}

/// The same to both sides: a page of code that a process had alone is another's too once that one runs the same code.
fn is_near(counted: u64, expected: u64) -> bool {
    const BESIDES: u64 = 64; // Pages: the stack, and code that a child first uses, which Linux maps by sixteen.
    counted.abs_diff(expected) <= expected / 100 + BESIDES
}

/// What a child does to each page, its parent's or fresh ones, in the order of the table; gives the sum
/// that it reads, or how many it writes to.
const TOUCHES: [(&str, Touch); 4] = [
    ("read after the fork", |block, _| block.read_pages()),
    ("first write after the fork", |block, _| block.write_pages(usize::MAX) as u64),
    ("second write", |block, _| block.write_pages(usize::MAX) as u64),
    ("first touch of fresh memory", |_, fresh| fresh.write_pages(usize::MAX) as u64),
];
const FIRST: usize = 1;
const FRESH: usize = 3;

type Touch = fn(&mut Block, &mut Block) -> u64;

/// One child's times and faults for each page, by touch.
type Touched = [(f64, f64); 4];

/// Returns what a page's first write after a fork takes, in words.
fn time_first_write(stage: &mut Stage, block: &mut Block) -> Result<String> {
    let (clock, rounds) = (stage.clock(), stage.by_effort(9, 31, 101)); // Eight are the fewest with an interval for a ratio.
    let rounds = (0..rounds).map(|round| touch_all(block, clock, round)).collect::<Result<Vec<Touched>>>()?;
    let times = |touch: usize| rounds.iter().map(|round| round[touch].0).collect::<Vec<f64>>();
    let row = |(touch, (label, _)): (usize, &(&str, _))| {
        let faults: Vec<f64> = rounds.iter().map(|round| round[touch].1).collect();
        vec![Cell::Text((*label).to_owned()), median(&times(touch)).into(), Cell::Number(median(&faults).value)]
    };
    stage.table(Table {
        title: format!("What it costs a child for each page (median of {} children)", rounds.len()),
        columns: vec![Column::label(""), Column::value("time", "ns"), Column::value("page faults", "")],
        rows: TOUCHES.iter().enumerate().map(row).collect(),
    });
    let against = ratio(&times(FIRST), &times(FRESH));
    stage.trend("the first write after a fork against the first touch of fresh memory", &against);
    stage.note(
        "The first write finds the page shared: the kernel takes a new one and copies the old one into it. Fresh memory \
         takes a new page too, filled with zeros.",
    );
    Ok(with_unit("ns", median(&times(FIRST)).value))
}

/// By a child for every round: each page has only one first write.
fn touch_all(block: &mut Block, clock: SystemClock, round: u32) -> Result<Touched> {
    let (pages, bytes, sum) = (block.pages() as u64, size_of_val(&block[..]), block.read_pages());
    let lent = Mutex::new(block); // To the child alone, which has a copy of it.
    let mut child = Crew::of(Kind::Processes, 1, || Ok((lent.lock().unwrap(), Block::untouched(bytes)?, clock, 0)))?;
    // Fresh memory first, then last: a drift in time hits both alike.
    let order = if round.is_multiple_of(2) { [FRESH, 0, FIRST, 2] } else { [0, FIRST, 2, FRESH] };
    let mut touched = Touched::default();
    for touch in order {
        let expected = if touch == 0 { sum } else { pages };
        let time = child.ask(
            0,
            |(block, fresh, clock, faults_by_it), [touch, expected, _]| {
                let (faults_before, from_ns) = (faults(), clock.now_ns());
                let read = TOUCHES[touch as usize].1(block, fresh);
                let to_ns = clock.now_ns();
                *faults_by_it = faults() - faults_before;
                ensure!(read == expected, "the child did not touch every page");
                Ok(to_ns - from_ns)
            },
            [touch as u64, expected, 0],
        )?;
        let faults = child.ask(0, |(.., faults_by_it), _| Ok(*faults_by_it), NOTHING)?;
        touched[touch] = (time.value()? as f64 / pages as f64, faults.value()? as f64 / pages as f64);
    }
    let sums = [
        child.ask(0, |(block, ..), _| Ok(block.read_pages()), NOTHING)?.value()?,
        child.ask(0, |(_, fresh, ..), _| Ok(fresh.read_pages()), NOTHING)?.value()?,
    ];
    ensure!(sums == [sum + 2 * pages, pages], "the child did not read what it had written"); // Two writes of one each.
    Ok(touched)
}

/// With its two counters in front, each fills a small page: no two counters share one.
type Payload = [u64; 510];

/// Is it only a read to clone an `Arc`?
fn clone_arcs(stage: &mut Stage) -> Result<()> {
    let number = stage.by_effort(256, 4096, 16384);
    let arcs: Vec<Arc<Payload>> = (0..number).map(|index| Arc::new([index; 510])).collect();
    // The counters lie right before the value.
    let counters = |arc: &Arc<Payload>| Arc::as_ptr(arc).addr() - 2 * size_of::<usize>();
    let pages = arcs.iter().map(|arc| counters(arc) / page_bytes()).collect::<BTreeSet<usize>>().len() as u64;
    let mut child = Crew::of(Kind::Processes, 1, || Ok(&arcs))?;
    let read_all = |arcs: &mut &Vec<Arc<Payload>>, [sum, ..]: Arguments| {
        let from = faults();
        let read: u64 = arcs.iter().flat_map(|arc| arc.iter()).sum();
        ensure!(read == sum, "the child did not read its parent's values");
        Ok(faults() - from)
    };
    let clone_all = |arcs: &mut &Vec<Arc<Payload>>, _: Arguments| {
        let from = faults();
        arcs.iter().for_each(|arc| drop(black_box(Arc::clone(arc))));
        Ok(faults() - from)
    };
    let by_reading = child.ask(0, read_all, [(0..number).sum::<u64>() * 510, 0, 0])?.value()?;
    let by_cloning = child.ask(0, clone_all, NOTHING)?.value()?;
    stage.note(format!(
        "Now this process holds {} values, each in an Arc, whose counters lie on {} pages. A child reads all of them, and \
         then clones and drops each Arc.",
        count(number),
        count(pages)
    ));
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
        let seen = |own_at_first, copied_as_written, kept_apart| {
            judge(&Erosion { pages: 10, own_at_first, own_at_last: 10, copied_as_written, kept_apart }).verdict
        };
        assert_eq!(seen(10, true, true), Verdict::Holds);
        assert_eq!(seen(0, true, true), Verdict::Qualified);
        assert_eq!(seen(0, true, false), Verdict::Refuted);
        assert_eq!(seen(5, false, true), Verdict::Undecided);
    }
}
