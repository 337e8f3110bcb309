//! What does each fix cost between processes, beside the code that loses?

use std::mem::forget;

use anyhow::{Context, Result, ensure};
use process_demo::crew::{Crew, Kind, Task};
use shared::measure::{Contest, Pinning, Ready, Rival, Timing};
use shared::{Placement, Stage};

use super::counters::{Counter, add_so_often};

const RACY: &str = "two steps (loses)";

/// Measures what not to lose costs; only the full report shows it.
pub fn compare<C: Counter>(stage: &mut Stage, counter: C) -> Result<()> {
    let title = format!("One addition in {}, while another process adds too", C::WHERE);
    let mut contest = Contest::new(title, "how it is added", Timing::Batches);
    for placement in [Placement::OtherCpu, Placement::SameCpu] {
        // What losing looks like in a check: all was added, and the total is one at least and no more than all.
        let plausible = |added: u64, total: u64| (1..=added).contains(&total);
        let two_steps: Task<C> = |counter, [times, ..]| add_so_often(times, || counter.add_in_two_steps(|| ()));
        contest.add(Rival::of_processes(RACY, placement, move |pinning| pair(pinning, counter, two_steps, plausible)));
        let exact = |added: u64, total: u64| total == added;
        let fixed: Task<C> = |counter, [times, ..]| add_so_often(times, || counter.add());
        contest.add(Rival::of_processes(C::FIX, placement, move |pinning| pair(pinning, counter, fixed, exact)));
    }
    let measured = stage.compare(contest)?;
    for (placement, place) in [(Placement::OtherCpu, "on two CPUs"), (Placement::SameCpu, "on one CPU")] {
        let Some(ratio) = measured.ratio(C::FIX, RACY, placement) else { continue };
        stage.trend(format!("{} against two steps, {place}", C::FIX), &ratio);
    }
    Ok(())
}

/// This process and another, which sleeps between the turns, each add half.
fn pair<'a, C: Counter + 'a>(
    pinning: Pinning,
    mut counter: C,
    add: Task<C>,
    right: impl Fn(u64, u64) -> bool + 'a,
) -> Result<Ready<'a>> {
    let mut peer = Crew::of(Kind::Processes, 1, || {
        forget(pinning.peer.pin()?); // For all its life.
        Ok(counter)
    })?;
    let pid = peer.pid(0).context("the other process has ended")?;
    let turn = move |steps: u64| {
        counter.set_to_zero()?;
        peer.tell(0, add, [steps / 2, 0, 0]);
        let added = add(&mut counter, [steps - steps / 2, 0, 0])? + peer.hear(0)?.value()?;
        ensure!(added == steps, "{added} of {steps} additions were made");
        Ok(if right(added, counter.total()?) { added } else { 0 })
    };
    Ok(Ready::with_children(turn, vec![pid]))
}
