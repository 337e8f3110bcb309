//! How is one way timed? A payload is stamped and handed over, and the other side answers with what it found.

use std::cell::Cell;

use anyhow::{Context, Result};
use process_demo::child::fork;
use shared::Placement;
use shared::measure::{Pinning, Ready, Rival};

use super::payload::WHOLE;

/// What the other side says: of the rows, in how many the first payload arrived whole; of the later turns, in how many
/// the stamps were right.
#[derive(Default)]
pub struct Tally {
    pub rows: Cell<u64>,
    pub whole: Cell<u64>,
    pub turns: Cell<u64>,
    pub stamped: Cell<u64>,
}

/// The side that has the payload: stamps it with the turn, hands it over, and waits for the answer.
pub trait Giver {
    fn give(&mut self, turn: u64) -> Result<u64>;
}

/// The first turn is checked in full and not timed; each later one is known by its stamp.
fn turns<'a>(mut giver: impl Giver + 'a, tally: &'a Tally) -> Result<impl FnMut(u64) -> Result<u64> + 'a> {
    let whole = u64::from(giver.give(0)? == WHOLE); // What this machine refuses is refused here, and counts as no row.
    tally.rows.set(tally.rows.get() + 1);
    tally.whole.set(tally.whole.get() + whole);
    let mut turn = 0;
    Ok(move |steps| {
        let mut right = 0;
        for _ in 0..steps {
            turn += 1;
            right += u64::from(giver.give(turn)? == turn);
        }
        tally.turns.set(tally.turns.get() + steps);
        tally.stamped.set(tally.stamped.get() + right);
        Ok(right)
    })
}

/// A row between this process and a child that runs `take` until it fails, which it does when this side is gone.
pub fn processes<'a, G: Giver + 'a, T: 'a>(
    label: String,
    placement: Placement,
    tally: &'a Tally,
    pair: impl FnOnce() -> Result<(G, T)> + 'a,
    take: fn(&mut T) -> Result<()>,
) -> Rival<'a> {
    Rival::of_processes(label, placement, move |pinning: Pinning| {
        let (giver, taker) = pair()?;
        let (mut giver, mut taker) = (Some(giver), Some(taker));
        let work = || {
            drop(giver.take()); // The child's copy: what it never closes, it can never see closed.
            let Some(mut taker) = taker.take() else { return 1 };
            let Ok(_pinned) = pinning.peer.pin() else { return 1 };
            while take(&mut taker).is_ok() {}
            0
        };
        // SAFETY: the two share descriptors and a region that holds plain numbers; nothing in it is owned.
        let child = unsafe { fork(work) }.context("starting a process")?;
        drop(taker);
        let pid = child.pid();
        let mut turn = turns(giver.context("the giver stays here")?, tally)?;
        Ok(Ready::with_children(
            move |steps| {
                let _until_the_end = &child;
                turn(steps)
            },
            vec![pid],
        ))
    })
}

/// A row between two threads.
pub fn threads<'a, G: Giver + 'a>(
    label: String,
    placement: Placement,
    tally: &'a Tally,
    start: impl FnOnce(Pinning) -> Result<G> + 'a,
) -> Rival<'a> {
    Rival::of_threads(label, placement, move |pinning| Ok(Ready::new(turns(start(pinning)?, tally)?)))
}
