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

    pub fn and(self, more: Additions) -> Additions {
        Additions { made: self.made + more.made, lost: self.lost + more.lost }
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
        all = all.and(Additions { made, lost });
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

/// Crowds that added without a fix: what a fix is set beside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control {
    pub crowds: u64,
    pub that_lost: u64,
    pub all: Additions,
}

impl Control {
    pub fn in_words(&self, each: u64) -> String {
        let Control { crowds, that_lost, .. } = self;
        let each = count(each);
        format!(
            "Of {crowds} crowds without a fix, {that_lost} lost some of their {each} additions each; with it are as many."
        )
    }
}

/// If so many crowds lost an addition without it, a fix that is none loses one too, in as many crowds: but for one run in
/// a hundred and fifty.
const ENOUGH: u64 = 5;

/// Lets crowds add without a fix until enough of them have lost an addition, ten times as many at most.
pub fn control(mut crowd: impl FnMut() -> Result<Additions>) -> Result<Control> {
    let mut seen = Control::default();
    while seen.that_lost < ENOUGH && seen.crowds < 10 * ENOUGH {
        let additions = crowd()?;
        seen.crowds += 1;
        seen.that_lost += u64::from(additions.lost > 0);
        seen.all = seen.all.and(additions);
    }
    Ok(seen)
}

/// The ruling on 'synchronization prevents interference': a fix that kept all says something if, in the same run, as many
/// additions of the same crowds lost some without it.
pub fn prevented(fixed: &[Additions], controls: &[Control], because: impl Into<String>) -> Ruling {
    if fixed.iter().any(|fix| fix.lost > 0) {
        return Ruling::refuted(because);
    }
    match controls.iter().find(|control| control.that_lost < ENOUGH) {
        Some(Control { crowds, that_lost, .. }) => Ruling::undecided(format!(
            "Without a fix {that_lost} of {crowds} crowds lost an addition: too few to tell what a fix does"
        )),
        None => Ruling::holds(because),
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

#[cfg(test)]
mod tests {
    use shared::Verdict::{Holds, Refuted, Undecided};

    use super::*;

    #[test]
    fn a_fix_that_lost_nothing_says_something_only_beside_a_control_that_lost() {
        let crowd = |lost| Additions { made: 10, lost };
        let losing = control(|| Ok(crowd(1))).unwrap();
        assert_eq!((losing.crowds, losing.that_lost, losing.all.made), (5, 5, 50));
        let keeping = control(|| Ok(crowd(0))).unwrap();
        assert_eq!((keeping.crowds, keeping.that_lost), (50, 0));
        let verdict = |fixed: u64, control| prevented(&[crowd(0), crowd(fixed)], &[losing, control], "").verdict;
        assert_eq!([verdict(0, losing), verdict(0, keeping), verdict(1, losing)], [Holds, Undecided, Refuted]);
    }
}
