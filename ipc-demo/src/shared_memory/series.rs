//! What has the kernel to do while a ring carries many round trips? Counted for both sides together.

use anyhow::Result;
use shared::Placement;
use shared::measure::Pinning;
use shared::number::count;
use shared::{Cell, Column, Table, refused};

use super::exchange::{Asker, Tally, Traffic};
use super::kernel::{Counts, Task};
use super::overhead::{PLACEMENTS, place};
use super::ways::{self, RingEnd};

/// Whose sides, where, and what was counted; or why it could not be.
pub struct Row {
    pub label: &'static str,
    pub placement: Placement,
    pub counted: Result<Counts, String>,
}

type Start<'a> = fn(Pinning, &'a Tally) -> Result<Asker<'a, RingEnd>>;

/// So many round trips each; the processes come first, for nothing forks beside threads.
pub fn observe(round_trips: u64, tally: &Tally) -> Result<Vec<Row>> {
    let kinds: [(&'static str, Start<'_>); 2] = [
        (ways::RING_PROCESSES, |pinning, tally| Asker::beside_process(pinning, tally, ways::rings)),
        (ways::RING_THREADS, |pinning, tally| Asker::beside_thread(pinning, tally, ways::rings)),
    ];
    let mut rows = Vec::new();
    for (label, start) in kinds {
        for placement in PLACEMENTS {
            let counted = match Pinning::of(placement) {
                None => Err("one usable CPU".to_owned()),
                Some(pinning) => match start(pinning, tally).and_then(|asker| counted(asker, pinning, round_trips)) {
                    Ok(counts) => Ok(counts),
                    Err(error) => Err(refused(&error).ok_or(error)?),
                },
            };
            rows.push(Row { label, placement, counted });
        }
    }
    Ok(rows)
}

fn counted(mut asker: Asker<'_, RingEnd>, pinning: Pinning, round_trips: u64) -> Result<Counts> {
    let _pinned = pinning.own.pin()?;
    let tasks = [Task::own(), asker.peer_task];
    let both = || Ok::<_, anyhow::Error>(tasks[0].counts()? + tasks[1].counts()?);
    asker.turn(Traffic::RoundTrip, ways::SLOTS as u64)?; // Once round: from here on every page of it is mapped.
    let before = both()?;
    asker.turn(Traffic::RoundTrip, round_trips)?;
    Ok(both()? - before)
}

pub fn table(rows: &[Row], round_trips: u64) -> Table {
    let row = |row: &Row| {
        let cells = match &row.counted {
            Ok(Counts { faults, voluntary, involuntary }) => {
                [faults, voluntary, involuntary].map(|number| Cell::Number(*number as f64)).to_vec()
            }
            Err(why) => vec![Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing],
        };
        let names = [row.label, place(row.placement)].map(|name| Cell::Text(name.to_owned()));
        names.into_iter().chain(cells).collect()
    };
    let heads = ["page faults", "went to sleep", "were interrupted"].map(|head| Column::value(head, ""));
    Table {
        title: format!("What the kernel did during {} round trips, both sides together", count(round_trips)),
        columns: [Column::label("ring"), Column::label("where")].into_iter().chain(heads).collect(),
        rows: rows.iter().map(row).collect(),
    }
}
