//! What does it cost that the other side is in another process? The same mechanism, between both.

use shared::Placement::{self, OtherCpu, SameCpu};
use shared::measure::Measured;
use shared::number::three_digits;
use shared::stats::Ratio;
use shared::{Cell, Column, Stage, Table};

use super::contests::place;
use super::overhead::beside_a_channel;
use super::rows::Between::{Processes, Threads};
use super::rows::{MECHANISMS, Mechanism, PIPE, RING, SPIN, label};

/// The figures of one placement.
pub type Placed = (Placement, Measured);

/// Two rows that were measured together, and the first one's time in the other's.
pub struct Pairing {
    pub says: String,
    pub ratio: Ratio,
}

impl Pairing {
    /// None if one of them was skipped.
    pub fn of(measured: &Measured, placement: Placement, one: &str, other: &str) -> Option<Pairing> {
        let ratio = measured.ratio(one, other, placement)?;
        Some(Pairing { says: format!("'{one}' against '{other}', {}", place(placement)), ratio })
    }
}

pub fn tell(stage: &mut Stage, measured: &[Placed]) {
    stage.table(table(measured));
    stage.note(in_words(measured));
    for pairing in telling(measured) {
        stage.trend(pairing.says, &pairing.ratio);
    }
}

fn table(measured: &[Placed]) -> Table {
    let ratio_of = |way: &Mechanism, (placement, measured): &Placed| {
        measured.ratio(&label(way.name, Processes), &label(way.name, Threads), *placement)
    };
    let both = MECHANISMS.iter().filter(|way| measured.iter().any(|placed| ratio_of(way, placed).is_some()));
    let mut columns = vec![Column::label("mechanism")];
    for (placement, _) in measured {
        let cpus = place(*placement).trim_start_matches("on ");
        let column = |what: &str, unit: &str| Column::value(format!("{what}, {cpus}"), unit);
        columns.extend([column("threads", "ns"), column("processes", "ns"), column("ratio", "")]);
    }
    let row = |way: &Mechanism| {
        let cells = measured.iter().flat_map(|(placement, measured)| cells(way, measured, *placement));
        [Cell::Text(way.name.to_owned())].into_iter().chain(cells).collect()
    };
    let title = "64 bytes there and back by the same mechanism (~: too close to call)";
    Table { title: title.to_owned(), columns, rows: both.map(row).collect() }
}

fn cells(way: &Mechanism, measured: &Measured, placement: Placement) -> [Cell; 3] {
    let [threads, processes] = [Threads, Processes].map(|between| label(way.name, between));
    let median = |label: &str| {
        measured.figures(label, placement).map_or(Cell::Nothing, |figures| Cell::Number(figures.median().value))
    };
    let ratio = measured.ratio(&processes, &threads, placement);
    let ratio = ratio.map_or(Cell::Nothing, |ratio| match ratio.clear {
        true => Cell::Number(ratio.ratio),
        false => Cell::Text(format!("~{}", three_digits(ratio.ratio))),
    });
    [median(&threads), median(&processes), ratio]
}

/// How many mechanisms are clearly slower between processes, and how many clearly faster.
fn in_words(measured: &[Placed]) -> String {
    let part = |(placement, measured): &Placed| {
        let ratios = alike(measured, *placement);
        let slower = ratios.iter().filter(|ratio| ratio.is_slower()).count();
        let faster = ratios.iter().filter(|ratio| ratio.is_faster()).count();
        let of = ratios.len();
        format!("{} {slower} of {of} are clearly slower and {faster} clearly faster", place(*placement))
    };
    let parts: Vec<String> = measured.iter().map(part).collect();
    format!(
        "Of the mechanisms that serve both, between processes instead of threads, {}. On one CPU each message makes the \
         kernel change to the other address space; on two CPUs each side keeps its own.",
        parts.join("; ")
    )
}

/// Each mechanism between processes against the same between threads.
pub fn alike(measured: &Measured, placement: Placement) -> Vec<Ratio> {
    let ratio = |way: &Mechanism| measured.ratio(&label(way.name, Processes), &label(way.name, Threads), placement);
    MECHANISMS.iter().filter_map(ratio).collect()
}

/// The ring between processes beside what a reader knows: a channel between threads, a pipe, and bare memory.
fn telling(measured: &[Placed]) -> Vec<Pairing> {
    let ring = label(RING, Processes);
    let others = [label(PIPE, Processes), label(SPIN, Processes)];
    let of = |(placement, measured): &Placed| {
        let beside = others.iter().filter_map(|other| Pairing::of(measured, *placement, &ring, other));
        beside_a_channel(measured, *placement).into_iter().chain(beside).collect::<Vec<_>>()
    };
    measured.iter().flat_map(of).collect()
}

/// Placements that this machine has, the one with the shortest times first.
pub fn placements(cpus: usize) -> &'static [Placement] {
    if cpus > 1 { &[OtherCpu, SameCpu] } else { &[SameCpu] }
}
