//! What does each fix cost, beside the code that loses?

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use race_demo::lost_update::{add_at_once, add_by_compare_exchange, add_in_two_steps, add_locked};
use race_demo::owned_counter;
use shared::measure::{Contest, PinTo, Pinning, Ready, Rival, Timing};
use shared::number::count;
use shared::{Placement, Stage};

const RACY: &str = "load, store (loses)";
const AT_ONCE: &str = "fetch_add";
const EXCHANGE: &str = "compare-exchange loop";
const MUTEX: &str = "std Mutex";
const OWNER: &str = "owning thread, crossbeam bounded(1024)";

/// Measures what not to lose costs; only the full report shows it.
pub fn compare(stage: &mut Stage) -> Result<()> {
    stage.note("What each costs: two threads add to one total, half of the additions each, on one CPU and on two.");
    let lost = Arc::new(AtomicU64::new(0));
    let mut contest = Contest::new("One addition, while another thread adds too", "how it is added", Timing::Batches);
    for placement in [Placement::OtherCpu, Placement::SameCpu] {
        let lost = Arc::clone(&lost);
        contest.add(Rival::of_threads(RACY, placement, |pinning| racy(pinning, lost)));
        contest.add(Rival::of_threads(AT_ONCE, placement, |pinning| atomic(pinning, add_at_once)));
        contest.add(Rival::of_threads(EXCHANGE, placement, |pinning| atomic(pinning, add_by_compare_exchange)));
        contest.add(Rival::of_threads(MUTEX, placement, mutex));
        contest.add(Rival::of_threads(OWNER, placement, owner));
    }
    let measured = stage.compare(contest)?;
    stage.note(format!("Of the timed additions by load and store, {} vanished.", count(lost.load(Relaxed))));
    for (placement, place) in [(Placement::OtherCpu, "on two CPUs"), (Placement::SameCpu, "on one CPU")] {
        for (label, other) in [(AT_ONCE, RACY), (EXCHANGE, AT_ONCE), (MUTEX, AT_ONCE), (OWNER, AT_ONCE)] {
            let Some(ratio) = measured.ratio(label, other, placement) else { continue };
            stage.trend(format!("{label} against {other}, {place}"), &ratio);
        }
    }
    Ok(())
}

/// What losing looks like in a check: everything was added, and the total has grown by one at least and by no more
/// than all. How much is missing is counted, not hidden.
fn racy(pinning: Pinning, lost: Arc<AtomicU64>) -> Result<Ready<'static>> {
    let number = Arc::new(AtomicU64::new(0));
    let total = Arc::clone(&number);
    let plausible = move |added: u64, grown: u64| {
        lost.fetch_add(added.saturating_sub(grown), Relaxed);
        (1..=added).contains(&grown)
    };
    pair(pinning.peer, move || add_in_two_steps(&number, || ()), move || total.load(Relaxed), plausible)
}

fn atomic(pinning: Pinning, add: impl Fn(&AtomicU64) + Copy + Send + 'static) -> Result<Ready<'static>> {
    let number = Arc::new(AtomicU64::new(0));
    let total = Arc::clone(&number);
    pair(pinning.peer, move || add(&number), move || total.load(Relaxed), exact)
}

fn mutex(pinning: Pinning) -> Result<Ready<'static>> {
    let number = Arc::new(Mutex::new(0));
    let total = Arc::clone(&number);
    pair(pinning.peer, move || add_locked(&number), move || *total.lock().unwrap(), exact)
}

fn owner(pinning: Pinning) -> Result<Ready<'static>> {
    let pinned = pinning.peer.pin()?; // A new thread starts where its maker runs.
    let (counter, owner) = owned_counter::start();
    drop(pinned);
    let asked = Asked { counter: counter.clone(), _owner: Joined(Some(owner)) };
    pair(pinning.peer, move || counter.add(1), move || asked.total(), exact)
}

/// Fields are dropped in their order: the owner ends when the last counter is gone, so it is joined after that.
struct Asked {
    counter: owned_counter::Counter,
    _owner: Joined<u64>,
}

impl Asked {
    fn total(&self) -> u64 {
        self.counter.total()
    }
}

fn exact(added: u64, grown: u64) -> bool {
    grown == added
}

/// This thread and another, which sleeps between the turns, each add half.
fn pair(
    pin_to: PinTo,
    add: impl Fn() + Clone + Send + 'static,
    total: impl Fn() -> u64 + 'static,
    right: impl Fn(u64, u64) -> bool + 'static,
) -> Result<Ready<'static>> {
    let peer = Peer::start(pin_to, add.clone())?;
    let mut pair = Pair { peer, add, total, before: 0 };
    Ok(Ready::new(move |steps| {
        let (added, grown) = pair.add(steps)?;
        Ok(if right(added, grown) { added } else { 0 })
    }))
}

/// Dropped in this order: what the peer and the addition hold is gone before the total's owner is joined.
struct Pair<A, T> {
    peer: Peer,
    add: A,
    total: T,
    before: u64,
}

impl<A: Fn(), T: Fn() -> u64> Pair<A, T> {
    /// Returns how many additions were made, by both sides' own count, and by how much the total has grown.
    fn add(&mut self, steps: u64) -> Result<(u64, u64)> {
        self.peer.go.send(steps / 2).context("the other thread has ended")?;
        let own = add_so_often(steps - steps / 2, &self.add);
        let theirs = self.peer.done.recv().context("the other thread has ended")?;
        let total = (self.total)();
        let grown = total - self.before;
        self.before = total;
        Ok((own + theirs, grown))
    }
}

/// A thread that adds as often as it is told to, and says how often it did. Without a teller it ends, and is joined.
struct Peer {
    go: SyncSender<u64>,
    done: Receiver<u64>,
    _thread: Joined<()>,
}

impl Peer {
    fn start(pin_to: PinTo, add: impl Fn() + Send + 'static) -> Result<Peer> {
        let (go, told) = sync_channel(1);
        let (says, done) = sync_channel(1);
        let work = move || {
            for times in told {
                let _ = says.send(add_so_often(times, &add)); // If nobody listens, nobody tells either: the loop ends.
            }
        };
        let pinned = pin_to.pin()?; // A new thread starts where its maker runs.
        let thread = thread::Builder::new().spawn(work).context("starting a thread")?;
        drop(pinned);
        Ok(Peer { go, done, _thread: Joined(Some(thread)) })
    }
}

fn add_so_often(times: u64, add: &impl Fn()) -> u64 {
    let mut added = 0;
    while added < times {
        add();
        added += 1;
    }
    added
}

/// Waits on drop for the thread's end; whoever holds it has dropped what keeps the thread going.
struct Joined<T>(Option<JoinHandle<T>>);

impl<T> Drop for Joined<T> {
    fn drop(&mut self) {
        let _ = self.0.take().map(JoinHandle::join); // Its panic has been seen by who waited for its answer.
    }
}
