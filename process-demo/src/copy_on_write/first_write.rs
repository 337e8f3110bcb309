//! What does the first write to a page cost after a fork?

use anyhow::{Result, ensure};
use shared::measure::SystemClock;
use shared::number::with_unit;
use shared::stats::{median, ratio};
use shared::{Cell, Column, Stage, Table};

use super::block::Block;
use super::subject::{faults, fork_and_ask};

/// What is done to each page, in the order of the table.
const WAYS: [&str; 4] =
    ["read after the fork", "first write after the fork", "second write", "first touch of fresh memory"];
const FIRST: usize = 1;
const FRESH: usize = 3;

/// One child's times and faults, for each way.
type Round = [(f64, f64); 4];

/// Returns what a page's first write after a fork takes, in words.
pub fn show(stage: &mut Stage, block: &mut Block) -> Result<String> {
    let clock = stage.clock();
    let rounds = stage.by_effort(9, 31, 101); // Eight are the fewest with an interval for a ratio.
    let rounds = (0..rounds).map(|round| take(block, clock, round)).collect::<Result<Vec<Round>>>()?;
    let times = |way: usize| rounds.iter().map(|round| round[way].0).collect::<Vec<f64>>();
    stage.table(table(&rounds));
    let (first, fresh) = (times(FIRST), times(FRESH));
    let against = ratio(&first, &fresh);
    stage.trend("the first write after a fork against the first touch of fresh memory", &against);
    stage.note(
        "The first write finds the page shared: the kernel takes a new one and copies the old one into it. Fresh memory \
         takes a new page too, filled with zeros.",
    );
    Ok(with_unit("ns", median(&first).value))
}

/// A child for every round: each page has only one first write.
fn take(block: &mut Block, clock: SystemClock, round: u32) -> Result<Round> {
    let pages = block.pages();
    let mut fresh = Block::untouched(size_of_val(&block[..]))?;
    let sum = block.read_pages();
    let (_child, told) = fork_and_ask(|| {
        let mut told = [0; 9];
        // Fresh memory first, then last: a drift in time hits both alike.
        let order = if round.is_multiple_of(2) { [FRESH, 0, FIRST, 2] } else { [0, FIRST, 2, FRESH] };
        let mut read = 0;
        for way in order {
            let (faults_before, from_ns) = (faults(), clock.now_ns());
            match way {
                0 => read = block.read_pages(),
                FRESH => fresh.write_pages(pages),
                _ => block.write_pages(pages),
            }
            let to_ns = clock.now_ns();
            told[2 * way] = to_ns - from_ns;
            told[2 * way + 1] = faults() - faults_before;
        }
        let added = 2 * pages as u64; // Two writes of one each.
        let right = read == sum && block.read_pages() == sum + added && fresh.read_pages() == pages as u64;
        told[8] = u64::from(right);
        told
    })?;
    ensure!(told[8] == 1, "the child did not read what it had written");
    let per_page = |number: u64| number as f64 / pages as f64;
    Ok([0, 1, 2, 3].map(|way| (per_page(told[2 * way]), per_page(told[2 * way + 1]))))
}

fn table(rounds: &[Round]) -> Table {
    let row = |(way, label): (usize, &str)| {
        let times: Vec<f64> = rounds.iter().map(|round| round[way].0).collect();
        let faults: Vec<f64> = rounds.iter().map(|round| round[way].1).collect();
        vec![Cell::Text(label.to_owned()), Cell::from(median(&times)), Cell::Number(median(&faults).value)]
    };
    Table {
        title: format!("What it costs a child for each page (median of {} children)", rounds.len()),
        columns: vec![Column::label(""), Column::value("time", "ns"), Column::value("page faults", "")],
        rows: WAYS.into_iter().enumerate().map(row).collect(),
    }
}
