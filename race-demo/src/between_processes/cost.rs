//! What does each fix cost between processes, beside the code that loses?

use anyhow::{Result, ensure};
use shared::measure::{Contest, Pinning, Ready, Rival, Timing};
use shared::{Placement, Stage};

use super::counters::Counter;
use super::peer::{Peer, add_so_often};

const RACY: &str = "two steps (loses)";

/// Measures what not to lose costs; only the full report shows it.
pub fn compare<C: Counter>(stage: &mut Stage, counter: C) -> Result<()> {
    let title = format!("One addition in {}, while another process adds too", C::WHERE);
    let mut contest = Contest::new(title, "how it is added", Timing::Batches);
    for placement in [Placement::OtherCpu, Placement::SameCpu] {
        // What losing looks like in a check: all was added, and the total is one at least and no more than all.
        let plausible = |added: u64, total: u64| (1..=added).contains(&total);
        let two_steps = move || counter.add_in_two_steps(|| ());
        contest.add(Rival::of_processes(RACY, placement, move |pinning| pair(pinning, counter, two_steps, plausible)));
        let exact = |added: u64, total: u64| total == added;
        let fixed = move || counter.add();
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
fn pair<'a>(
    pinning: Pinning,
    counter: impl Counter + 'a,
    add: impl Fn() -> Result<()> + Copy + 'a,
    right: impl Fn(u64, u64) -> bool + 'a,
) -> Result<Ready<'a>> {
    let peer = Peer::start(pinning.peer, move |_, times| add_so_often(times, add))?;
    let pid = peer.pid();
    let turn = move |steps: u64| {
        counter.set_to_zero()?;
        peer.tell(steps / 2)?;
        let added = add_so_often(steps - steps / 2, add)? + peer.answer()?;
        ensure!(added == steps, "{added} of {steps} additions were made");
        Ok(if right(added, counter.total()?) { added } else { 0 })
    };
    Ok(Ready::with_children(turn, vec![pid]))
}
