//! Is the ring between processes slower than what threads have: the same ring, and their fastest channel?

use shared::Placement::{self, OtherCpu, SameCpu};
use shared::measure::{Contest, Measured, Timing};
use shared::stats::Ratio;

use super::exchange::{Tally, Traffic, processes, threads};
use super::ways;
use crate::round_trip::overhead::{Against, Case};

/// The ring between processes, measured beside something between threads.
pub struct Pairing {
    traffic: Traffic,
    placement: Placement,
    thread: &'static str,
    pub ratio: Ratio,
}

impl Pairing {
    pub fn says(&self) -> String {
        let (traffic, place) = (self.traffic.name(), place(self.placement));
        format!("{traffic} {place}: '{}' against '{}'", ways::RING_PROCESSES, self.thread)
    }
}

pub const PLACEMENTS: [Placement; 2] = [OtherCpu, SameCpu];

/// By both kinds of traffic at both placements, the ring against itself and against a channel.
const TOGETHER: usize = 2 * 2 * 2;

pub fn contest(traffic: Traffic, tally: &Tally) -> Contest<'_> {
    let title = format!("64 bytes {}", traffic.name());
    let mut contest = Contest::new(title, "who the two sides are, and where they run", Timing::Batches);
    for placement in PLACEMENTS {
        contest.add(threads(ways::RING_THREADS, placement, traffic, tally, ways::rings));
        contest.add(processes(ways::RING_PROCESSES, placement, traffic, tally, ways::rings));
        contest.add(threads(ways::CROSSBEAM, placement, traffic, tally, ways::crossbeam));
        contest.add(threads(ways::STD, placement, traffic, tally, ways::std_channels));
    }
    contest
}

/// The ring between processes against the same ring between threads, on two CPUs and on one.
pub fn borders(measured: &Measured, traffic: Traffic) -> Vec<Pairing> {
    PLACEMENTS.into_iter().filter_map(|placement| pairing(measured, traffic, ways::RING_THREADS, placement)).collect()
}

/// The ring between processes against the channel between threads that was fastest there.
pub fn channels(measured: &Measured, traffic: Traffic) -> Vec<Pairing> {
    let fastest = |placement| {
        let median = |label: &str| Some(measured.figures(label, placement)?.median().value);
        let timed = [ways::CROSSBEAM, ways::STD].into_iter().filter_map(|label| Some((label, median(label)?)));
        Some(timed.min_by(|(_, one), (_, other)| one.total_cmp(other))?.0)
    };
    let of = |placement| pairing(measured, traffic, fastest(placement)?, placement);
    PLACEMENTS.into_iter().filter_map(of).collect()
}

fn pairing(measured: &Measured, traffic: Traffic, thread: &'static str, placement: Placement) -> Option<Pairing> {
    let ratio = measured.ratio_among(TOGETHER, ways::RING_PROCESSES, thread, placement)?;
    Some(Pairing { traffic, placement, thread, ratio })
}

pub fn place(placement: Placement) -> &'static str {
    match placement {
        Placement::SameCpu => "on one CPU",
        Placement::OtherCpu => "on two CPUs",
        Placement::Free => "wherever the kernel likes",
    }
}

/// The same as the rule reads them.
pub fn cases(pairings: &[Pairing]) -> Vec<Case> {
    let against = |pairing: &Pairing| match pairing.thread {
        ways::RING_THREADS => Against::ItselfByMemory,
        _ => Against::Channel,
    };
    let case =
        |pairing: &Pairing| Case { placement: pairing.placement, against: against(pairing), ratio: pairing.ratio };
    pairings.iter().map(case).collect()
}
