//! Do the statistics keep their promises, for any samples and exactly?

use proptest::prelude::*;
use shared::stats::{median, modes, p99, ratio, ratio_among, slope, slope_by_round};

/// Times as they come: positive, over many orders of magnitude, with ties.
fn times(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    let time = prop_oneof![4 => 1.0..1e3, 1 => 1e-3..1e9, 1 => Just(40.0)];
    prop::collection::vec(time, count)
}

fn close(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-9 * scale.abs().max(a.abs()).max(b.abs())
}

proptest! {
    #[test]
    fn the_median_lies_within_its_interval_and_among_the_samples(samples in times(1..300)) {
        let found = median(&samples);
        let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let most = samples.iter().copied().fold(0.0, f64::max);
        prop_assert!(found.low.unwrap_or(least) <= found.value && found.value <= found.high.unwrap_or(most));
        prop_assert!(least <= found.low.unwrap_or(least) && found.high.unwrap_or(most) <= most);
        prop_assert_eq!(found.low.is_some(), samples.len() >= 6);
        prop_assert_eq!(found.low.is_some(), found.high.is_some());
    }

    #[test]
    fn half_the_samples_lie_on_either_side_of_the_median(samples in times(1..300)) {
        let value = median(&samples).value;
        prop_assert!(samples.iter().filter(|&&sample| sample <= value).count() * 2 >= samples.len());
        prop_assert!(samples.iter().filter(|&&sample| sample >= value).count() * 2 >= samples.len());
    }

    #[test]
    fn order_does_not_matter(
        (samples, shuffled) in times(1..300).prop_flat_map(|samples| (Just(samples.clone()), Just(samples).prop_shuffle()))
    ) {
        prop_assert_eq!(median(&samples), median(&shuffled));
        prop_assert_eq!(p99(&samples), p99(&shuffled));
        prop_assert_eq!(modes(&samples), modes(&shuffled));
    }

    #[test]
    fn another_unit_changes_the_figures_by_its_factor_alone(samples in times(6..300), power in -20..20i32) {
        let factor = 2f64.powi(power); // A power of two: no rounding, so equality is exact.
        let scaled: Vec<f64> = samples.iter().map(|sample| sample * factor).collect();
        let (found, of_scaled) = (median(&samples), median(&scaled));
        prop_assert_eq!(of_scaled.value, found.value * factor);
        prop_assert_eq!(of_scaled.low, found.low.map(|low| low * factor));
        prop_assert_eq!(of_scaled.high, found.high.map(|high| high * factor));
        prop_assert_eq!(p99(&scaled), p99(&samples) * factor);
        prop_assert_eq!(modes(&scaled), modes(&samples).map(|(low, high)| (low * factor, high * factor)));
        prop_assert_eq!(ratio(&scaled, &samples).ratio, factor);
    }

    #[test]
    fn a_rival_against_its_own_samples_is_exactly_one_and_never_clear(samples in times(1..300)) {
        let found = ratio(&samples, &samples);
        prop_assert_eq!(found.ratio, 1.0);
        prop_assert!(!found.clear);
        prop_assert_eq!(found.low.is_some(), samples.len() >= 8);
    }

    #[test]
    fn a_constant_factor_beyond_the_margin_is_clear(samples in times(8..300), factor in 1.021..5.0) {
        let slower: Vec<f64> = samples.iter().map(|sample| sample * factor).collect();
        prop_assert!(ratio(&slower, &samples).clear);
        let hardly: Vec<f64> = samples.iter().map(|sample| sample * 1.019).collect();
        prop_assert!(!ratio(&hardly, &samples).clear);
    }

    #[test]
    fn the_interval_of_99_percent_holds_that_of_95(samples in times(8..300)) {
        let one = vec![1.0; samples.len()];
        let (wide, narrow) = (ratio(&samples, &one), median(&samples));
        prop_assert_eq!(wide.ratio, narrow.value);
        prop_assert!(wide.low <= narrow.low && narrow.high <= wide.high);
    }

    #[test]
    fn the_99th_percentile_is_a_sample_at_or_above_the_median(samples in times(1..300)) {
        let tail = p99(&samples);
        prop_assert!(tail >= median(&samples).value || samples.len() == 1);
        prop_assert!(samples.contains(&tail));
        prop_assert!(samples.iter().filter(|&&sample| sample <= tail).count() * 100 >= samples.len() * 99);
        prop_assert!(samples.iter().filter(|&&sample| sample < tail).count() * 100 < samples.len() * 99);
    }

    #[test]
    fn an_exact_line_gives_its_slope(rise in -1e3..1e3f64, start in -1e3..1e3f64, xs in prop::collection::vec(-1e3..1e3f64, 2..50)) {
        prop_assume!(xs.iter().any(|x| (x - xs[0]).abs() > 1.0));
        let points: Vec<(f64, f64)> = xs.iter().map(|&x| (x, start + rise * x)).collect();
        prop_assert!(close(slope(&points), rise, 1e3), "{} is not {rise}", slope(&points));
    }

    #[test]
    fn a_shift_leaves_the_slope_and_a_factor_scales_it(
        points in prop::collection::vec((0.0..1e3f64, 0.0..1e3f64), 2..50), right in -1e3..1e3, up in -1e3..1e3, factor in 0.1..10.0,
    ) {
        prop_assume!(points.iter().any(|point| (point.0 - points[0].0).abs() > 10.0));
        let found = slope(&points);
        let shifted: Vec<_> = points.iter().map(|(x, y)| (x + right, y + up)).collect();
        prop_assert!(close(slope(&shifted), found, 1e3));
        let taller: Vec<_> = points.iter().map(|(x, y)| (*x, y * factor)).collect();
        prop_assert!(close(slope(&taller), found * factor, 1e3));
        let wider: Vec<_> = points.iter().map(|(x, y)| (x * factor, *y)).collect();
        prop_assert!(close(slope(&wider), found / factor, 1e4));
    }

    #[test]
    fn a_few_outliers_make_no_mode(seed: u64, outliers in 1usize..10, far in 2.0..1e6) {
        let mut chance = Chance(seed);
        let mut samples: Vec<f64> = (0..200).map(|_| 100.0 + chance.normal()).collect();
        samples[..outliers].fill(100.0 * far);
        prop_assert_eq!(modes(&samples), None);
    }
}

#[test]
#[should_panic(expected = "a slope needs two values of x")]
fn points_of_one_x_have_no_slope() {
    slope(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0].map(|y| (0.1, y))); // Six sixths of 0.1 do not sum to 0.1.
}

#[test]
fn the_slope_of_rounds_is_the_median_of_their_slopes() {
    let rounds: Vec<Vec<(f64, f64)>> =
        (1..=9).map(|rise| vec![(0.0, 5.0), (2.0, 5.0 + 2.0 * f64::from(rise))]).collect();
    let found = slope_by_round(&rounds);
    assert_eq!((found.value, found.low, found.high), (5.0, Some(2.0), Some(8.0)));
}

#[test]
fn small_and_even_counts_and_ties_give_the_expected_ranks() {
    assert_eq!(median(&[3.0]).value, 3.0);
    assert_eq!(median(&[3.0, 1.0]).value, 2.0);
    assert_eq!(median(&[9.0, 1.0, 2.0, 3.0]).value, 2.5);
    assert_eq!((median(&[1.0; 5]).low, median(&[1.0; 6]).low), (None, Some(1.0)));
    let tied = median(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 7.0]);
    assert_eq!((tied.value, tied.low, tied.high), (1.0, Some(1.0), Some(1.0)));
    let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!((p99(&hundred), p99(&hundred[..99]), p99(&hundred[..1])), (99.0, 99.0, 1.0));
}

/// The ranks of both intervals among n samples, read off samples that are their own ranks: 95 % from the median's,
/// 99 % from the ratio's.
fn ranks(n: usize) -> [(f64, Option<(usize, usize)>); 2] {
    let ranks: Vec<f64> = (0..n).map(|rank| rank as f64).collect();
    let (of_median, of_ratio) = (median(&ranks), ratio(&ranks, &vec![1.0; n]));
    let pair = |low: Option<f64>, high: Option<f64>| low.zip(high).map(|(low, high)| (low as usize, high as usize));
    [(0.05, pair(of_median.low, of_median.high)), (0.01, pair(of_ratio.low, of_ratio.high))]
}

/// P(at most k of n fall on one side of the median), for each k: by Pascal's triangle, whose halvings are exact and
/// whose sums are of positive terms, so each is right to n roundings of 1e-16.
fn triangle(rows: usize, mut each: impl FnMut(usize, &[f64])) {
    let mut row = vec![1.0];
    for n in 1..=rows {
        let next = (0..=n).map(|k| 0.5 * (row.get(k).unwrap_or(&0.0) + if k > 0 { row[k - 1] } else { 0.0 }));
        row = next.collect();
        let up_to: Vec<f64> = row
            .iter()
            .scan(0.0, |sum, term| {
                Some({
                    *sum += term;
                    *sum
                })
            })
            .collect();
        each(n, &up_to);
    }
}

#[test]
fn the_rank_intervals_are_exact_and_as_narrow_as_can_be() {
    let mut judged = 0;
    triangle(2500, |n, up_to| {
        // Every count up to 200, and from there on some, beyond where 0.5^n leaves the range of a float.
        if n > 200 && n % 97 != 0 && !(1020..=1080).contains(&n) {
            return;
        }
        for (miss, ranks) in ranks(n) {
            // The median lies below the lower rank if at most so many samples do; and the same above.
            let misses = |low: usize| 2.0 * up_to[low];
            let Some((low, high)) = ranks else {
                assert!(misses(0) > miss, "{n} samples do have an interval of {miss}");
                continue;
            };
            assert_eq!(low + high, n - 1, "the ranks of {n} samples lie alike from both ends");
            assert!(misses(low) <= miss, "{n} samples: ranks {low} to {high} miss {} > {miss}", misses(low));
            assert!(misses(low + 1) > miss, "{n} samples: {} to {} would do", low + 1, high - 1);
            judged += 1;
        }
    });
    assert!(judged > 400, "only {judged} intervals were judged");
    assert!(ranks(5)[0].1.is_none() && ranks(6)[0].1 == Some((0, 5)));
    assert!(ranks(7)[1].1.is_none() && ranks(8)[1].1 == Some((0, 7)));
}

/// splitmix64: the same draws on every machine, in every run.
struct Chance(u64);

impl Chance {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((mixed ^ (mixed >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// In which share of many draws of n samples two modes are found.
fn found(n: usize, mut sample: impl FnMut(&mut Chance) -> f64) -> f64 {
    let mut chance = Chance(n as u64);
    let mut draw = || -> Vec<f64> { (0..n).map(|_| sample(&mut chance)).collect() };
    let draws = 50_000 / n;
    (0..draws).filter(|_| modes(&draw()).is_some()).count() as f64 / draws as f64
}

/// Of 200 runs in which thirty rivals are each compared with themselves, so many have one that is clear.
fn wrongly_clear(among: usize) -> usize {
    const COMPARISONS: usize = 30;
    let mut chance = Chance(7);
    let mut rounds = || (0..15).map(|_| 1.0 + 0.2 * chance.normal().clamp(-4.0, 4.0)).collect::<Vec<f64>>();
    let mut is_clear = || ratio_among(among, &rounds(), &rounds()).clear;
    (0..200).filter(|_| (0..COMPARISONS).fold(false, |any, _| is_clear() | any)).count()
}

#[test]
fn of_many_comparisons_that_decide_together_none_is_clear_by_chance() {
    assert!(wrongly_clear(1) > 10, "one by one at 99 % each, chance shows: {} of 200", wrongly_clear(1));
    assert!(wrongly_clear(30) <= 4, "{} of 200", wrongly_clear(30));
}

#[test]
fn samples_of_one_mode_show_two_in_fewer_than_one_draw_in_a_hundred() {
    for n in [101, 401, 1500] {
        let shares = [
            ("uniform", found(n, Chance::uniform)),
            ("uniform, 1 to 2", found(n, |chance| 1.0 + chance.uniform())),
            ("exponential", found(n, |chance| -chance.uniform().ln())),
            ("a floor and an exponential tail", found(n, |chance| 1.0 - chance.uniform().ln())),
            ("normal", found(n, |chance| 10.0 + chance.normal())),
            ("log-normal", found(n, |chance| chance.normal().exp())),
            ("log-normal, narrow", found(n, |chance| (0.2 * chance.normal()).exp())),
            ("a tail without a mean", found(n, |chance| 1.0 / chance.uniform())),
            ("a coarse clock", found(n, |chance| 41.0 * (2.5 + 0.7 * chance.normal()).round().max(1.0))),
            ("less than the margin apart", found(n, |chance| 100.0 + (2.0 * chance.uniform()).floor())),
        ];
        for (of, share) in shares {
            assert!(share < 0.01, "{n} samples, {of}: two modes in a share of {share}");
        }
    }
}

#[test]
fn a_mixture_shows_its_two_modes() {
    // A pipe whose sides share a CPU three times in ten, and have two for the rest.
    let mixed = |chance: &mut Chance| {
        let middle = if chance.uniform() < 0.3 { 2.9 } else { 10.1 };
        middle * (1.0 + 0.08 * chance.normal())
    };
    for n in [101, 401, 1500] {
        assert!(found(n, mixed) > 0.99, "{n} samples: two modes in a share of {}", found(n, mixed));
        let mut chance = Chance(7);
        let samples: Vec<f64> = (0..n).map(|_| mixed(&mut chance)).collect();
        let (low, high) = modes(&samples).expect("just found");
        assert!((2.6..3.2).contains(&low) && (9.1..11.1).contains(&high), "{low} and {high}");
    }
}

#[test]
fn two_exact_values_are_two_modes_and_what_is_no_time_has_none() {
    let two: Vec<f64> = (0..100).map(|at| if at % 3 == 0 { 2.9 } else { 10.1 }).collect();
    assert_eq!(modes(&two), Some((2.9, 10.1)));
    assert_eq!(modes(&two[..99]), None);
    assert_eq!(modes(&[5.0; 200]), None);
    assert_eq!(modes(&[0.0; 200]), None);
    assert_eq!(modes(&[]), None);
}
