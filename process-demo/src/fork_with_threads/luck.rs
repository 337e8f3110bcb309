//! How often does it happen by itself, when the lock is held only now and then?

use anyhow::Result;
use shared::{Cell, Column, Stage, Table};

use super::scenes;
use super::victim::{Tally, perform};

/// The children forked beside a thread that held the lock for this share of its time.
struct Luck {
    held_percent: u64,
    tally: Tally,
}

const PERIOD_NS: u64 = 100_000; // Long beside a turn of the lock, short beside the time between two forks.
const HELD_PERCENT: [u64; 3] = [1, 10, 50];

pub fn show(stage: &mut Stage) -> Result<()> {
    let times = stage.by_effort(20, 300, 4_000);
    stage.note(format!(
        "Now without force: the other thread takes the lock every {} us and holds it for a share of that time, and \
         {times} children are forked without regard to it.",
        PERIOD_NS / 1_000
    ));
    let clock = stage.clock();
    let tries = HELD_PERCENT.map(|held_percent| {
        let held_ns = PERIOD_NS * held_percent / 100;
        anyhow::Ok(Luck { held_percent, tally: perform(|| scenes::by_luck(clock, times, held_ns, PERIOD_NS))? })
    });
    let tries = tries.into_iter().collect::<Result<Vec<_>>>()?;
    stage.table(table(&tries));
    if let Some(luck) = tries.iter().take_while(|luck| luck.tally.asleep == 0).last() {
        stage.note(format!(
            "Up to {} % no child was seen asleep for ever; it may happen all the same.",
            luck.held_percent
        ));
    }
    Ok(())
}

fn table(tries: &[Luck]) -> Table {
    let row = |luck: &Luck| {
        let Luck { held_percent, tally } = luck;
        let rate = 100.0 * f64::from(tally.asleep) / f64::from(tally.tried);
        let numbers = [*held_percent as f64, tally.tried.into(), tally.asleep.into(), rate];
        numbers.map(Cell::Number).to_vec()
    };
    Table {
        title: "Forks at a random moment".to_owned(),
        columns: vec![
            Column::x("lock held, aim", "%"),
            Column::value("forks", ""),
            Column::value("asleep for ever", ""),
            Column::value("rate", "%"),
        ],
        rows: tries.iter().map(row).collect(),
    }
}
