//! Does it take longer to make a process when its maker holds more memory?

use anyhow::Result;
use shared::measure::{Contest, Measured, Ready, Rival, Timing};
use shared::number::three_digits;
use shared::stats::Median;
use shared::{Cell, Column, Placement, Stage, Table, refused};

use super::counted::skipped;
use super::growth::{Growth, Sizes};
use super::huge;
use super::kernel::page_table_bytes;
use super::starter::{Ask, Pages, Starter};
use super::ways;
use shared::spare_bytes;

const MIB: usize = 1 << 20;

pub fn show(stage: &mut Stage) -> Result<Sizes> {
    let makers = makers(stage)?;
    if makers.len() < 2 {
        stage.note("There is too little free memory to see whether the parent's size matters.");
        return Ok(Sizes::default());
    }
    stage.note(
        "Now the parent is another process, which holds so much memory more, every page of it written to, without huge \
         pages but where they are named. Many starts in a row are timed as one. So a start takes another time here than in \
         the first comparison; what counts is how it grows.",
    );
    let in_huge_pages = huge::maker(stage, makers.last());
    let mut contest = Contest::new(
        "Start from a process that holds memory, many in a row",
        "the memory that it holds",
        Timing::Batches,
    );
    for (label, ask) in [(ways::FORK, Ask::Fork), (ways::COMMAND, Ask::Command)] {
        if ask == Ask::Command && ways::small_program().is_none() {
            continue;
        }
        makers.iter().for_each(|maker| contest.add(maker.rival(maker.row(label), ask)));
    }
    if let Some(maker) = &in_huge_pages {
        contest.add(maker.rival(huge::row(maker), Ask::Fork));
    }
    let measured = stage.compare(contest)?;
    if let Some(maker) = &in_huge_pages {
        huge::tell(stage, &measured, maker);
    }
    stage.table(table(&measured, &makers));
    let sizes = Sizes {
        fork: Growth::of(&measured, &makers, ways::FORK),
        command: Growth::of(&measured, &makers, ways::COMMAND),
    };
    for (label, growth) in [(ways::FORK, sizes.fork), (ways::COMMAND, sizes.command)] {
        let Some(growth) = growth else { continue };
        let Median { low: Some(low), high: Some(high), .. } = growth.ms_per_gib else { continue };
        let adds = growth.in_short();
        let [low, high] = [low, high].map(three_digits);
        stage.note(format!("{label}: each GiB that the parent holds adds {adds} (95 % interval {low} to {high} ms)."));
    }
    Ok(sizes)
}

/// A process that holds so much.
pub struct Maker {
    pub mib: usize,
    pub starter: Starter,
}

impl Maker {
    pub fn row(&self, way: &str) -> String {
        format!("{way}, {} MiB", self.mib)
    }

    pub fn rival(&self, label: String, ask: Ask) -> Rival<'_> {
        Rival::of_processes(label, Placement::Free, move |_| {
            self.starter.ask(ask, 1)?; // A refusal shows here, and becomes the row's reason.
            let start = move |count| self.starter.ask(ask, count);
            let cpu_of_children = || self.starter.ask(Ask::CpuOfChildren, 0).ok();
            Ok(Ready::with_children(start, vec![self.starter.pid()]).and_cpu(cpu_of_children))
        })
    }
}

/// As many sizes as fit into the memory that may be used.
fn makers(stage: &mut Stage) -> Result<Vec<Maker>> {
    let sizes_mib: &[usize] = stage.by_effort(&[0, 8, 32], &[0, 32, 128, 512], &[0, 64, 256, 1024, 4096]);
    let (mut makers, mut left) = (Vec::new(), spare_bytes());
    for &mib in sizes_mib {
        let bytes = mib * MIB;
        if bytes as u64 > left {
            stage.note(format!("{mib} MiB are left out: at most a quarter of the free memory is used."));
            continue;
        }
        match Starter::holding(bytes, Pages::Ordinary) {
            Ok(starter) => makers.push(Maker { mib, starter }),
            Err(error) => stage.note(format!("{mib} MiB are left out: {}.", refused(&error).ok_or(error)?)),
        }
        left -= bytes as u64;
    }
    Ok(makers)
}

fn table(measured: &Measured, makers: &[Maker]) -> Table {
    const FORKS: u64 = 8; // A few, so that a stray fault does not show.
    let columns = vec![
        Column::x("parent holds", "MiB"),
        Column::value("fork", "ns"),
        Column::value(ways::COMMAND, "ns"),
        Column::value("faults of a fork", ""),
        Column::value("its page tables", "bytes"),
        Column::value("its child's", "bytes"),
    ];
    let time = |maker: &Maker, way| {
        let figures = measured.figures(&maker.row(way), Placement::Free);
        figures.map_or(Cell::Nothing, |figures| Cell::from(figures.median()))
    };
    let counted = |count: Result<u64>, of: u64| match count {
        Ok(count) => Cell::Number(count as f64 / of as f64),
        Err(why) => skipped(&why),
    };
    let row = |maker: &Maker| {
        vec![
            Cell::Number(maker.mib as f64),
            time(maker, ways::FORK),
            time(maker, ways::COMMAND),
            counted(maker.starter.ask(Ask::PageFaults, FORKS), FORKS),
            counted(page_table_bytes(maker.starter.pid()), 1),
            counted(maker.starter.ask(Ask::PageTables, 1), 1),
        ]
    };
    let title = "What grows with the memory of the parent, many starts in a row".to_owned();
    Table { title, columns, rows: makers.iter().map(row).collect() }
}
