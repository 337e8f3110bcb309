//! What do the figures say, in a sentence?

use shared::measure::Measured;
use shared::number::{chosen_with_unit, three_digits, with_unit};
use shared::{Placement, Placement::SameCpu, Stage};

use super::contests::place;
use super::overhead::fastest_between;
use super::pairs::{Placed, alike};
use super::rows::Between::{Nobody, Processes, Threads};
use super::rows::{PIPE, RING, label};

/// What of a round trip on one CPU is the calls themselves, and what is waiting for somebody.
pub fn share_of_the_calls(measured: &Measured) -> Option<String> {
    let share = |name: &str| {
        let (alone, with) = (label(name, Nobody), label(name, Processes));
        let share = median_ns(measured, &alone, SameCpu)? / median_ns(measured, &with, SameCpu)?;
        Some(format!("{} % by {name}", three_digits(share * 100.0)))
    };
    let (pipe, ring) = (share(PIPE)?, share(RING)?);
    Some(format!(
        "The calls alone are {pipe} and {ring} of a round trip; the rest is falling asleep, being woken and switching."
    ))
}

/// How much work a message must bring with it, so that it costs less than a twentieth of the whole.
pub fn break_even(measured: &[Placed]) -> Option<String> {
    const OF_THE_WHOLE: f64 = 0.05;
    let (placement, measured) = measured.first()?;
    let fastest = |parties| Some(label(fastest_between(parties, measured, *placement)?, parties));
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

/// Headline, answer and advice, by the ring and the pipe where the figures are shown in short; none if one was refused.
pub fn tell(stage: &mut Stage, all: &[Placed]) -> Option<()> {
    let (placement, measured) = all.first()?;
    let time = |name, parties| Some(with_unit("ns", median_ns(measured, &label(name, parties), *placement)?));
    let (ring, pipe) = (time(RING, Processes)?, time(PIPE, Processes)?);
    let dearer = |(placement, measured): &Placed| {
        let ratios = alike(measured, *placement);
        (ratios.iter().filter(|ratio| ratio.is_slower()).count(), ratios.len())
    };
    let (slower, of) = dearer(&all[0]);
    let cost = if slower == 1 { "costs" } else { "cost" };
    let elsewhere = all[1..].iter().map(|placed| {
        let (slower, of) = dearer(placed);
        format!(", {} {slower} of {of}", place(placed.0))
    });
    stage.headline(format!("{ring} by ring, {pipe} by pipe"));
    stage.answer(format!(
        "{} a ring takes {} between threads and {ring} between processes; {slower} of {of} mechanisms {cost} clearly more{}.",
        capitalized(place(*placement)),
        time(RING, Threads)?,
        elsewhere.collect::<String>(),
    ));
    stage.advise(match measured.ratio(&label(PIPE, Processes), &label(RING, Processes), *placement)? {
        pipe if pipe.is_slower() => {
            format!("Copy `ring`; `pipe_pair` is simpler, but {} times slower.", three_digits(pipe.ratio))
        }
        _ => "Copy `pipe_pair`: the ring is not clearly faster here.".to_owned(),
    });
    Some(())
}

fn median_ns(measured: &Measured, label: &str, placement: Placement) -> Option<f64> {
    Some(measured.figures(label, placement)?.median().value)
}

fn capitalized(text: &str) -> String {
    text.chars().take(1).flat_map(char::to_uppercase).chain(text.chars().skip(1)).collect()
}
