//! Does it take longer to make a process when its maker holds more memory?

use anyhow::Result;
use shared::measure::{Contest, Figures, Measured, Ready, Rival, Timing};
use shared::number::three_digits;
use shared::stats::Median;
use shared::{Cell, Column, Placement, Role, Stage, Table, refused};

use super::growth::{Growth, Sizes};
use super::kernel::{page_table_bytes, spare_bytes};
use super::starter::{Ask, Starter};
use super::ways;

const MIB: usize = 1 << 20;

pub fn show(stage: &mut Stage) -> Result<Sizes> {
    let makers = makers(stage)?;
    if makers.len() < 2 {
        stage.say("There is too little free memory to see whether the maker's size matters.");
        return Ok(Sizes::default());
    }
    stage.say(
        "Now the maker is a process that holds memory, every page of it written to, without huge pages. The CPU time \
         below is that of the maker alone.",
    );
    let mut contest =
        Contest::new("Start by a maker that holds memory", "the memory that the maker holds", Timing::Batches);
    for (label, ask) in [(ways::FORK, Ask::Fork), (ways::COMMAND, Ask::Command)] {
        if ask == Ask::Command && ways::small_program().is_none() {
            continue;
        }
        for maker in &makers {
            contest.add(Rival::of_processes(maker.row(label), Placement::Free, move |_| {
                maker.starter.ask(ask, 1)?; // A refusal shows here, and becomes the row's reason.
                Ok(Ready::with_children(move |count| maker.starter.ask(ask, count), vec![maker.starter.pid()]))
            }));
        }
    }
    let measured = stage.compare(contest)?;
    stage.table(table(&measured, &makers)?);
    let sizes = Sizes {
        fork: Growth::of(&measured, &makers, ways::FORK),
        command: Growth::of(&measured, &makers, ways::COMMAND),
    };
    for (label, growth) in [(ways::FORK, sizes.fork), (ways::COMMAND, sizes.command)] {
        let Some(Growth { ms_per_gib: Median { value, low: Some(low), high: Some(high) }, .. }) = growth else {
            continue;
        };
        let [value, low, high] = [value, low, high].map(three_digits);
        stage.say(format!("{label}: each GiB that the maker holds adds {value} ms (95 % interval {low} to {high})."));
    }
    Ok(sizes)
}

/// A process that holds so much.
pub struct Maker {
    pub mib: usize,
    starter: Starter,
}

impl Maker {
    pub fn row(&self, way: &str) -> String {
        format!("{way}, {} MiB", self.mib)
    }
}

/// As many sizes as fit into the memory that may be used.
fn makers(stage: &mut Stage) -> Result<Vec<Maker>> {
    let sizes_mib: &[usize] = stage.by_effort(&[0, 16, 64], &[0, 64, 256, 1024], &[0, 64, 256, 1024, 4096]);
    let (mut makers, mut left) = (Vec::new(), spare_bytes());
    for &mib in sizes_mib {
        let bytes = mib * MIB;
        if bytes as u64 > left {
            stage.say(format!("{mib} MiB are left out: at most a quarter of the free memory is used."));
            continue;
        }
        match Starter::holding(bytes) {
            Ok(starter) => makers.push(Maker { mib, starter }),
            Err(error) => stage.say(format!("{mib} MiB are left out: {}.", refused(&error).ok_or(error)?)),
        }
        left -= bytes as u64;
    }
    Ok(makers)
}

fn table(measured: &Measured, makers: &[Maker]) -> Result<Table> {
    const FORKS: u64 = 8; // A few, so that a stray fault does not show.
    let column = |name: &str, unit: &str, role| Column { name: name.to_owned(), unit: unit.to_owned(), role };
    let columns = vec![
        column("maker holds", "MiB", Role::X),
        column("fork", "ns", Role::Value),
        column("Command", "ns", Role::Value),
        column("faults of a fork", "", Role::Value),
        column("its page tables", "bytes", Role::Value),
        column("its child's", "bytes", Role::Value),
    ];
    let time = |maker: &Maker, way| match measured.figures(&maker.row(way), Placement::Free).map(Figures::median) {
        Some(Median { value, low: Some(low), high: Some(high) }) => Cell::Interval { value, low, high },
        Some(Median { value, .. }) => Cell::Number(value),
        None => Cell::Nothing,
    };
    let row = |maker: &Maker| {
        let faults = maker.starter.ask(Ask::PageFaults, FORKS)? as f64 / FORKS as f64;
        let (own, child) = (page_table_bytes(maker.starter.pid())?, maker.starter.ask(Ask::PageTables, 1)?);
        Ok(vec![
            Cell::Number(maker.mib as f64),
            time(maker, ways::FORK),
            time(maker, ways::COMMAND),
            Cell::Number(faults),
            Cell::Number(own as f64),
            Cell::Number(child as f64),
        ])
    };
    let rows: Result<Vec<Vec<Cell>>> = makers.iter().map(row).collect();
    Ok(Table { title: "What grows with the memory of the maker".to_owned(), columns, rows: rows? })
}
