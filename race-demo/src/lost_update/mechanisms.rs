//! By which mechanisms does a thread add one to a total, while others do so too?

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use race_demo::lost_update::{add_at_once, add_by_compare_exchange, add_in_two_steps, add_locked, together};
use race_demo::owned_counter;
use shared::measure::PinTo;

use crate::additions::RACY;

/// A name, and what it comes to: makes a total of zero, has the adders add to it, and returns it.
pub type Mechanism = (&'static str, fn(Adders) -> Result<u64>);

pub const TWO_STEPS: Mechanism = (RACY, |adders| {
    let total = AtomicU64::new(0);
    adders.all(|| add_in_two_steps(&total, || ()))?;
    Ok(total.into_inner())
});

pub const FIXES: [Mechanism; 4] = [
    ("fetch_add", |adders| {
        let total = AtomicU64::new(0);
        adders.all(|| add_at_once(&total))?;
        Ok(total.into_inner())
    }),
    ("compare-exchange loop", |adders| {
        let total = AtomicU64::new(0);
        adders.all(|| add_by_compare_exchange(&total))?;
        Ok(total.into_inner())
    }),
    ("std Mutex", |adders| {
        let total = Mutex::new(0);
        adders.all(|| add_locked(&total))?;
        Ok(total.into_inner().unwrap())
    }),
    ("owning thread, crossbeam bounded(1024)", |adders| {
        let (counter, owner) = owned_counter::start();
        adders.all(|| counter.add(1))?;
        drop(counter); // The owner adds up what is left, and ends.
        Ok(owner.join().unwrap())
    }),
];

pub const THREADS: u64 = 4; // More than most pairs of CPUs hold, so that some are always switched out.

/// Who adds.
#[derive(Clone, Copy)]
pub enum Adders {
    /// `THREADS` new threads, which begin together.
    Together { each: u64 },
    /// This thread, and another one with its own CPU: half of the additions each.
    Pair { additions: u64, peer: PinTo },
}

impl Adders {
    /// Comes back once everybody has added.
    fn all(self, add_one: impl Fn() + Sync) -> Result<()> {
        let add = |times| (0..times).for_each(|_| add_one());
        match self {
            Adders::Together { each } => together(THREADS as usize, || add(each)),
            Adders::Pair { additions, peer } => thread::scope(|scope| -> Result<()> {
                let pinned = peer.pin()?; // A new thread starts where its maker runs.
                let other = Builder::new().spawn_scoped(scope, || add(additions / 2)).context("starting a thread")?;
                drop(pinned);
                add(additions - additions / 2);
                other.join().unwrap();
                Ok(())
            })?,
        }
        Ok(())
    }
}
