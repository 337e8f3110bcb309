//! What do the figures say, in a sentence?

use shared::Placement::{self, SameCpu};
use shared::measure::Measured;
use shared::number::{chosen_with_unit, three_digits, with_unit};

use super::contests::place;
use super::overhead::{fastest_between, fastest_channel};
use super::pairs::Placed;
use super::rows::Between::{Nobody, Processes, Threads};
use super::rows::{PIPE, RING, label};

/// The pipe between processes against the one between threads, on one CPU: the same calls, the same switches.
pub fn price_of_the_border(measured: &[Placed]) -> Option<f64> {
    let (_, measured) = measured.iter().find(|(placement, _)| *placement == SameCpu)?;
    Some(measured.ratio(&label(PIPE, Processes), &label(PIPE, Threads), SameCpu)?.ratio)
}

/// What of a round trip on one CPU is the calls themselves, and what is waiting for somebody.
pub fn share_of_the_calls(measured: &Measured) -> Option<String> {
    let share = |name: &str| {
        let (alone, with) = (label(name, Nobody), label(name, Processes));
        let share = median_ns(measured, &alone, SameCpu)? / median_ns(measured, &with, SameCpu)?;
        Some(format!("{} % for '{name}'", three_digits(share * 100.0)))
    };
    let (pipe, ring) = (share(PIPE)?, share(RING)?);
    Some(format!(
        "So the calls themselves are {pipe} and {ring}; the rest is falling asleep, being woken and switching."
    ))
}

/// How much work a message must bring with it, so that it costs less than a twentieth of the whole.
pub fn break_even(measured: &[Placed]) -> Option<String> {
    const OF_THE_WHOLE: f64 = 0.05;
    let (placement, measured) = measured.first()?;
    let fastest = |parties| fastest_between(parties, measured, *placement);
    let work = |label: &str| {
        let trip_ns = median_ns(measured, label, *placement)?;
        Some(format!("{} by '{label}'", with_unit("ns", trip_ns * (1.0 - OF_THE_WHOLE) / OF_THE_WHOLE)))
    };
    Some(format!(
        "Does it matter? {}, a round trip is less than {} % of the whole if each message brings more work than {}, {}, \
         or {}.",
        capitalized(place(*placement)),
        chosen_with_unit("", OF_THE_WHOLE * 100.0),
        work(&fastest(Threads)?)?,
        work(&fastest(Processes)?)?,
        work(&label(PIPE, Processes))?,
    ))
}

/// None where the pipe, the ring or every channel was refused.
pub fn answer(measured: &[Placed]) -> Option<String> {
    let part = |(placement, measured): &Placed| {
        let time = |label: &str| Some(with_unit("ns", median_ns(measured, label, *placement)?));
        let channel = fastest_channel(measured, *placement)?;
        Some(format!(
            "{} {} by a pipe (between threads {}) and {} by a ring in shared memory (the fastest channel between \
             threads, {}, takes {})",
            place(*placement),
            time(&label(PIPE, Processes))?,
            time(&label(PIPE, Threads))?,
            time(&label(RING, Processes))?,
            name_in(&channel),
            time(&channel)?,
        ))
    };
    let parts: Vec<String> = measured.iter().filter_map(part).collect();
    (!parts.is_empty()).then(|| format!("Between processes 64 bytes there and back take {}.", parts.join("; ")))
}

fn median_ns(measured: &Measured, label: &str, placement: Placement) -> Option<f64> {
    Some(measured.figures(label, placement)?.median().value)
}

fn name_in(label: &str) -> &str {
    label.split(',').next().unwrap_or(label)
}

fn capitalized(text: &str) -> String {
    text.chars().take(1).flat_map(char::to_uppercase).chain(text.chars().skip(1)).collect()
}
