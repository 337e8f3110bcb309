//! How much more does a start cost for each GiB that its maker holds?

use shared::Placement;
use shared::measure::{Figures, Measured};
use shared::number::with_unit;
use shared::stats::{self, Median};

use super::by_size::Maker;

/// What a GiB more costs, by way; none where it could not be measured.
#[derive(Default)]
pub struct Sizes {
    pub fork: Option<Growth>,
    pub command: Option<Growth>,
}

#[derive(Clone, Copy)]
pub struct Growth {
    /// The cost with no memory held besides what every process has.
    pub base_ms: f64,
    pub ms_per_gib: Median,
}

impl Growth {
    /// The median of the rounds' slopes: in each round all sizes were measured next to each other.
    pub fn of(measured: &Measured, makers: &[Maker], way: &str) -> Option<Growth> {
        let figures: Option<Vec<&Figures>> =
            makers.iter().map(|maker| measured.figures(&maker.row(way), Placement::Free)).collect();
        let figures = figures?;
        let rounds: Vec<Vec<f64>> = figures.iter().map(|figures| figures.by_round()).collect();
        let fewest = rounds.iter().map(Vec::len).min()?;
        let point = |index: usize, round: usize| (makers[index].mib as f64 / 1024.0, rounds[index][round] / 1e6);
        let points: Vec<Vec<(f64, f64)>> =
            (0..fewest).map(|round| (0..makers.len()).map(|index| point(index, round)).collect()).collect();
        Some(Growth { base_ms: figures[0].median().value / 1e6, ms_per_gib: stats::slope_by_round(&points) })
    }

    /// What one GiB more adds.
    pub fn in_short(&self) -> String {
        match self.ms_per_gib {
            Median { value, low: Some(low), .. } if low > 0.0 => with_unit("ms", value),
            _ => "nothing measurable".to_owned(),
        }
    }

    /// The same, and what it may be where nothing could be measured.
    pub fn in_words(&self) -> String {
        match self.ms_per_gib {
            Median { low: Some(low), high: Some(high), .. } if low <= 0.0 && high > 0.0 => {
                format!("{} (at most {})", self.in_short(), with_unit("ms", high))
            }
            _ => self.in_short(),
        }
    }

    /// One GiB more adds a tenth to the cost at least, by the lower end of the slope's interval.
    pub fn is_material(&self) -> bool {
        self.ms_per_gib.low.is_some_and(|low_ms| low_ms > self.base_ms / 10.0)
    }

    /// One GiB more adds less than a tenth, by the upper end.
    pub fn is_immaterial(&self) -> bool {
        self.ms_per_gib.high.is_some_and(|high_ms| high_ms < self.base_ms / 10.0)
    }

    /// The two intervals do not overlap.
    pub fn is_clearly_less_than(&self, other: &Growth) -> bool {
        self.ms_per_gib.high.zip(other.ms_per_gib.low).is_some_and(|(high_ms, low_ms)| high_ms < low_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growth_is_told_with_what_is_known_of_it() {
        let growth =
            |value, low, high| Growth { base_ms: 1.0, ms_per_gib: Median { value, low: Some(low), high: Some(high) } };
        let (clear, open, none) = (growth(20.0, 18.0, 22.0), growth(3.0, -2.0, 8.0), growth(-0.1, -0.2, -0.01));
        assert_eq!(clear.in_words(), "20.0 ms");
        assert_eq!(open.in_words(), "nothing measurable (at most 8.00 ms)");
        assert_eq!(none.in_words(), "nothing measurable");
        assert!(clear.is_material() && !clear.is_immaterial());
        assert!(!open.is_material() && !open.is_immaterial());
        assert!(!none.is_material() && none.is_immaterial());
        assert!(open.is_clearly_less_than(&clear) && !clear.is_clearly_less_than(&open));
    }
}
