//! How long must a task be before it is worth starting someone for it?

use shared::measure::{Figures, Measured};
use shared::stats::Median;
use shared::{Cell, Column, Placement, Stage, Table};

use super::pools::{POOL_PROCESS, POOL_THREAD};
use super::ways::{COMMAND, FORK, THREAD, Times};

/// A start costs little when it is less than this part of the task.
const LITTLE: f64 = 0.05;

/// Returns the length of a task beside which a fork for it costs little; none where it was not measured.
pub fn show(stage: &mut Stage, times: &Times, pools: &Measured) -> Option<f64> {
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
        title: "How long a task must be, that its start (as above) costs under 5 %".to_owned(),
        columns: vec![
            Column::label("done by"),
            Column::value("start to end", "ns"),
            Column::value("task of at least", "ns"),
        ],
        rows: started.iter().chain(&waiting).filter_map(row).collect(),
    });
    Some(times.median_ns(FORK)? / LITTLE)
}
