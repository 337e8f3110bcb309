//! Does the ring reach what it is to reach? Ratios of one run, with their intervals.

use shared::measure::Measured;
use shared::stats::Ratio;
use shared::{Cell, Column, Mood, Placement, Stage, Table};

/// How many times as fast as the other row the first is to be, both placed alike.
pub struct Target {
    pub ours: String,
    pub theirs: String,
    pub placement: Placement,
    pub goal: Goal,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    AtLeast(f64),
    MoreThan(f64),
}

impl Goal {
    fn is_reached_by(self, times: f64) -> bool {
        match self {
            Goal::AtLeast(least) => times >= least,
            Goal::MoreThan(limit) => times > limit,
        }
    }

    fn says(self) -> String {
        match self {
            Goal::AtLeast(least) => format!("at least {least}"),
            Goal::MoreThan(limit) => format!("more than {limit}"),
        }
    }
}

/// Shows all in one table, and each as a trend.
pub fn tell(stage: &mut Stage, measured: &Measured, targets: &[Target]) {
    for target in targets {
        if let Some(ratio) = target.ratio(measured) {
            stage.trend(format!("'{}' against '{}'", target.theirs, target.ours), &ratio);
        }
    }
    stage.show(Table {
        title: "How many times as fast as others the ring is, and is to be".to_owned(),
        columns: vec![
            Column::label("the ring"),
            Column::label("against"),
            Column::value("times as fast", ""),
            Column::value("to be", ""),
            Column::value("reached", ""),
            Column::value("rounds", ""),
        ],
        rows: targets.iter().map(|target| target.row(measured)).collect(),
    });
}

impl Target {
    /// The other's time divided by ours.
    pub fn ratio(&self, measured: &Measured) -> Option<Ratio> {
        measured.ratio(&self.theirs, &self.ours, self.placement)
    }

    fn row(&self, measured: &Measured) -> Vec<Cell> {
        let names = [Cell::Text(self.ours.clone()), Cell::Text(self.theirs.clone())];
        let goal = Cell::Text(self.goal.says());
        let Some(ratio) = self.ratio(measured) else {
            let why = "one of the two was not measured here".to_owned();
            let rest = [Cell::Skipped { skipped: why }, goal, Cell::Nothing, Cell::Nothing];
            return names.into_iter().chain(rest).collect();
        };
        let times = match ratio.low.zip(ratio.high) {
            Some((low, high)) => Cell::Interval { value: ratio.ratio, low, high },
            None => Cell::Number(ratio.ratio),
        };
        let (says, mood) = if self.goal.is_reached_by(ratio.ratio) { ("yes", Mood::Good) } else { ("no", Mood::Bad) };
        let reached = Cell::Word { says: says.to_owned(), mood };
        let rounds = measured.figures(&self.ours, self.placement).map_or(0, |figures| figures.by_round().len());
        names.into_iter().chain([times, goal, reached, Cell::Number(rounds as f64)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_at_its_limit_or_only_beyond() {
        assert!(Goal::AtLeast(4.0).is_reached_by(4.0) && !Goal::AtLeast(4.0).is_reached_by(3.99));
        assert!(Goal::MoreThan(1.0).is_reached_by(1.01) && !Goal::MoreThan(1.0).is_reached_by(1.0));
    }
}
