//! What does it cost a child to touch a page: its parent's, for the first time and again, or a fresh one?

use std::sync::Mutex;

use anyhow::{Result, ensure};
use process_demo::crew::{Crew, Kind, NOTHING};
use shared::number::with_unit;
use shared::stats::median;
use shared::{Stage, Table};

use super::{faults, page_bytes};

/// The sum of the first words of all pages.
pub fn read_pages(memory: &[u64]) -> u64 {
    memory.iter().step_by(words_in_a_page()).sum()
}

/// Adds one to the first word of each page; the sum of what they are then.
pub fn write_pages(memory: &mut [u64]) -> u64 {
    let first_words = memory.iter_mut().step_by(words_in_a_page());
    first_words.fold(0, |sum, word| {
        *word += 1;
        sum + *word
    })
}

pub fn words_in_a_page() -> usize {
    page_bytes() / size_of::<u64>()
}

/// What a child does to each page, its parent's or fresh ones, in the order of the table.
const TOUCHES: [(&str, Touch); 4] = [
    ("read after the fork", |memory, _| read_pages(memory)),
    ("first write after the fork", |memory, _| write_pages(memory)),
    ("second write", |memory, _| write_pages(memory)),
    ("first touch of fresh memory", |_, fresh| write_pages(fresh)),
];
const FIRST: usize = 1;
const FRESH: usize = 3;

type Touch = fn(&mut [u64], &mut [u64]) -> u64;

/// Returns what a page's first write after a fork takes, in words.
pub fn time_first_write(stage: &mut Stage, memory: &mut [u64]) -> Result<String> {
    let children = stage.by_effort(9, 31, 101); // Six are the fewest with an interval.
    let mut touched: [Vec<(f64, f64)>; 4] = Default::default();
    for child in 0..children {
        touch_all(stage, memory, child, &mut touched)?;
    }
    let middle = |touch: usize, of: fn(&(f64, f64)) -> f64| median(&touched[touch].iter().map(of).collect::<Vec<_>>());
    let time_ns = |touch| middle(touch, |(time_ns, _)| *time_ns);
    let faults = |touch| middle(touch, |(_, faults)| *faults).value;
    let row = |touch: usize| vec![TOUCHES[touch].0.into(), time_ns(touch).into(), faults(touch).into()];
    let title = format!("What it costs a child for each page (median of {children} children)");
    stage.table(Table::new(title, [("", ""), ("time", "ns"), ("page faults", "")], (0..TOUCHES.len()).map(row)));
    stage.note(
        "The first write finds the page shared: the kernel takes a new one and copies the old one into it. Fresh memory \
         takes a new page too, filled with zeros.",
    );
    Ok(with_unit("ns", time_ns(FIRST).value))
}

/// One child's times and faults for each page, by touch: each page has only one first write.
fn touch_all(stage: &Stage, memory: &mut [u64], child: usize, touched: &mut [Vec<(f64, f64)>; 4]) -> Result<()> {
    let (words, clock, sum) = (memory.len(), stage.clock(), read_pages(memory));
    let pages = words.div_ceil(words_in_a_page()) as u64;
    let lent = Mutex::new(memory); // To the child alone, which has a copy of it.
    let mut crew = Crew::of(Kind::Processes, 1, || Ok((lent.lock().unwrap(), vec![0; words], clock, 0)))?;
    // Fresh memory first, then last: a drift in time hits both alike.
    let order = if child.is_multiple_of(2) { [FRESH, 0, FIRST, 2] } else { [0, FIRST, 2, FRESH] };
    for touch in order {
        let expected = [sum, sum + pages, sum + 2 * pages, pages][touch];
        let time_ns = crew.ask(
            0,
            |(memory, fresh, clock, its_faults), [touch, expected, _]| {
                let (faults_before, from_ns) = (faults(), clock.now_ns());
                let seen = TOUCHES[touch as usize].1(memory, fresh);
                let time_ns = clock.now_ns() - from_ns;
                *its_faults = faults() - faults_before;
                ensure!(seen == expected, "the child did not see every page as it had left it");
                Ok(time_ns)
            },
            [touch as u64, expected, 0],
        )?;
        let its_faults = crew.ask(0, |(.., its_faults), _| Ok(*its_faults), NOTHING)?;
        touched[touch].push((time_ns.value()? as f64 / pages as f64, its_faults.value()? as f64 / pages as f64));
    }
    Ok(())
}
