//! Of the additions that several make at the same time, how many vanish? What both demonstrations count and say.

use anyhow::Result;
use shared::measure::Measured;
use shared::number::count;
use shared::{Cell, Column, Placement, Ruling, Stage, Table};

/// What became of some additions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Additions {
    pub made: u64,
    pub lost: u64,
}

impl Additions {
    /// So many were made, and they make this total.
    pub fn that_make(made: u64, total: u64) -> Additions {
        Additions { made, lost: made.abs_diff(total) }
    }

    pub fn percent_lost(self) -> f64 {
        100.0 * self.lost as f64 / self.made as f64
    }
}

/// Tries so many times, and if nothing was lost goes on up to ten times as long. Returns what became of all, and the row
/// of the luck table.
pub fn try_luck(steps: &str, tries: u64, mut add: impl FnMut() -> Result<Additions>) -> Result<(Additions, Vec<Cell>)> {
    let mut all = Additions::default();
    let (mut done, mut that_lost, mut first) = (0, 0, Cell::Nothing);
    while done < tries || (all.lost == 0 && done < 10 * tries) {
        let Additions { made, lost } = add()?;
        done += 1;
        if lost > 0 && that_lost == 0 {
            first = Cell::Number(done as f64);
        }
        that_lost += u64::from(lost > 0);
        all = Additions { made: all.made + made, lost: all.lost + lost };
    }
    let [done, that_lost, made, lost] = [done, that_lost, all.made, all.lost].map(|count| Cell::Number(count as f64));
    let share = Cell::Number(all.percent_lost());
    Ok((all, vec![Cell::Text(steps.to_owned()), done, that_lost, first, made, lost, share]))
}

pub fn luck_table(title: impl Into<String>, rows: Vec<Vec<Cell>>) -> Table {
    let counts = ["tries", "that lost", "first at", "additions", "lost"].map(|name| Column::value(name, ""));
    let columns = [Column::label("steps")].into_iter().chain(counts).chain([Column::value("share", "%")]);
    Table { title: title.into(), columns: columns.collect(), rows }
}

/// How many of the fixed additions are in the total: "all 80,000".
pub fn kept(fixed: &[Additions]) -> String {
    let made = fixed.iter().map(|fix| fix.made).sum::<u64>();
    let lost = fixed.iter().map(|fix| fix.lost).sum::<u64>();
    if lost == 0 { format!("all {}", count(made)) } else { format!("{} of {}", count(made - lost), count(made)) }
}

/// The ruling on 'synchronization prevents interference': without a fix, so many were lost.
pub fn prevented(fixed: &[Additions], lost_without: u64, because: impl Into<String>) -> Ruling {
    match (fixed.iter().all(|fix| fix.lost == 0), lost_without) {
        (false, _) => Ruling::refuted(because),
        (true, 0) => Ruling::undecided("Nothing was lost without a fix either"),
        (true, _) => Ruling::holds(because),
    }
}

/// What racy additions are called where they are timed beside fixed ones.
pub const RACY: &str = "read, write (loses)";

/// Of timed additions, so many proved right. Of racy ones one survives at least, and no more can be told.
pub fn proved(label: &str, timed: Additions) -> u64 {
    let right = timed.lost == 0 || (label == RACY && timed.lost < timed.made);
    if right { timed.made } else { 0 }
}

/// Each against the other, on two CPUs and on one.
pub fn tell_ratios(stage: &mut Stage, measured: &Measured, pairs: &[(&str, &str)]) {
    for (placement, place) in [(Placement::OtherCpu, "on two CPUs"), (Placement::SameCpu, "on one CPU")] {
        for (label, other) in pairs {
            let Some(ratio) = measured.ratio(label, other, placement) else { continue };
            stage.trend(format!("{label} against {other}, {place}"), &ratio);
        }
    }
}
