//! How long must a task be before it is worth starting someone for it?

use shared::measure::{Figures, Measured};
use shared::stats::Median;
use shared::{Cell, Column, Placement, Stage, Table};

use super::pools::{POOL_PROCESS, POOL_THREAD};
use super::ways::{COMMAND, FORK, THREAD, Times};

/// A start costs little when it is less than this part of the task.
const LITTLE: f64 = 0.05;

/// Milliseconds of a task beside which starting someone for it costs little; none where it was not measured.
pub struct From {
    pub thread_ms: Option<f64>,
    pub fork_ms: Option<f64>,
}

pub fn show(stage: &mut Stage, times: &Times, pools: &Measured) -> From {
    let started = [THREAD, FORK, COMMAND].map(|label| (label, times.figures(label)));
    let waiting = [POOL_THREAD, POOL_PROCESS].map(|label| (label, pools.figures(label, Placement::Free)));
    let row = |(label, figures): &(&str, Option<&Figures>)| {
        let Median { value, low, high } = figures.as_ref()?.median();
        let task = match (low, high) {
            (Some(low), Some(high)) => Cell::Interval { value: value / LITTLE, low: low / LITTLE, high: high / LITTLE },
            _ => Cell::Number(value / LITTLE),
        };
        Some(vec![Cell::Text((*label).to_owned()), Cell::Number(value), task])
    };
    stage.table(Table {
        title: "How long a task must be for its start to cost under 5 % of it".to_owned(),
        columns: vec![Column::label("done by"), Column::value("start to end", "ns"), Column::value("task from", "ns")],
        rows: started.iter().chain(&waiting).filter_map(row).collect(),
    });
    let from = |label| Some(times.median_ns(label)? / LITTLE / 1e6);
    From { thread_ms: from(THREAD), fork_ms: from(FORK) }
}
