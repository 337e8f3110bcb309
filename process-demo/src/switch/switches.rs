//! What of a hop is the switch?

use process_demo::duel::Between::{self, Nobody, Processes, Threads};
use shared::measure::Measured;
use shared::number::{chosen_with_unit, with_unit};
use shared::stats::{self, Median};
use shared::{
    Cell, Column,
    Placement::{self, OtherCpu, SameCpu},
    Stage, Table,
};

/// What the rows of a working set are called.
pub fn of_set(bytes: usize) -> String {
    if bytes == 0 { "no set".to_owned() } else { format!("{} each", chosen_with_unit("bytes", bytes as f64)) }
}

pub fn label(between: Between, set_bytes: usize) -> String {
    between.label(&of_set(set_bytes))
}

/// What a hop takes longer than the baseline, by working set.
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
    /// Nanoseconds between threads and between processes on one CPU; none where the noise was larger.
    pub fn known(&self) -> [Option<f64>; 2] {
        [self.threads, self.processes].map(|switch| Some(switch?.value).filter(|&ns| ns > 0.0))
    }

    /// At least, by the lower end of the interval.
    pub fn is_a_tenth_dearer_between_processes(&self) -> bool {
        let more_ns = self.difference.and_then(|more| more.low);
        more_ns.zip(self.threads).is_some_and(|(more_ns, threads)| more_ns > threads.value.max(0.0) / 10.0)
    }
}

pub fn all(measured: &Measured, sets: &[usize]) -> Vec<Switch> {
    let switch = |&set_bytes: &usize| {
        let rounds = |between, placement: Placement| {
            measured.figures(&label(between, set_bytes), placement).map(|figures| figures.by_round())
        };
        // Half of the rounds' differences: a round has two hops. Both sides of one were measured next to each other.
        let half_difference = |one: Option<Vec<f64>>, other: Option<Vec<f64>>| {
            let halves: Vec<f64> = one?.iter().zip(&other?).map(|(one, other)| (one - other) / 2.0).collect();
            (!halves.is_empty()).then(|| stats::median(&halves))
        };
        let hop = |between, placement| half_difference(rounds(between, placement), rounds(Nobody, SameCpu));
        Switch {
            set_bytes,
            threads: hop(Threads, SameCpu),
            processes: hop(Processes, SameCpu),
            threads_apart: hop(Threads, OtherCpu),
            processes_apart: hop(Processes, OtherCpu),
            difference: half_difference(rounds(Processes, SameCpu), rounds(Threads, SameCpu)),
        }
    };
    sets.iter().map(switch).collect()
}

pub fn show(stage: &mut Stage, switches: &[Switch]) {
    let table = |title, heads: &[&str], figures: fn(&Switch) -> Vec<Option<Median>>| {
        let columns = heads.iter().map(|head| Column::value(*head, "ns"));
        let rows = switches.iter().map(|switch| {
            let cells = figures(switch).into_iter().map(|figure| figure.map_or(Cell::Nothing, Cell::from));
            [Cell::from(switch.set_bytes)].into_iter().chain(cells).collect()
        });
        Table::new(title, [Column::x("working set", "bytes")].into_iter().chain(columns), rows)
    };
    let heads = ["threads", "processes", "more by process"];
    stage.show(table("One switch on one CPU: a hop less its system calls", &heads, |switch| {
        let value = |figure: Option<Median>| figure.map(|Median { value, .. }| Median { value, low: None, high: None });
        vec![value(switch.threads), value(switch.processes), switch.difference]
    }));
    if switches.iter().any(|switch| switch.threads_apart.is_some() || switch.processes_apart.is_some()) {
        stage.table(table("One hop across two CPUs, less half of the baseline", &heads[..2], |switch| {
            vec![switch.threads_apart, switch.processes_apart]
        }));
        stage.note(
            "On two CPUs the side that waits leaves its CPU idle, so a hop wakes a CPU too. And each side has its set in a \
             cache of its own there, where the baseline has both in one: with large sets a hop can even take less.",
        );
    }
}

/// What the address space adds, with the smallest and the largest working set.
pub fn in_words(switches: &[Switch]) -> String {
    let more = |switch: &Switch| match switch.difference {
        Some(Median { value, low: Some(low), .. }) if low > 0.0 => format!("adds {}", with_unit("ns", value)),
        Some(Median { value, high: Some(high), .. }) if high < 0.0 => format!("saves {}", with_unit("ns", -value)),
        Some(_) => "adds nothing measurable".to_owned(),
        None => "adds an unknown time".to_owned(),
    };
    match switches {
        [] => "nothing could be measured".to_owned(),
        [one] => format!("another address space {}", more(one)),
        [first, .., last] => {
            let set = chosen_with_unit("bytes", last.set_bytes as f64);
            let (first, last) = (more(first), more(last));
            let also = if first == last { "also".to_owned() } else { format!("and {last}") };
            format!("another address space {first}, {also} with a working set of {set}")
        }
    }
}
