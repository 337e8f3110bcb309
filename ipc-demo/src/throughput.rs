//! Which mechanism moves the most, by the size of the message?

mod course;
mod fastest;
mod mechanisms;
mod message;

use std::cell::RefCell;

use anyhow::Result;
use shared::measure::{Contest, Timing, usable_cpus};
use shared::number::{count, three_digits};
use shared::stats::{Ratio, ratio};
use shared::{Cell, Column, Demo, Extras, Mood, Placement, Snippet, Stage, Table};

use crate::version;
use course::{Bench, Course, Tally, memcpy, under_way};
use fastest::{Fastest, Figure, Group, MEMCPY, MEMCPY_TO_CACHE, PIECE_BYTES, champion, fastest, impossible, size};
use mechanisms::{MECHANISMS, RING, RING_OF_THREADS, regions_under_way};
use message::{Area, largest_cache_bytes, size_bytes};

pub const DEMO: Demo = Demo {
    name: "throughput",
    question: "Which mechanism moves the most, by the size of the message?",
    claims: &[],
    rule: "It gives no verdict. A mechanism leads at a size if it is clearly faster there than every other of its group. \
           What copies and is clearly faster than its ceiling, a memcpy of the same messages, or takes less than half of \
           its CPU time, is impossible: it is flagged and does not lead.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/socket_pair.rs", text: include_str!("../snippets/socket_pair.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
    ],
    run,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn run(stage: &mut Stage) -> Result<()> {
    let sizes: &[usize] = stage.by_effort(
        &[64, 8 * KIB, MIB],
        &[64, 8 * KIB, 64 * KIB, MIB, 16 * MIB],
        &[64, KIB, 8 * KIB, 64 * KIB, MIB, 16 * MIB],
    );
    let bench = set_up(stage, sizes)?;
    let (mut figures, mut flagged) = (Vec::new(), Vec::new());
    for &bytes in sizes {
        const BUFFERS: usize = 24; // Slots, buffers under way and receivers' buffers, in all rows together.
        if bytes >= MIB && bytes * BUFFERS > shared::spare_bytes() as usize {
            stage.note(format!("{} is left out: too little memory is free here.", size(bytes)));
            continue;
        }
        measure(stage, bytes, &bench, &mut figures, &mut flagged)?;
    }
    tell_checks(stage, &bench.tally);
    stage.table(table_of_all(&figures, &flagged, sizes));
    stage.show(fastest::table(&figures, sizes));
    for group in [Group::Processes, Group::Kernel, Group::Threads, Group::IpcChannel] {
        let ahead = fastest(&figures, group, sizes).into_iter().filter_map(|fastest| fastest.ahead(group));
        ahead.for_each(|(says, ratio)| stage.trend(says, &ratio));
    }
    compare_rings(stage, &figures, sizes);
    if conclude(stage, &figures, sizes).is_none() {
        stage.skip("this machine refused every mechanism between processes, or every one between threads");
    }
    Ok(())
}

/// What all rows use; and tells what they do.
fn set_up(stage: &mut Stage, sizes: &[usize]) -> Result<Bench> {
    // Where there are two CPUs, each side has one: one copy may then run beside the other.
    let (placement, pinning) = match usable_cpus().len() {
        ..=1 => (Placement::SameCpu, "both on the one CPU that may be used here, so that each waits for the other"),
        _ => (Placement::OtherCpu, "each on a CPU of its own"),
    };
    stage.note(format!(
        "One side sends messages of one size, the other receives them, {pinning}. A turn is a batch: the receiver is \
         woken, takes them all, and answers once, at the end. Every message carries its number and its length at \
         both ends, and the receiver checks both; in a pass that is not timed it compares every byte."
    ));
    let cache_bytes = largest_cache_bytes();
    let most = stage.by_effort(0, 256 * MIB, 256 * MIB); // Filling more would take most of the quick effort's time.
    let area_bytes = size_bytes(cache_bytes, most.min(shared::spare_bytes() as usize));
    let cache = match cache_bytes {
        Some(bytes) if bytes < area_bytes => format!("more than the largest cache, which has {}", size(bytes)),
        Some(bytes) => format!("less than the largest cache, which has {}", size(bytes)),
        None => "whatever the size of the caches, which is unknown here".to_owned(),
    };
    stage.note(format!(
        "Messages are taken one after the other from {}, {cache}. The ceiling is a memcpy of the same messages from \
         the same memory; 'to cache', in pieces of {}, is the part that is left for the sender's CPU if the receiver's \
         makes a second copy. What copies and is faster must be an error.",
        size(area_bytes),
        size(PIECE_BYTES),
    ));
    let in_flight = |&bytes: &usize| format!("{} of {}", count(under_way(bytes) as u64), size(bytes));
    let in_flight: Vec<String> = sizes.iter().map(in_flight).collect();
    stage.note(format!(
        "So many messages may be in flight in the ring, as in the channels of threads: {}; in ipc-channel's regions \
         {} at most. A message that is moved stays where it is: its sender gives it up, and gets an empty buffer back. \
         UDP is left out: it drops what finds no room, and never holds its sender up.",
        in_flight.join(", "),
        regions_under_way(1)
    ));
    stage.table(table_of_mechanisms());
    let (directory, queue) = (stage.directory().to_owned(), format!("/{}", stage.name("throughput")));
    let area = RefCell::new(Area::new(area_bytes)?);
    Ok(Bench { area, placement, directory, queue, tally: Tally::default() })
}

/// All mechanisms at one size, beside the memcpy that is their ceiling. What cannot be true is set apart.
fn measure(
    stage: &mut Stage,
    bytes: usize,
    bench: &Bench,
    figures: &mut Vec<Figure>,
    flagged: &mut Vec<Figure>,
) -> Result<()> {
    bench.area.borrow_mut().rewind();
    let mut contest = Contest::new(format!("Messages of {}", size(bytes)), "the mechanism", Timing::Batches);
    let course = |name| Course { name, bytes, bench };
    contest.add(memcpy(course(MEMCPY), bytes));
    if bytes > PIECE_BYTES {
        contest.add(memcpy(course(MEMCPY_TO_CACHE), PIECE_BYTES));
    }
    MECHANISMS.iter().for_each(|one| contest.add((one.rival)(course(one.name))));
    let measured = stage.compare(contest)?;
    let figure = |name, between, copies| {
        let found = measured.figures(name, bench.placement)?;
        Some(Figure { name, between, copies, bytes, by_round: found.by_round(), cpu_ns: found.cpu_ns })
    };
    figures.extend([MEMCPY, MEMCPY_TO_CACHE].into_iter().filter_map(|name| figure(name, None, 1)));
    for figure in MECHANISMS.iter().filter_map(|one| figure(one.name, Some(one.between), one.copies)) {
        let Some(took) = impossible(&figure, figures, bench.placement) else {
            figures.push(figure);
            continue;
        };
        let what = format!("'{}' at {} was {took}", figure.name, size(bytes));
        stage.spoiled(format!("{what}: impossible for what copies, so it is not counted"));
        flagged.push(figure);
    }
    Ok(())
}

fn tell_checks(stage: &mut Stage, Tally { rows, whole, whole_sent, timed, timed_sent }: &Tally) {
    let got = format!("{} of {} in {} rows", count(whole.get()), count(whole_sent.get()), rows.get());
    let says = "In the pass that was not timed, every message arrived with every byte as it was sent";
    stage.check(says, whole.get() == whole_sent.get() && whole.get() > 0, got);
    let got = format!("{} of {}", count(timed.get()), count(timed_sent.get()));
    let says = "Every timed message arrived once, in order, with its number and length at both ends";
    stage.check(says, timed.get() == timed_sent.get() && timed.get() > 0, got);
}

fn table_of_mechanisms() -> Table {
    let row = |one: &mechanisms::Mechanism| {
        let made_by = match one.made_by {
            ("std", call) => format!("std {call}"),
            (name, call) => format!("{name} {} {call}", version::of(name)),
        };
        let texts = [one.name.to_owned(), one.between.to_string(), made_by].map(Cell::Text);
        texts.into_iter().chain([Cell::Number(one.copies.into())]).collect()
    };
    Table {
        title: "The mechanisms, and how often each copies a message".to_owned(),
        columns: vec![
            Column::label("mechanism"),
            Column::value("between", ""),
            Column::value("made by", ""),
            Column::value("copies", ""),
        ],
        rows: MECHANISMS.iter().map(row).collect(),
    }
}

/// One mechanism below the other, one size beside the other; why one is missing, its row of the comparison says.
fn table_of_all(figures: &[Figure], flagged: &[Figure], sizes: &[usize]) -> Table {
    let word = |says: String, mood| Cell::Word { says, mood };
    let cell = |name: &str, bytes: usize| {
        let of = |some: &'_ [Figure]| some.iter().find(|one| (one.name, one.bytes) == (name, bytes)).cloned();
        match (of(figures), of(flagged)) {
            (_, Some(figure)) => word(format!("{} impossible", three_digits(figure.gb_per_s())), Mood::Bad),
            // Nobody touches its bytes on their way, so a number of them per second would be beyond any memory's.
            (Some(figure), _) if figure.copies == 0 => word("moved".to_owned(), Mood::Neutral),
            (Some(figure), _) => Cell::Number(figure.gb_per_s()),
            (None, None) => Cell::Nothing,
        }
    };
    let row = |name: &str| {
        let label = Cell::Text(name.to_owned());
        [label].into_iter().chain(sizes.iter().map(|&bytes| cell(name, bytes))).collect()
    };
    let heads = sizes.iter().map(|&bytes| Column::value(size(bytes), "GB/s"));
    Table {
        title: "Gigabytes per second, by the size of the message".to_owned(),
        columns: [Column::label("")].into_iter().chain(heads).collect(),
        rows: [MEMCPY, MEMCPY_TO_CACHE].into_iter().chain(MECHANISMS.iter().map(|one| one.name)).map(row).collect(),
    }
}

/// The same ring, one way: does it take longer between two processes than between two threads?
fn compare_rings(stage: &mut Stage, figures: &[Figure], sizes: &[usize]) {
    let of = |name, bytes| figures.iter().find(move |one| (one.name, one.bytes) == (name, bytes));
    let mut ratios: Vec<Ratio> = Vec::new();
    for &bytes in sizes {
        let Some((processes, threads)) = of(RING, bytes).zip(of(RING_OF_THREADS, bytes)) else { continue };
        let ratio = ratio(&processes.by_round, &threads.by_round);
        stage.trend(format!("{}: {RING} between processes against {RING_OF_THREADS}", size(bytes)), &ratio);
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

/// Headline, answer and advice; none if a group has no figures.
fn conclude(stage: &mut Stage, figures: &[Figure], sizes: &[usize]) -> Option<()> {
    let [processes, threads] = [Group::Processes, Group::Threads].map(|group| fastest(figures, group, sizes));
    let firsts = processes.iter().map(|fastest| fastest.first);
    let most = firsts.max_by(|one, other| one.gb_per_s().total_cmp(&other.gb_per_s()))?;
    stage.headline(format!("{} GB/s at most, by {}", three_digits(most.gb_per_s()), most.name));
    threads.first()?;
    let told = |by_size: &[Fastest<'_>]| match champion(by_size) {
        Some((name, sizes)) => format!("{name} is clearly fastest at {sizes} of {} sizes", by_size.len()),
        None => format!("nothing is clearly fastest at any of {} sizes", by_size.len()),
    };
    let copies = |name| MECHANISMS.iter().any(|one| one.name == name && one.copies > 0);
    stage.answer(format!(
        "Between processes {}; between threads {}{}.",
        told(&processes),
        told(&threads),
        if champion(&threads).is_some_and(|(name, _)| !copies(name)) { ", copying nothing" } else { "" },
    ));
    stage.advise(match champion(&processes) {
        Some((RING, _)) => "Much data between two processes? Copy `ring`.".to_owned(),
        Some(("pipe" | "pipe of 1 MiB", _)) => "Much data between two processes? Copy `pipe_pair`.".to_owned(),
        Some(("Unix stream", _)) => "Much data between two processes? Copy `socket_pair`.".to_owned(),
        Some(("POSIX queue", _)) => "Much data between two processes? Copy `message_queue`.".to_owned(),
        Some((other, _)) => format!("{other} was the fastest here; it has no snippet, `ring` has."),
        None => "Nothing is clearly the fastest: copy `pipe_pair` or `ring`.".to_owned(),
    });
    Some(())
}
