//! What of a hop is the switch?

use shared::measure::Measured;
use shared::number::with_unit;
use shared::stats::{self, Median};
use shared::{Cell, Column, Placement, Stage, Table};

use super::hops::{Who, label};

/// What a hop takes longer than the control, by working set.
pub struct Switch {
    set_bytes: usize,
    threads: Option<Median>,
    processes: Option<Median>,
    threads_apart: Option<Median>,
    processes_apart: Option<Median>,
    /// What the address space adds on one CPU.
    difference: Option<Median>,
}

impl Switch {
    pub fn threads_ns(&self) -> Option<f64> {
        self.threads.map(|switch| switch.value)
    }

    pub fn processes_ns(&self) -> Option<f64> {
        self.processes.map(|switch| switch.value)
    }
}

pub fn all(measured: &Measured, sets: &[usize]) -> Vec<Switch> {
    let rounds = |who, set_bytes, placement| {
        measured.figures(&label(who, set_bytes), placement).map(|figures| figures.by_round())
    };
    let switch = |&set_bytes: &usize| {
        let control = rounds(Who::Control, set_bytes, Placement::SameCpu);
        let hop = |who, placement| half_difference(rounds(who, set_bytes, placement)?, control.clone()?);
        let same = |who| rounds(who, set_bytes, Placement::SameCpu);
        Switch {
            set_bytes,
            threads: hop(Who::Threads, Placement::SameCpu),
            processes: hop(Who::Processes, Placement::SameCpu),
            threads_apart: hop(Who::Threads, Placement::OtherCpu),
            processes_apart: hop(Who::Processes, Placement::OtherCpu),
            difference: same(Who::Processes)
                .zip(same(Who::Threads))
                .and_then(|(one, other)| half_difference(one, other)),
        }
    };
    sets.iter().map(switch).collect()
}

/// Half of the rounds' differences: a round has two hops. Both sides of a round were measured next to each other.
fn half_difference(rounds: Vec<f64>, others: Vec<f64>) -> Option<Median> {
    let halves: Vec<f64> = rounds.iter().zip(&others).map(|(one, other)| (one - other) / 2.0).collect();
    (!halves.is_empty()).then(|| stats::median(&halves))
}

pub fn show(stage: &mut Stage, switches: &[Switch]) {
    let columns = vec![
        Column::x("set of each", "bytes"),
        Column::value("threads", "ns"),
        Column::value("processes", "ns"),
        Column::value("difference", "ns"),
        Column::value("threads, 2 CPUs", "ns"),
        Column::value("processes, 2 CPUs", "ns"),
    ];
    let number = |median: &Option<Median>| median.map_or(Cell::Nothing, |median| Cell::Number(median.value));
    let row = |switch: &Switch| {
        vec![
            Cell::Number(switch.set_bytes as f64),
            number(&switch.threads),
            number(&switch.processes),
            switch.difference.map_or(Cell::Nothing, Cell::from),
            number(&switch.threads_apart),
            number(&switch.processes_apart),
        ]
    };
    stage.table(Table {
        title: "One switch: a hop less the control".to_owned(),
        columns,
        rows: switches.iter().map(row).collect(),
    });
    if switches.iter().any(|switch| switch.threads_apart.is_some() || switch.processes_apart.is_some()) {
        stage.note(
            "On two CPUs the side that waits leaves its CPU idle, so a hop wakes a CPU too. And each side has its set in a \
             cache of its own there, where the control has both in one: with large sets a hop can even take less.",
        );
    }
}

/// What the address space adds, with the smallest and the largest working set.
pub fn in_words(switches: &[Switch]) -> String {
    let added = |switch: &Switch| match switch.difference {
        Some(Median { value, low: Some(low), .. }) if low > 0.0 => with_unit("ns", value),
        Some(Median { value, high: Some(high), .. }) if high < 0.0 => {
            format!("less than nothing ({})", with_unit("ns", value))
        }
        Some(_) => "nothing measurable".to_owned(),
        None => "an unknown time".to_owned(),
    };
    match switches {
        [] => "nothing could be measured".to_owned(),
        [one] => format!("the other address space adds {}", added(one)),
        [first, .., last] => format!(
            "the other address space adds {}, and {} when each side works on {}",
            added(first),
            added(last),
            with_unit("bytes", last.set_bytes as f64)
        ),
    }
}
