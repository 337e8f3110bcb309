//! What does it cost the workers of a server to share state: a counter and a cache?

mod cache;
mod keepers;

use anyhow::{Context, Result};
use shared::measure::usable_cpus;
use shared::number::{chosen_with_unit, count, ratio_in_words, with_unit};
use shared::{Cell, Demo, Extras, Mood, Snippet, Stage, spare_bytes};

use crate::server::{number, table};
use cache::Slot;
use keepers::{Bench, Figures, Keeper};

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

fn run(stage: &mut Stage) -> Result<()> {
    const MIB: usize = 1 << 20;
    let workers = match stage.setting("workers") as usize {
        0 => usable_cpus().len().clamp(2, 16), // One shares with nobody.
        workers => workers,
    };
    let most_bytes = spare_bytes() as usize / (workers + 1);
    let cache_bytes = stage.by_effort(4 * MIB, 64 * MIB, 64 * MIB).min(most_bytes.max(MIB));
    let lookups_each = stage.by_effort(3_000, 100_000, 400_000);
    let mut rows = Vec::new();
    for keeper in Keeper::ALL {
        let bench = Bench::new(workers, cache_bytes / size_of::<Slot>(), lookups_each)?;
        rows.push((keeper, keeper.run(&bench).with_context(|| format!("a cache by {}", keeper.label()))?));
    }
    rows.sort_by(|(_, one), (_, other)| one.lookup_ns.total_cmp(&other.lookup_ns));
    let cache = chosen_with_unit("bytes", cache_bytes as f64);
    let columns = [("hits", "%"), ("memory", "bytes"), ("a lookup", "ns"), ("counter", "")];
    let title = format!("A counter and a cache of {cache}, used by {workers} workers");
    stage.show(table(title, "kept by", &columns, rows.iter().map(cells).collect()));
    stage.note(
        "Each worker looks up the same keys in every row; a value of 1 KiB that is not there is made anew. Memory: PSS \
         of all. Counter: what a worker sees of it when all have finished.",
    );
    judge(stage, &rows, lookups_each);
    conclude(stage, &rows);
    Ok(())
}

fn cells((keeper, figures): &(Keeper, Figures)) -> Vec<Cell> {
    let is_exact = figures.counts.iter().all(|&count| count == figures.lookups);
    let mood = if is_exact { Mood::Good } else { Mood::Bad };
    vec![
        Cell::Text(keeper.label().to_owned()),
        Cell::Number(figures.hits as f64 / figures.lookups as f64 * 100.0),
        figures.pss_bytes.map_or(Cell::Nothing, |bytes| Cell::Number(bytes as f64)),
        Cell::Number(figures.lookup_ns),
        Cell::Word { says: format!("{} of {}", least_count(figures), count(figures.lookups)), mood },
    ]
}

fn least_count(figures: &Figures) -> String {
    count(figures.counts.iter().min().copied().unwrap_or(0))
}

fn judge(stage: &mut Stage, rows: &[(Keeper, Figures)], lookups_each: u64) {
    let (right, all) = rows.iter().fold((0, 0), |(right, all), (_, it)| (right + it.right, all + it.lookups));
    let got = format!("{} of {}", count(right), count(all));
    stage.check("Every value that was looked up was the key's own and whole", right == all, got);
    let (apart, in_common): (Vec<_>, Vec<_>) = rows.iter().partition(|(keeper, _)| *keeper == Keeper::OneEach);
    let counts = |rows: &[&(Keeper, Figures)]| {
        let one = |(keeper, figures): &&(Keeper, Figures)| format!("{} {}", keeper.label(), least_count(figures));
        rows.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let is_exact = |figures: &Figures| figures.counts.iter().all(|&count| count == figures.lookups);
    stage.fact(
        "A counter that all share counts every request of every worker, wherever it is kept",
        in_common.iter().all(|(_, figures)| is_exact(figures)),
        counts(&in_common),
    );
    stage.fact(
        "A counter that each process has for itself counts only its own",
        apart.iter().all(|(_, figures)| figures.counts.iter().all(|&count| count == lookups_each)),
        format!("{} of {}", counts(&apart), count(in_common[0].1.lookups)),
    );
}

fn conclude(stage: &mut Stage, rows: &[(Keeper, Figures)]) {
    let lookup_ns = |keeper| rows.iter().find(|(one, _)| *one == keeper).map_or(f64::NAN, |(_, it)| it.lookup_ns);
    let [threads, memory, owner] = [Keeper::Threads, Keeper::SharedMemory, Keeper::Owner].map(lookup_ns);
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
