//! What does a lock cost that nobody else wants?

use std::cell::Cell;
use std::sync::Mutex;

use anyhow::Result;
use ipc_demo::shared_region::SharedRegion;
use shared::measure::{Contest, Ready, Rival, Timing};
use shared::{Placement, Stage};
use sync_demo::futex_mutex::FutexMutex;
use sync_demo::posix_semaphore::PosixSemaphore;
use sync_demo::process_mutex::ProcessMutex;

const STD: &str = "std Mutex";
const FUTEX: &str = "futex mutex";
const PTHREAD: &str = "process-shared pthread mutex";
const SEMAPHORE: &str = "POSIX semaphore of 1";

/// Measures them; only the full report shows it.
pub fn compare(stage: &mut Stage) -> Result<()> {
    stage.note("What it costs to lock, add one and unlock while nobody else wants the lock.");
    let mut contest = Contest::new("Lock, add one, unlock; nobody else waits", "the kind of lock", Timing::Batches);
    contest.add(Rival::of_threads(STD, Placement::Free, |_| Ok(std_mutex())));
    contest.add(Rival::of_threads(FUTEX, Placement::Free, |_| Ok(futex_mutex())));
    contest.add(Rival::of_threads(PTHREAD, Placement::Free, |_| process_mutex()));
    contest.add(Rival::of_threads(SEMAPHORE, Placement::Free, |_| posix_semaphore()));
    let measured = stage.compare(contest)?;
    for label in [FUTEX, PTHREAD, SEMAPHORE] {
        if let Some(ratio) = measured.ratio(label, STD, Placement::Free) {
            stage.trend(format!("{label} against {STD}"), &ratio);
        }
    }
    Ok(())
}

/// So many additions; the total under the lock says how many there were.
fn std_mutex() -> Ready<'static> {
    let total = Mutex::new(0);
    Ready::new(move |steps| {
        *total.lock().unwrap() = 0;
        (0..steps).for_each(|_| *total.lock().unwrap() += 1);
        Ok(*total.lock().unwrap())
    })
}

fn futex_mutex() -> Ready<'static> {
    let total = FutexMutex::new(0);
    Ready::new(move |steps| {
        *total.lock() = 0;
        (0..steps).for_each(|_| *total.lock() += 1);
        Ok(*total.lock())
    })
}

fn process_mutex() -> Result<Ready<'static>> {
    let region = SharedRegion::new(size_of::<ProcessMutex<u64>>())?;
    // SAFETY: the region is page-aligned, large enough, ours alone, and moves into the turn, which alone uses the
    // mutex.
    let total = unsafe { ProcessMutex::init(region.as_ptr().cast(), 0) }?;
    Ok(Ready::new(move |steps| {
        let _mapped = &region;
        *total.lock()? = 0;
        for _ in 0..steps {
            *total.lock()? += 1;
        }
        Ok(*total.lock()?)
    }))
}

fn posix_semaphore() -> Result<Ready<'static>> {
    let region = SharedRegion::new(size_of::<PosixSemaphore>())?;
    // SAFETY: as in `process_mutex`.
    let semaphore = unsafe { PosixSemaphore::init(region.as_ptr().cast(), 1) }?;
    let total = Cell::new(0);
    Ok(Ready::new(move |steps| {
        let _mapped = &region;
        total.set(0);
        for _ in 0..steps {
            semaphore.wait()?;
            total.set(total.get() + 1);
            semaphore.post()?;
        }
        Ok(total.get())
    }))
}
