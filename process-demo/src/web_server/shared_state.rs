//! Where do the workers of a server keep what they share: a counter and a cache?

mod bench;
mod cache;
mod mapped;
mod owner;
mod ways;

use anyhow::{Context, Result};
use shared::number::{chosen_with_unit, count};
use shared::{Cell, Column, Mood, Role, Stage, Table};

use bench::{Bench, Figures};
use cache::Slot;
use shared::spare_bytes;
use ways::Way;

/// What each way has cost.
pub struct State(Vec<(Way, Figures)>);

impl State {
    /// How long a lookup took where one counter and one cache serve all.
    pub fn lookups_ns(&self) -> Vec<(&'static str, f64)> {
        let in_common = self.0.iter().filter(|(way, _)| *way != Way::OneEach);
        in_common.map(|(way, figures)| (way.label(), figures.lookup_ns)).collect()
    }
}

pub fn show(stage: &mut Stage, workers: usize) -> Result<State> {
    const MIB: usize = 1 << 20;
    let most_bytes = spare_bytes() as usize / (workers + 1);
    let cache_bytes = stage.by_effort(4 * MIB, 64 * MIB, 64 * MIB).min(most_bytes.max(MIB));
    let lookups_each = stage.by_effort(3_000, 100_000, 400_000);
    let slots = cache_bytes / size_of::<Slot>();
    let mut rows = Vec::new();
    for way in Way::ALL {
        let bench = Bench::new(stage.clock(), workers, slots, lookups_each)?;
        rows.push((way, way.run(&bench).with_context(|| format!("a cache by {}", way.label()))?));
    }
    tell(stage, &rows, workers, &chosen_with_unit("bytes", cache_bytes as f64));
    judge(stage, &rows, lookups_each);
    Ok(State(rows))
}

fn tell(stage: &mut Stage, rows: &[(Way, Figures)], workers: usize, cache: &str) {
    let cells = |(way, figures): &(Way, Figures)| {
        let least = figures.counts.iter().min().copied().unwrap_or(0);
        let is_exact = figures.counts.iter().all(|&count| count == figures.lookups);
        let mood = if is_exact { Mood::Good } else { Mood::Bad };
        vec![
            Cell::Text(way.label().to_owned()),
            Cell::Number(figures.hits as f64 / figures.lookups as f64 * 100.0),
            figures.pss_bytes.map_or(Cell::Nothing, |bytes| Cell::Number(bytes as f64)),
            Cell::Number(figures.lookup_ns),
            Cell::Word { says: format!("{} of {}", count(least), count(figures.lookups)), mood },
        ]
    };
    stage.table(Table {
        title: format!("Shared state: a counter and a cache of {cache}, used by {workers} workers"),
        columns: vec![
            Column { name: "kept in".into(), unit: String::new(), role: Role::Label },
            Column::value("hits", "%"),
            Column::value("memory", "bytes"),
            Column::value("a lookup", "ns"),
            Column::value("counter", ""),
        ],
        rows: rows.iter().map(cells).collect(),
    });
    stage.note(
        "Each worker looks up the same keys in every row; a value of 1 KiB that is not there is made anew. Memory: PSS \
         of all. Counter: what a worker sees of it when all have finished.",
    );
}

fn judge(stage: &mut Stage, rows: &[(Way, Figures)], lookups_each: u64) {
    let (right, all) = rows.iter().fold((0, 0), |(right, all), (_, it)| (right + it.right, all + it.lookups));
    let got = format!("{} of {}", count(right), count(all));
    stage.check("Every value that was looked up was the key's own and whole", right == all, got);
    let as_it_should = rows.iter().all(|(way, figures)| {
        let expected = if *way == Way::OneEach { lookups_each } else { figures.lookups };
        figures.counts.iter().all(|&count| count == expected)
    });
    let least = |counts: &[u64]| count(counts.iter().min().copied().unwrap_or(0));
    let seen: Vec<String> = rows.iter().map(|(way, it)| format!("{} {}", way.label(), least(&it.counts))).collect();
    stage.fact(
        "A counter for all, wherever it is kept, counts every request; one per process only its own",
        as_it_should,
        seen.join(", "),
    );
}
