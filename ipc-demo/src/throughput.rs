//! Which mechanism moves the most, by the size of the message?

mod mechanisms;
mod message;
mod stream;

use std::cell::{Cell as Count, RefCell};

use anyhow::Result;
use process_demo::crew::Kind;
use shared::measure::{Contest, Figures, Measured, Timing, usable_cpus};
use shared::number::{chosen_with_unit, ratio_in_words, three_digits, with_unit};
use shared::stats::Ratio;
use shared::{Cell, Column, Demo, Extras, Placement, Snippet, Stage, Table};

use crate::version;
use mechanisms::{AT_QUICK_EFFORT, How, MECHANISMS, Mechanism, RING, RING_OF_THREADS};
use message::Area;
use stream::{Bench, PIECE_BYTES, Row, memcpy};

pub const DEMO: Demo = Demo {
    name: "throughput",
    question: "Which mechanism moves the most, by the size of the message?",
    claims: &[],
    rule: "It gives no verdict. A mechanism leads at a size if it is clearly faster there than every other that copies \
           between processes. Passing memory pays from the smallest size from which on it is clearly faster than all of \
           these. What copies and is clearly faster than its ceiling, a memcpy of the same messages, or takes less than \
           half of its CPU time, is impossible: it is flagged and left out.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/socket_pair.rs", text: include_str!("../snippets/socket_pair.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
        Snippet { path: "ipc-demo/snippets/pass_fd.rs", text: include_str!("../snippets/pass_fd.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
    ],
    run,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn run(stage: &mut Stage) -> Result<()> {
    let sizes: &[usize] = stage.by_effort(
        &[64, 256 * KIB],
        &[64, 8 * KIB, 64 * KIB, MIB, 16 * MIB],
        &[64, KIB, 8 * KIB, 64 * KIB, MIB, 16 * MIB],
    );
    let mechanisms = stage.by_effort(&MECHANISMS[..AT_QUICK_EFFORT], &MECHANISMS, &MECHANISMS);
    let bench = set_up(stage)?;
    let mut by_size = Vec::new();
    for &bytes in sizes {
        const BUFFERS: usize = 32; // Slots, buffers in flight and receivers' buffers, in all rows together.
        if bytes >= MIB && bytes * BUFFERS > shared::spare_bytes() as usize {
            stage.note(format!("{} is left out: too little memory is free here.", size(bytes)));
            continue;
        }
        by_size.push(measure(stage, bytes, mechanisms, &bench)?);
    }
    let says = "In a pass that is not timed, every message arrives with every byte as it was sent";
    stage.all(says, bench.arrived.get(), bench.filled.get());
    stage.show(table_of_fastest(&by_size));
    stage.table(table_of_all(&by_size, mechanisms));
    tell_growth(stage, &by_size);
    tell_leaders(stage, &by_size);
    compare_rings(stage, &by_size);
    if conclude(stage, &by_size).is_none() {
        stage.skip("this machine refused every mechanism that copies between processes, or every one that moves");
    }
    Ok(())
}

/// What all rows use; and tells what they do.
fn set_up(stage: &mut Stage) -> Result<Bench> {
    // Where there are two CPUs, each side has one: one copy may then run beside the other.
    let (placement, pinning) = match usable_cpus().len() {
        ..=1 => (Placement::SameCpu, "both on the one CPU that may be used here, so that each waits for the other"),
        _ => (Placement::OtherCpu, "each on a CPU of its own"),
    };
    stage.note(format!(
        "One side sends messages of one size, the other receives them, {pinning}. A turn is a batch: the receiver is \
         told how many will come, takes them all, and answers once. Every message carries its number and its length at \
         both ends, and the receiver checks both; in a pass that is not timed it compares every byte."
    ));
    stage.note(format!(
        "Copied: by pipes, sockets, a POSIX queue, the snippet ring, ipc-channel {} (bytes; or a region of its own for \
         each message). Serialized: by ipc-channel, a Vec<u8> as serde encodes it. Passed: the descriptor of the memory in \
         which the message was written (a memfd) is sent, and the other process maps it. Moved: a thread gives another \
         one its buffer (crossbeam-channel {}, or std's), and gets an empty one back. UDP is left out: it drops what \
         finds no room.",
        version::of("ipc-channel"),
        version::of("crossbeam-channel"),
    ));
    let most = stage.by_effort(16 * MIB, 256 * MIB, 256 * MIB); // Filling more would take most of the quick effort's time.
    let area_bytes = most.min(shared::spare_bytes() as usize).max(16 * MIB);
    stage.note(format!(
        "Messages that are copied come one after the other from {}. Their ceiling is a memcpy of the same messages in \
         pieces of {} to one place, which stays in the cache: whoever copies does that at least. Up to a mebibyte of \
         messages may be in flight in rings and channels, and two messages in any case.",
        size(area_bytes),
        size(PIECE_BYTES),
    ));
    let (directory, queue) = (stage.directory().to_owned(), format!("/{}", stage.name("throughput")));
    let area = RefCell::new(Area::new(area_bytes)?);
    Ok(Bench { area, placement, directory, queue, filled: Count::new(0), arrived: Count::new(0) })
}

/// All mechanisms at one size.
struct OneSize {
    bytes: usize,
    placement: Placement,
    measured: Measured,
    impossible: Vec<&'static str>,
}

/// The fastest of some mechanisms.
struct Fastest<'a> {
    mechanism: &'static Mechanism,
    figures: &'a Figures,
    /// The next one, and how many times as long the fastest takes as it.
    next: Option<(&'static str, Ratio)>,
    /// How many others are not clearly slower.
    level: usize,
}

const MEMCPY: &str = "memcpy";

fn measure(stage: &mut Stage, bytes: usize, mechanisms: &'static [Mechanism], bench: &Bench) -> Result<OneSize> {
    let mut contest = Contest::new(format!("Messages of {}", size(bytes)), "the mechanism", Timing::Batches);
    let row = |name| Row { name, bytes, bench };
    contest.add(memcpy(row(MEMCPY)));
    mechanisms.iter().for_each(|one| contest.add((one.rival)(row(one.name))));
    let mut found =
        OneSize { bytes, placement: bench.placement, measured: stage.compare(contest)?, impossible: Vec::new() };
    for one in mechanisms.iter().filter(|one| matches!(one.how, How::Copied | How::Serialized)) {
        let Some(took) = found.figures(one.name).zip(found.figures(MEMCPY)).and_then(impossible) else { continue };
        let what = format!("'{}' at {} was {took}", one.name, size(bytes));
        stage.spoiled(format!("{what}: impossible for what copies, so it is not counted"));
        found.impossible.push(one.name);
    }
    Ok(found)
}

/// How a figure compares with its ceiling, if it is clearly above it: then one of the two is wrong.
///
/// Copying takes CPU time, whoever does it and however long he waits: with less than half of a memcpy's nobody copied.
fn impossible((figures, ceiling): (&Figures, &Figures)) -> Option<String> {
    const HALF: f64 = 0.5; // A memcpy of its own may be this much luckier with its caches, and no more.
    let time = figures.against(ceiling);
    let cpu = figures.cpu_ns.zip(ceiling.cpu_ns).map(|(ours, least)| ours / least);
    (time.is_faster() || cpu.is_some_and(|share| share < HALF)).then(|| {
        let cpu = cpu.map_or("an unknown share".to_owned(), |share| format!("{} %", three_digits(share * 100.0)));
        format!("{} than a memcpy, with {cpu} of its CPU time", ratio_in_words(time.ratio))
    })
}

impl OneSize {
    /// None of what was not measured, or is impossible.
    fn figures(&self, name: &str) -> Option<&Figures> {
        let figures = self.measured.figures(name, self.placement)?;
        (!self.impossible.contains(&name)).then_some(figures)
    }

    /// The fastest of those whose bytes are handled like this: of what copies, between processes.
    fn fastest(&self, how: How) -> Option<Fastest<'_>> {
        let between = if how == How::Moved { Kind::Threads } else { Kind::Processes };
        let those = MECHANISMS.iter().filter(|one| one.how == how && one.between == between);
        let mut those: Vec<_> = those.filter_map(|one| Some((one, self.figures(one.name)?))).collect();
        those.sort_by(|(_, one), (_, other)| one.median().value.total_cmp(&other.median().value));
        let (&(mechanism, figures), others) = those.split_first()?;
        let ratios: Vec<_> = others.iter().map(|(other, theirs)| (other.name, figures.against(theirs))).collect();
        let level = ratios.iter().filter(|(_, ratio)| !ratio.is_faster()).count();
        Some(Fastest { mechanism, figures, next: ratios.first().copied(), level })
    }
}

fn table_of_fastest(by_size: &[OneSize]) -> Table {
    let row = |one: &OneSize| {
        let name = match one.fastest(How::Copied) {
            Some(Fastest { mechanism, level: 0, .. }) => Cell::good(mechanism.name),
            Some(Fastest { mechanism, level: 1, next: Some((next, _)), .. }) => {
                format!("{} or {next}", mechanism.name).into()
            }
            Some(Fastest { mechanism, level, .. }) => format!("{} or {level} others", mechanism.name).into(),
            None => Cell::Nothing,
        };
        let time = |figures: Option<&Figures>| figures.map_or(Cell::Nothing, |found| found.median().value.into());
        let times = [How::Copied, How::Passed, How::Serialized, How::Moved].map(|how| one.fastest(how));
        let times = times.iter().map(|fastest| time(fastest.as_ref().map(|fastest| fastest.figures)));
        [Cell::from(size(one.bytes)), name].into_iter().chain(times).chain([time(one.figures(MEMCPY))]).collect()
    };
    let columns = ["copied", "passed", "serialized", "moved", MEMCPY].map(|name| Column::value(name, "ns"));
    let columns = [Column::label("size"), Column::value("copied fastest by", "")].into_iter().chain(columns);
    Table::new(
        "What a message takes ('or': too close to call; moved: between threads)",
        columns,
        by_size.iter().map(row),
    )
}

/// One mechanism below the other, one size beside the other; why one is missing, its row of the comparison says.
fn table_of_all(by_size: &[OneSize], mechanisms: &[Mechanism]) -> Table {
    let cell = |name: &str, how: How, one: &OneSize| match one.measured.figures(name, one.placement) {
        // Nobody touches its bytes, so a number of them per second would be beyond any memory's.
        Some(_) if matches!(how, How::Passed | How::Moved) => Cell::neutral(how.to_string()),
        Some(found) => {
            let gb_per_s = gb_per_s(one.bytes, found);
            if one.impossible.contains(&name) {
                Cell::bad(format!("{} impossible", three_digits(gb_per_s)))
            } else {
                gb_per_s.into()
            }
        }
        None => Cell::Nothing,
    };
    let row = |(name, how): (&str, How)| {
        [Cell::from(name)].into_iter().chain(by_size.iter().map(|one| cell(name, how, one))).collect()
    };
    let names = [(MEMCPY, How::Copied)].into_iter().chain(mechanisms.iter().map(|one| (one.name, one.how)));
    let sizes = by_size.iter().map(|one| Column::value(size(one.bytes), "GB/s"));
    let columns = [Column::label("")].into_iter().chain(sizes);
    Table::new("Gigabytes per second, by the size of the message", columns, names.map(row))
}

/// How each kind grows from the smallest to the largest size.
fn tell_growth(stage: &mut Stage, by_size: &[OneSize]) {
    let [small, .., large] = by_size else { return };
    for how in [How::Copied, How::Passed, How::Serialized, How::Moved] {
        let Some(first) = MECHANISMS.iter().find(|one| one.how == how) else { continue };
        if let Some((large_one, small_one)) = large.figures(first.name).zip(small.figures(first.name)) {
            let says = format!("{how}, by {}: {} against {}", first.name, size(large.bytes), size(small.bytes));
            stage.trend(says, &large_one.against(small_one));
        }
    }
}

/// The fastest at each size beside the next one, and passing beside it.
fn tell_leaders(stage: &mut Stage, by_size: &[OneSize]) {
    for one in by_size {
        for how in [How::Copied, How::Moved] {
            if let Some(Fastest { mechanism, next: Some((next, ratio)), .. }) = one.fastest(how) {
                stage.trend(format!("{} {how}: {} against {next}", size(one.bytes), mechanism.name), &ratio);
            }
        }
        if let Some((passed, copied)) = one.fastest(How::Passed).zip(one.fastest(How::Copied)) {
            let says = format!("{} passed against copied by {}", size(one.bytes), copied.mechanism.name);
            stage.trend(says, &passed.figures.against(copied.figures));
        }
    }
}

/// The same ring: does a message take longer between two processes than between two threads?
fn compare_rings(stage: &mut Stage, by_size: &[OneSize]) {
    let mut ratios: Vec<Ratio> = Vec::new();
    for one in by_size {
        let Some((processes, threads)) = one.figures(RING).zip(one.figures(RING_OF_THREADS)) else { continue };
        let ratio = processes.against(threads);
        stage.trend(format!("{}: {RING} between processes against {RING_OF_THREADS}", size(one.bytes)), &ratio);
        ratios.push(ratio);
    }
    let [slower, faster] = [Ratio::is_slower, Ratio::is_faster].map(|is| ratios.iter().filter(|one| is(one)).count());
    if !ratios.is_empty() {
        stage.note(format!(
            "The same ring is clearly slower between two processes than between two threads at {slower} of {} sizes, and \
             clearly faster at {faster}.{}",
            ratios.len(),
            if slower == 0 { " As far as this run can tell, crossing into another process costs it nothing." } else { "" },
        ));
    }
}

/// Headline, answer and advice; none if nothing copies, or nothing moves.
fn conclude(stage: &mut Stage, by_size: &[OneSize]) -> Option<()> {
    let large = by_size.last()?;
    let fastest = [How::Copied, How::Moved, How::Passed, How::Serialized].map(|how| large.fastest(how));
    let time = |fastest: &Option<Fastest<'_>>| Some(with_unit("ns", fastest.as_ref()?.figures.median().value));
    let [copied, moved, passed, serialized] = fastest.each_ref().map(time);
    let (copied, moved, bytes) = (copied?, moved?, size(large.bytes));
    stage.headline(match &passed {
        Some(passed) => format!("{bytes}: {passed} passed, {copied} copied"),
        None => format!("{bytes}: {moved} moved, {copied} copied"),
    });
    let leader = leader(by_size);
    let pays_from = passing_pays_from(by_size);
    let leads = match leader {
        Some((leader, sizes)) => format!("{} copies fastest at {sizes} of {} sizes", leader.name, by_size.len()),
        None => "no copy is clearly fastest".to_owned(),
    };
    let pays = match pays_from {
        Some(bytes) => format!("passing memory beats every copy from {} on", size(bytes)),
        None if passed.is_none() => "passing memory was refused".to_owned(),
        None => "passing memory is no clear gain".to_owned(),
    };
    let others = [(moved, "moved"), (passed.unwrap_or_default(), "passed"), (copied, "copied")];
    let others =
        others.into_iter().chain(serialized.map(|time| (time, "serialized"))).filter(|(time, _)| !time.is_empty());
    let times: Vec<String> = others.map(|(time, how)| format!("{time} {how}")).collect();
    stage.answer(format!("Between processes, {leads}; {pays}. {bytes} take {}.", times.join(", ")));
    let snippet = leader.map(|(leader, _)| leader.snippet).filter(|snippet| !snippet.is_empty()).unwrap_or("pipe_pair");
    stage.advise(match pays_from {
        Some(bytes) if bytes > by_size[0].bytes => {
            format!("From {} on, pass memory: `pass_fd`. Below, copy `{snippet}`.", size(bytes))
        }
        Some(_) => "Pass the memory itself: copy `pass_fd`.".to_owned(),
        None => format!("Much data between two processes? Copy `{snippet}`."),
    });
    Some(())
}

/// Of what copies between processes, the one that is clearly the fastest at the most sizes, and at how many.
fn leader(by_size: &[OneSize]) -> Option<(&'static Mechanism, usize)> {
    let clear = by_size.iter().filter_map(|one| one.fastest(How::Copied)).filter(|fastest| fastest.level == 0);
    let names: Vec<&str> = clear.map(|fastest| fastest.mechanism.name).collect();
    let counted = MECHANISMS.iter().map(|one| (one, names.iter().filter(|name| **name == one.name).count()));
    counted.filter(|(_, sizes)| *sizes > 0).reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// The smallest size from which on passing is clearly faster than every copy, at every larger one too.
fn passing_pays_from(by_size: &[OneSize]) -> Option<usize> {
    let pays = |one: &&OneSize| {
        let both = one.fastest(How::Passed).zip(one.fastest(How::Copied));
        both.is_some_and(|(passed, copied)| passed.figures.against(copied.figures).is_faster())
    };
    by_size.iter().rev().take_while(pays).last().map(|one| one.bytes)
}

fn gb_per_s(bytes: usize, figures: &Figures) -> f64 {
    bytes as f64 / figures.median().value // Bytes per nanosecond are gigabytes per second.
}

fn size(bytes: usize) -> String {
    chosen_with_unit("bytes", bytes as f64)
}
