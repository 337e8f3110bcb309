//! What did a contest find? Rows of raw samples, and the figures that follow from them.

use super::{Calibration, Timing};
use crate::number::Scale;
use crate::report::{Comparison, ComparisonRow, MeasuredRow, Placement, RowRole};
use crate::stats::{self, Median, Ratio};

/// What a contest found.
pub struct Measured {
    pub(super) key: Option<String>,
    pub(super) title: String,
    pub(super) differs_in: String,
    pub(super) timing: Timing,
    pub calibration: Calibration,
    pub rows: Vec<Row>,
    /// What disturbed it.
    pub spoiled: Vec<String>,
}

/// One rival's figures, or the reason why there are none.
pub struct Row {
    pub name: RowName,
    pub placement: Placement,
    /// The measuring side's, then its peer's; empty where the kernel chose.
    pub(super) cpus: Vec<usize>,
    pub(super) figures: Result<Figures, String>,
}

/// What a row is called, and what it is of.
#[derive(Clone, Debug)]
pub struct RowName {
    pub label: String,
    pub key: String,
    pub role: Option<RowRole>,
    pub(super) detail: bool,
}

impl RowName {
    pub(super) fn of(label: impl Into<String>) -> RowName {
        let label = label.into();
        RowName { key: label.clone(), label, role: None, detail: false }
    }
}

/// Raw samples in nanoseconds per operation, by round.
pub struct Figures {
    pub(super) steps: u64,
    pub(super) samples: Vec<f64>,
    /// Where each round starts in `samples`.
    pub(super) rounds: Vec<usize>,
    /// CPU time of all parties per operation; none if it could not be read.
    pub cpu_ns: Option<f64>,
}

impl Figures {
    /// In the order in which they were taken.
    pub fn samples(&self) -> &[f64] {
        &self.samples
    }

    /// The median of the rounds' medians, with the interval that they give: events of one round are disturbed together,
    /// so however many they are, they tell little more than one.
    pub fn median(&self) -> Median {
        stats::median(&self.by_round())
    }

    /// The median of each round: what medians, ratios and slopes are made of.
    pub fn by_round(&self) -> Vec<f64> {
        let ends = self.rounds.iter().skip(1).copied().chain([self.samples.len()]);
        self.rounds.iter().zip(ends).map(|(&from, to)| stats::median(&self.samples[from..to]).value).collect()
    }

    /// How many times as long as the other this takes.
    pub fn against(&self, other: &Figures) -> Ratio {
        self.against_among(1, other)
    }

    /// The same as one of so many comparisons that decide together.
    pub fn against_among(&self, comparisons: usize, other: &Figures) -> Ratio {
        stats::ratio_among(comparisons, &self.by_round(), &other.by_round())
    }
}

impl Measured {
    /// The figures of one row; none if it was skipped or does not exist.
    pub fn figures(&self, label: &str, placement: Placement) -> Option<&Figures> {
        let row = self.rows.iter().find(|row| row.name.label == label && row.placement == placement)?;
        row.figures.as_ref().ok()
    }

    /// How many times as long the first takes as the second, both placed alike.
    pub fn ratio(&self, label: &str, other: &str, placement: Placement) -> Option<Ratio> {
        self.ratio_among(1, label, other, placement)
    }

    /// The same as one of so many comparisons that decide together: clear only if it would be so among them all.
    pub fn ratio_among(&self, comparisons: usize, label: &str, other: &str, placement: Placement) -> Option<Ratio> {
        Some(self.figures(label, placement)?.against_among(comparisons, self.figures(other, placement)?))
    }

    pub(crate) fn comparison(&self) -> Comparison {
        let differs_in = match self.timing {
            Timing::Batches => self.differs_in.clone(),
            Timing::Events => {
                format!(
                    "{}; each event is timed alone, the clock's {} ns included",
                    self.differs_in, self.calibration.cost_ns
                )
            }
        };
        let rows = self.rows.iter().map(|row| row.to_report(self.timing)).collect();
        Comparison { key: self.key.clone(), title: self.title.clone(), differs_in, rows }
    }
}

impl Row {
    /// A sentence, if the samples gather around two values: their median then stands for neither.
    pub(super) fn two_modes(&self, calibration: &Calibration) -> Option<String> {
        let figures = self.figures.as_ref().ok()?;
        let (low, high) = stats::modes(&figures.samples)?;
        // Two readings of the clock that differ by a step or two may stand for one and the same time.
        if (high - low) * figures.steps as f64 <= 2.0 * calibration.resolution_ns as f64 {
            return None;
        }
        let placed = match self.placement {
            Placement::SameCpu => "same CPU",
            Placement::OtherCpu => "other CPU",
            Placement::Free => "free",
        };
        let scale = Scale::of("ns", &[low, high]);
        let (low, high, unit) = (scale.show(low), scale.show(high), &scale.unit);
        Some(format!("'{}' ({placed}) shows two modes, about {low} and {high} {unit}", self.name.label))
    }

    fn to_report(&self, timing: Timing) -> ComparisonRow {
        let figures = match &self.figures {
            Ok(figures) => figures,
            Err(why) => {
                return ComparisonRow::Skipped { label: self.name.label.clone(), skipped: why.clone() };
            }
        };
        let Median { value, low, high } = figures.median();
        let RowName { label, key, role, detail } = self.name.clone();
        ComparisonRow::Measured(MeasuredRow {
            label,
            key,
            role,
            detail,
            placement: self.placement,
            cpus: self.cpus.clone(),
            unit: "ns".to_owned(),
            steps: figures.steps,
            samples: figures.samples.clone(),
            rounds: figures.rounds.clone(),
            median: value,
            low,
            high,
            p99: (timing == Timing::Events).then(|| stats::p99(&figures.samples)),
            cpu_ns: figures.cpu_ns,
        })
    }
}
