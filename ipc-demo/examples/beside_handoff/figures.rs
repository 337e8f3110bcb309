//! Which ratios were to be reached, and which were?

use anyhow::Result;
use shared::measure::{Budget, Contest, Measured, SystemClock};
use shared::number::three_digits;
use shared::stats::{self, Median, Ratio};
use shared::{Cell, Column, Mood, Placement, Table};

/// All that was found, in its order.
#[derive(Default)]
pub struct Figures {
    lines: Vec<Line>,
    pub spoiled: Vec<String>,
}

/// One figure to be: a row of a contest, beside another, and how the two should stand.
pub struct Wanted {
    pub what: &'static str,
    pub ours: &'static str,
    pub theirs: &'static str,
    pub goal: Goal,
}

#[derive(Clone, Copy)]
pub enum Goal {
    /// As long as the other, times this.
    AtMost(f64),
    /// As fast as the other, times this.
    AtLeast(f64),
    /// Clearly slower would be a failure.
    NotClearlySlower,
    /// For orientation.
    None,
}

struct Line {
    what: String,
    theirs: String,
    goal: Goal,
    found: Option<Found>,
}

struct Found {
    ours_ns: Median,
    theirs_ns: Median,
    /// Of the times: ours to theirs.
    ratio: Ratio,
}

impl Figures {
    /// Measures a contest and adds a line for each figure that is wanted of it.
    pub fn of(&mut self, contest: (Contest<'_>, Placement), rounds: usize, wanted: &[Wanted]) -> Result<()> {
        let (contest, placement) = contest;
        // Long samples: each starts by waking its peer, which must not show.
        let (sample_ns, warm_up_ns) = (10_000_000, 300_000_000);
        let budget = Budget { rounds, time_ns: u64::MAX, sample_ns, events: 1, warm_up_ns };
        let mut measured = contest.measure_with(&SystemClock, &budget)?;
        self.spoiled.append(&mut measured.spoiled);
        self.lines.extend(wanted.iter().map(|wanted| Line {
            what: wanted.what.to_owned(),
            theirs: wanted.theirs.to_owned(),
            goal: wanted.goal,
            found: found(&measured, wanted, placement),
        }));
        Ok(())
    }

    /// Adds a line of samples that were taken side by side, in nanoseconds.
    pub fn add(&mut self, what: &str, theirs: &str, samples: (&[f64], &[f64]), goal: Goal) {
        let ratio = stats::ratio(samples.0, samples.1);
        let found = Found { ours_ns: stats::median(samples.0), theirs_ns: stats::median(samples.1), ratio };
        self.lines.push(Line { what: what.to_owned(), theirs: theirs.to_owned(), goal, found: Some(found) });
    }

    /// Adds a line of what cannot be measured here.
    pub fn skip(&mut self, what: &str, theirs: &str, goal: Goal) {
        self.lines.push(Line { what: what.to_owned(), theirs: theirs.to_owned(), goal, found: None });
    }

    pub fn all_reached(&self) -> bool {
        self.lines.iter().all(|line| line.found.as_ref().is_none_or(|found| line.goal.is_reached(&found.ratio)))
    }
}

fn found(measured: &Measured, wanted: &Wanted, placement: Placement) -> Option<Found> {
    let ours = measured.figures(wanted.ours, placement)?;
    let theirs = measured.figures(wanted.theirs, placement)?;
    Some(Found { ours_ns: ours.median(), theirs_ns: theirs.median(), ratio: ours.against(theirs) })
}

impl Goal {
    fn is_reached(self, ratio: &Ratio) -> bool {
        match self {
            Goal::AtMost(times) => ratio.ratio <= times,
            Goal::AtLeast(times) => 1.0 / ratio.ratio >= times,
            Goal::NotClearlySlower => !ratio.is_slower(),
            Goal::None => true,
        }
    }

    fn says(self) -> String {
        match self {
            Goal::AtMost(times) => format!("{} of its time", three_digits(times)),
            Goal::AtLeast(times) => format!("{} x as fast", three_digits(times)),
            Goal::NotClearlySlower => "not slower".to_owned(),
            Goal::None => String::new(),
        }
    }

    /// The ratio as the goal states it: of times, or of speeds.
    fn shown(self, ratio: &Ratio) -> Cell {
        let turn = |value: f64| if let Goal::AtLeast(_) = self { 1.0 / value } else { value };
        let (value, low, high) = (turn(ratio.ratio), ratio.low.map(turn), ratio.high.map(turn));
        match (low, high) {
            (Some(one), Some(other)) => Cell::Interval { value, low: one.min(other), high: one.max(other) },
            _ => Cell::Number(value),
        }
    }
}

pub fn table(figures: &Figures) -> Table {
    Table {
        title: "The ring beside the least that this machine can do: medians with 95 % intervals, ratios with 99 %"
            .to_owned(),
        columns: vec![
            Column::label("what"),
            Column::value("takes", "ns"),
            Column::label("beside"),
            Column::value("which takes", "ns"),
            Column::value("ratio", ""),
            Column::label("to reach"),
            Column::value("reached", ""),
        ],
        rows: figures.lines.iter().map(row).collect(),
    }
}

fn row(line: &Line) -> Vec<Cell> {
    let text = |says: &str| Cell::Text(says.to_owned());
    let skipped = Cell::Skipped { skipped: "one usable CPU, or refused here".to_owned() };
    let mut cells = match &line.found {
        None => vec![text(&line.what), skipped, text(&line.theirs), Cell::Nothing, Cell::Nothing],
        Some(Found { ours_ns, theirs_ns, ratio }) => {
            vec![text(&line.what), (*ours_ns).into(), text(&line.theirs), (*theirs_ns).into(), line.goal.shown(ratio)]
        }
    };
    cells.push(text(&line.goal.says()));
    cells.push(match (&line.found, line.goal) {
        (None, _) | (_, Goal::None) => Cell::Nothing,
        (Some(found), goal) if goal.is_reached(&found.ratio) => Cell::Word { says: "yes".to_owned(), mood: Mood::Good },
        (Some(_), _) => Cell::Word { says: "NO".to_owned(), mood: Mood::Bad },
    });
    cells
}
