//! What does it cost the workers of a server to share state: a counter and a cache?

mod cache;
mod keepers;

use anyhow::{Context, Result};
use nix::sys::mman::MapFlags;
use process_demo::crew::Kind;
use shared::measure::usable_cpus;
use shared::number::{chosen_with_unit, count, ratio_in_words, with_unit};
use shared::{Cell, Demo, Extras, Snippet, Stage, Table, spare_bytes};

use crate::server::number;
use cache::Slot;
use keepers::{Figures, Size, in_memory, with_an_owner};

pub const DEMO: Demo = Demo {
    name: "shared-state",
    question: "What does it cost the workers of a server to share state?",
    claims: &[],
    rule: "It answers no claim. Threads share a counter and a cache under a lock; processes have one each, share memory \
           with a lock in it, or ask a process that owns it. Each worker looks up the same keys in every row.",
    extras: Extras {
        parameters: &[number("workers", "", "that share the state; 0 for as many as CPUs", 0.0, 0.0, 64.0)],
        ..Extras::NONE
    },
    snippets: &[
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/memory_of.rs", text: include_str!("../snippets/memory_of.rs") },
    ],
    run,
};

const THREADS: &str = "threads";
const ONE_EACH: &str = "one per process";
const SHARED_MEMORY: &str = "shared memory";
const OWNER: &str = "owner process";

/// All workers' lookups, where one keeper has the cache.
type LookUp = fn(Size) -> Result<Figures>;

const KEEPERS: [(&str, LookUp); 4] = [
    (THREADS, |size| in_memory(Kind::Threads, MapFlags::MAP_PRIVATE, size)),
    (ONE_EACH, |size| in_memory(Kind::Processes, MapFlags::MAP_PRIVATE, size)),
    (SHARED_MEMORY, |size| in_memory(Kind::Processes, MapFlags::MAP_SHARED, size)),
    (OWNER, with_an_owner),
];

type Row = (&'static str, Figures);

fn run(stage: &mut Stage) -> Result<()> {
    const MIB: usize = 1 << 20;
    let workers = match stage.setting("workers") as usize {
        0 => usable_cpus().len().clamp(2, 16), // One shares with nobody.
        workers => workers,
    };
    let most_bytes = spare_bytes() as usize / (workers + 1);
    let cache_bytes = stage.by_effort(4 * MIB, 64 * MIB, 64 * MIB).min(most_bytes.max(MIB));
    let lookups_each = stage.by_effort(3_000, 100_000, 400_000);
    let size = Size { workers, slots: cache_bytes / size_of::<Slot>(), lookups_each };
    let mut rows: Vec<Row> = Vec::new();
    for (label, look_up) in KEEPERS {
        rows.push((label, look_up(size).with_context(|| format!("a cache, {label}"))?));
    }
    rows.sort_by(|(_, one), (_, other)| one.lookup_ns.total_cmp(&other.lookup_ns));
    let cache = chosen_with_unit("bytes", cache_bytes as f64);
    let columns = [("kept by", ""), ("hits", "%"), ("memory", "bytes"), ("a lookup", "ns"), ("counter", "")];
    let title = format!("A counter and a cache of {cache}, used by {workers} workers");
    let lookups = workers as u64 * lookups_each;
    stage.show(Table::new(title, columns, rows.iter().map(|row| cells(row, lookups))));
    stage.note(
        "Each worker looks up the same keys in every row; a value of 1 KiB that is not there is made anew. Memory: PSS \
         of all. Counter: what a worker sees of it when all have finished.",
    );
    judge(stage, &rows, lookups, lookups_each);
    conclude(stage, &rows);
    Ok(())
}

fn cells((label, figures): &Row, lookups: u64) -> Vec<Cell> {
    let seen = format!("{} of {}", least_count(figures), count(lookups));
    let is_exact = figures.counts.iter().all(|&count| count == lookups);
    vec![
        (*label).into(),
        (figures.hits as f64 / lookups as f64 * 100.0).into(),
        figures.pss_bytes.into(),
        figures.lookup_ns.into(),
        if is_exact { Cell::good(seen) } else { Cell::bad(seen) },
    ]
}

fn least_count(figures: &Figures) -> String {
    count(figures.counts.iter().min().copied().unwrap_or(0))
}

fn judge(stage: &mut Stage, rows: &[Row], lookups: u64, lookups_each: u64) {
    let mut fact = |says: &str, is_meant: fn(&str) -> bool, expected: u64| {
        let meant = || rows.iter().filter(|(label, _)| is_meant(label));
        let exact = meant().all(|(_, figures)| figures.counts.iter().all(|&seen| seen == expected));
        let got: Vec<String> = meant().map(|(label, figures)| format!("{label} {}", least_count(figures))).collect();
        stage.fact(says, exact, format!("{} of {}", got.join(", "), count(lookups)));
    };
    let says = "A counter that all share counts every request of every worker, wherever it is kept";
    fact(says, |label| label != ONE_EACH, lookups);
    let says = "A counter that each process has for itself counts only its own";
    fact(says, |label| label == ONE_EACH, lookups_each);
}

fn conclude(stage: &mut Stage, rows: &[Row]) {
    let lookup_ns = |label| rows.iter().find(|row| row.0 == label).map_or(f64::NAN, |row| row.1.lookup_ns);
    let [threads, memory, owner] = [THREADS, SHARED_MEMORY, OWNER].map(lookup_ns);
    stage.headline(format!("{} by an owner process", ratio_in_words(owner / threads)));
    let [threads_time, memory_time, owner_time] = [threads, memory, owner].map(|time_ns| with_unit("ns", time_ns));
    stage.answer(format!(
        "Threads look a value up in {threads_time}, processes in {memory_time} by shared memory and {owner_time} by an \
         owner. With a counter each, processes count apart."
    ));
    stage.advise(if memory < owner {
        "Share memory, rather than ask an owner; fork the workers by `child`."
    } else {
        "Ask an owner process, rather than share memory; fork it by `child`."
    });
}
