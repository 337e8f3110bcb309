//! What do the samples say? Order statistics and ranks; no mean, no sigma, no assumption on the distribution.

/// The middle value, with the exact 95 % rank interval of the true median; none of fewer than six samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// How many times as large as the other; clear if the exact 99 % rank interval excludes 0.98 to 1.02.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub ratio: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub clear: bool,
}

impl Ratio {
    /// Clearly longer than the other.
    pub fn is_slower(&self) -> bool {
        self.clear && self.ratio > 1.0
    }

    /// Clearly shorter than the other.
    pub fn is_faster(&self) -> bool {
        self.clear && self.ratio < 1.0
    }
}

/// Differences smaller than this are no result: two builds of one program differ by as much.
const MARGIN: f64 = 0.02;

/// # Panics
/// Of no samples.
pub fn median(samples: &[f64]) -> Median {
    let sorted = sorted(samples);
    let middle = sorted.len() / 2;
    let value = if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
    let interval = rank_interval(sorted.len(), 0.05);
    Median { value, low: interval.map(|(low, _)| sorted[low]), high: interval.map(|(_, high)| sorted[high]) }
}

/// The 99th percentile by nearest rank; only of single events: a batch hides its tail.
///
/// # Panics
/// Of no samples.
pub fn p99(samples: &[f64]) -> f64 {
    let rank = (samples.len() * 99).div_ceil(100).max(1);
    sorted(samples)[rank - 1]
}

/// The median of the rounds' ratios: each round's two sides were measured next to each other.
///
/// # Panics
/// Of no rounds.
pub fn ratio(rounds: &[f64], other: &[f64]) -> Ratio {
    ratio_among(1, rounds, other)
}

/// The same as one of so many that are looked at together: the chance that any of them is called clear though none
/// differs stays one in a hundred (Bonferroni's correction), so its interval is wider.
///
/// # Panics
/// Of no rounds.
pub fn ratio_among(comparisons: usize, rounds: &[f64], other: &[f64]) -> Ratio {
    let ratios: Vec<f64> = rounds.iter().zip(other).map(|(ours, theirs)| ours / theirs).collect();
    let sorted = sorted(&ratios);
    let interval = rank_interval(sorted.len(), 0.01 / comparisons.max(1) as f64);
    let (low, high) = (interval.map(|(low, _)| sorted[low]), interval.map(|(_, high)| sorted[high]));
    let clear = low.is_some_and(|low| low > 1.0 + MARGIN) || high.is_some_and(|high| high < 1.0 - MARGIN);
    Ratio { ratio: median(&ratios).value, low, high, clear }
}

/// The least-squares slope of one round of points (x, y).
///
/// # Panics
/// When fewer than two values of x differ.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let first = points.first().map_or(0.0, |point| point.0);
    let n = points.len() as f64;
    // Counted from the first x, points of one x lie exactly at zero, whatever rounding does to their sum.
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + (point.0 - first) / n, y + point.1 / n));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        let right = point.0 - first - x;
        (above + right * (point.1 - y), below + right * right)
    });
    assert!(below > 0.0, "a slope needs two values of x");
    above / below
}

/// The median of the rounds' least-squares slopes, with its exact 95 % rank interval.
///
/// # Panics
/// Of no rounds, or of one with fewer than two values of x.
pub fn slope_by_round(rounds: &[Vec<(f64, f64)>]) -> Median {
    let slopes: Vec<f64> = rounds.iter().map(|points| slope(points)).collect();
    median(&slopes)
}

/// Two modes, the lower first, if the samples gather around two values with a real valley between; none otherwise.
///
/// The rule is the nearest-neighbour estimate of a density (Loftsgaarden and Quesenberry, 1965): where a tenth of the
/// samples lies close together, the density is high. There are two modes if some stretch of a tenth is `VALLEY` times
/// as wide as the narrowest such stretch on its left, and as the narrowest on its right. So each mode has a tenth of the
/// samples at least, which no handful of outliers has; widths are taken of logarithms, so that the long right tail of
/// times is no valley. Positive samples only, and at least `FEWEST_FOR_MODES`.
pub fn modes(samples: &[f64]) -> Option<(f64, f64)> {
    let sorted = sorted(samples);
    let tenth = sorted.len() / 10;
    if sorted.len() < FEWEST_FOR_MODES || sorted[0] <= 0.0 {
        return None;
    }
    // A reading stands for a whole step of the clock: equal readings are not infinitely dense.
    let step = step(&sorted);
    let width = |at: usize| ((sorted[at + tenth] + step) / sorted[at]).ln().max(MARGIN);
    let widths: Vec<f64> = (0..sorted.len() - tenth).map(width).collect();
    let narrower = |best: usize, at: usize| if widths[at] < widths[best] { at } else { best };
    let left = running(0..widths.len(), narrower);
    let mut right = running((0..widths.len()).rev(), narrower);
    right.reverse();
    let depth = |at: usize| widths[at] / widths[left[at - tenth]].max(widths[right[at + tenth]]);
    let valley = (tenth..widths.len() - tenth).max_by(|&a, &b| depth(a).total_cmp(&depth(b)))?;
    let middle_of = |at: usize| sorted[at + tenth / 2];
    (depth(valley) >= VALLEY).then(|| (middle_of(left[valley - tenth]), middle_of(right[valley + tenth])))
}

/// How far the density between two modes falls below the lower mode's. Of a hundred samples of one mode (uniform,
/// exponential, normal, log-normal) chance makes such a valley in fewer than one draw in a hundred (tests/stats.rs);
/// of more samples, less often still.
const VALLEY: f64 = 5.0;

/// Of fewer, a tenth is too few to tell a mode from chance.
const FEWEST_FOR_MODES: usize = 100;

/// The smallest difference between neighbours, which is the clock's where readings repeat; two values show no step.
fn step(sorted: &[f64]) -> f64 {
    let differences: Vec<f64> = sorted.windows(2).map(|pair| pair[1] - pair[0]).filter(|&step| step > 0.0).collect();
    if differences.len() < 2 { 0.0 } else { differences.into_iter().fold(f64::INFINITY, f64::min) }
}

/// The best index so far, at every step.
fn running(order: impl Iterator<Item = usize>, better: impl Fn(usize, usize) -> usize) -> Vec<usize> {
    let so_far = order.scan(None, |best, at| {
        *best = Some(best.map_or(at, |best| better(best, at)));
        *best
    });
    so_far.collect()
}

/// The ranks (from zero) between which the true median lies but for a probability of at most `miss`.
///
/// A sample is below the true median with probability one half at most, so the number below it is binomial, whatever
/// the distribution; ties only make the interval safer. None if even the whole range misses too often.
fn rank_interval(samples: usize, miss: f64) -> Option<(usize, usize)> {
    // The probabilities that exactly `rank` and that fewer lie below, both still to be halved `halvings` times: 0.5^n
    // itself leaves the range of a float beyond n = 1074.
    let (mut term, mut below, mut halvings) = (1.0f64, 0.0f64, samples);
    let mut rank = 0;
    loop {
        while term > 1.0 && halvings > 0 {
            (term, below, halvings) = (term / 2.0, below / 2.0, halvings - 1);
        }
        let up_to_rank = (below + term) * 0.5f64.powi(i32::try_from(halvings).unwrap_or(i32::MAX));
        if up_to_rank > miss / 2.0 {
            return usize::checked_sub(rank, 1).map(|low| (low, samples - 1 - low));
        }
        below += term;
        term *= (samples - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
