//! Does the engine call a draw a draw, and find a difference of a tenth?
//!
//! A rival is measured against itself, which must come out 'too close to call' at least 98 times in 100, and against
//! the same with a tenth more work, which must be found: `cargo run --release -p shared --example too_close_to_call`,
//! with another number of trials as its argument.

use std::hint::black_box;
use std::process::ExitCode;

use anyhow::{Context, Result};
use shared::Placement;
use shared::measure::{Budget, Contest, Ready, Rival, SystemClock, Timing};
use shared::stats::Ratio;

/// About 20 us: every link needs the one before, so that none can be left out.
const LINKS: u32 = 10_000;
const A_TENTH_MORE: u32 = LINKS + LINKS / 10;

fn main() -> Result<ExitCode> {
    let trials: usize = match std::env::args().nth(1) {
        Some(trials) => trials.parse().context("the argument is the number of trials")?,
        None => 100,
    };
    let start_ns = SystemClock.now_ns();
    let (mut draws, mut found) = (Vec::new(), Vec::new());
    for _ in 0..trials {
        draws.push(trial(LINKS)?);
        found.push(trial(A_TENTH_MORE)?);
    }
    let called_equal = draws.iter().filter(|ratio| !ratio.clear).count();
    let called_slower = found.iter().filter(|ratio| ratio.clear && ratio.ratio > 1.0).count();
    println!("against itself: too close to call in {called_equal} of {trials} trials (98 in 100 are due)");
    println!("  ratios {}", range(&draws));
    println!("with a tenth more work: found slower in {called_slower} of {trials} trials (all are hoped for)");
    println!("  ratios {}", range(&found));
    println!("took {:.1} s", (SystemClock.now_ns() - start_ns) as f64 / 1e9);
    Ok(ExitCode::from(u8::from(called_equal * 100 < trials * 98)))
}

/// From the least to the greatest, with the middle one.
fn range(ratios: &[Ratio]) -> String {
    let mut ratios: Vec<f64> = ratios.iter().map(|ratio| ratio.ratio).collect();
    ratios.sort_by(f64::total_cmp);
    match ratios.as_slice() {
        [] => "none".to_owned(),
        [least, .., most] => format!("{least:.3} to {most:.3}, in the middle {:.3}", ratios[ratios.len() / 2]),
        [one] => format!("{one:.3}"),
    }
}

/// How many times as long a chain of so many links takes as one of `LINKS`.
fn trial(links: u32) -> Result<Ratio> {
    let mut contest = Contest::new("a chain of multiplications", "links", Timing::Batches);
    contest.add(rival("itself", LINKS));
    contest.add(rival("other", links));
    let budget = Budget { rounds: 101, time_ns: 2_000_000_000, sample_ns: 500_000, events: 1, warm_up_ns: 10_000_000 };
    let measured = contest.measure_with(&SystemClock, &budget)?;
    measured.ratio("other", "itself", Placement::Free).context("both rows were measured")
}

fn rival(label: &str, links: u32) -> Rival<'static> {
    let expected = chain(links);
    let turn = move |steps| Ok((0..steps).filter(|_| chain(black_box(links)) == expected).count() as u64);
    Rival::of_threads(label, Placement::Free, move |_| Ok(Ready::new(turn)))
}

/// Shift, exclusive or and multiplication in turn: compilers know no shorter way to the same end.
fn chain(links: u32) -> u64 {
    (0..links).fold(1, |value: u64, link| (value ^ (value >> 29) ^ u64::from(link)).wrapping_mul(0x5851_F42D_4C95_7F2D))
}
