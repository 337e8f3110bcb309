//! Which rows are measured together? All that share a place; and beside them what would spoil the others.

use shared::Placement::{self, Free, OtherCpu, SameCpu};
use shared::measure::{Contest, Timing};

use super::bench::Bench;
use super::rows::Between::{Nobody, Processes};
use super::rows::{self, MECHANISMS};

pub fn place(placement: Placement) -> &'static str {
    match placement {
        SameCpu => "on one CPU",
        OtherCpu => "on two CPUs",
        Free => "wherever the kernel likes",
    }
}

/// Every mechanism that is measured at that placement.
pub fn all(placement: Placement, bench: &Bench) -> Contest<'_> {
    let title = format!("64 B there and back, {}", place(placement).trim_start_matches("on "));
    let mut contest = Contest::new(title, "the mechanism, and who talks", Timing::Events);
    for rival in MECHANISMS.iter().flat_map(|mechanism| mechanism.rivals(placement, bench)) {
        contest.add(rival);
    }
    contest
}

/// The control: one party makes all the calls of both, and has nobody to wait for.
pub fn beside_nobody(bench: &Bench) -> Contest<'_> {
    let title = "64 bytes there and back, on one CPU, beside the same calls by one party alone";
    let mut contest = Contest::new(title, "the mechanism, and whether there is a peer", Timing::Events);
    for mechanism in [rows::PIPE, rows::RING].into_iter().filter_map(rows::named) {
        contest.add(mechanism.rival(Nobody, SameCpu, bench));
        contest.add(mechanism.rival(Processes, SameCpu, bench));
    }
    contest
}

/// Who spins on a shared CPU keeps it from the one it waits for, until the kernel takes it away. A message takes so long
/// that few are measured, and in batches, which are of one message there.
pub fn spinning_on_one_cpu(bench: &Bench) -> Contest<'_> {
    let title = "64 bytes there and back, by memory alone, on one CPU";
    let mut contest = Contest::new(title, "what the reader does while it waits", Timing::Batches);
    for mechanism in [rows::SPIN, rows::YIELD, rows::FUTEX].into_iter().filter_map(rows::named) {
        contest.add(mechanism.rival(Processes, SameCpu, bench));
    }
    contest
}
