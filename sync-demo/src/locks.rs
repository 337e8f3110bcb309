//! Which locks are there? The topic's one list: whom each keeps apart, and how it is made, taken, tried and timed.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::ptr;
use std::sync::Mutex;

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;
use process_demo::crew::Kind;
use shared::measure::Ready;
use sync_demo::futex_mutex::FutexMutex;
use sync_demo::posix_semaphore::PosixSemaphore;
use sync_demo::process_mutex::ProcessMutex;
use sync_demo::semaphore::Semaphore;

pub struct LockKind {
    pub name: &'static str,
    pub between: &'static [Kind],
    /// With so many permits; a mutex has one.
    pub make: fn(u32) -> Result<Box<dyn Lock>>,
    /// Locks, adds one and unlocks, so many times; the total under the lock says how many.
    pub time: fn() -> Result<Ready<'static>>,
}

const THREADS: &[Kind] = &[Kind::Threads];
const BOTH: &[Kind] = &[Kind::Threads, Kind::Processes];

pub static MUTEXES: [LockKind; 3] = [
    LockKind {
        name: "std Mutex",
        between: THREADS,
        make: |_| Ok(Box::new(Mutex::new(()))),
        time: || Ok(additions(Mutex::new(0))),
    },
    LockKind {
        name: "futex mutex",
        between: BOTH,
        make: |_| Ok(Box::new(futex_mutex(())?)),
        time: || Ok(additions(futex_mutex(0)?)),
    },
    LockKind {
        name: "process-shared pthread mutex",
        between: BOTH,
        make: |_| Ok(Box::new(process_mutex(())?)),
        time: || Ok(additions(process_mutex(0)?)),
    },
];

pub static SEMAPHORES: [LockKind; 2] = [
    LockKind {
        name: "Mutex and Condvar",
        between: THREADS,
        make: |permits| Ok(Box::new(Semaphore::new(permits as usize))),
        time: || Ok(additions(Beside { semaphore: Semaphore::new(1), total: Cell::new(0) })),
    },
    LockKind {
        name: "POSIX semaphore",
        between: BOTH,
        make: |permits| Ok(Box::new(posix_semaphore(permits)?)),
        time: || Ok(additions(Beside { semaphore: posix_semaphore(1)?, total: Cell::new(0) })),
    },
];

pub type Unlock<'l> = Box<dyn FnOnce() + 'l>;

/// A lock or a semaphore, as a worker meets it.
pub trait Lock: Sync {
    /// Waits to be let in; whoever calls what it gets goes out.
    fn enter(&self) -> Unlock<'_>;

    /// Whether one more would be let in at once.
    fn is_open(&self) -> bool;

    /// The addresses of its words; its waiters sleep on one of them.
    fn memory(&self) -> Range<usize> {
        let start = ptr::from_ref(self).cast::<u8>().addr();
        start..start + size_of_val(self)
    }
}

impl Lock for Mutex<()> {
    fn enter(&self) -> Unlock<'_> {
        let guard = self.lock().unwrap();
        Box::new(|| drop(guard))
    }

    fn is_open(&self) -> bool {
        self.try_lock().is_ok()
    }
}

impl Lock for FutexMutex<()> {
    fn enter(&self) -> Unlock<'_> {
        let guard = self.lock();
        Box::new(|| drop(guard))
    }

    fn is_open(&self) -> bool {
        self.try_lock().is_some()
    }
}

impl Lock for ProcessMutex<()> {
    fn enter(&self) -> Unlock<'_> {
        let guard = self.lock().expect(IN_ORDER);
        Box::new(|| drop(guard))
    }

    fn is_open(&self) -> bool {
        self.try_lock().expect(IN_ORDER).is_some()
    }
}

impl Lock for Semaphore {
    fn enter(&self) -> Unlock<'_> {
        let permit = self.acquire();
        Box::new(|| drop(permit))
    }

    fn is_open(&self) -> bool {
        self.try_acquire().is_some()
    }
}

impl Lock for PosixSemaphore {
    fn enter(&self) -> Unlock<'_> {
        self.wait().expect(IN_ORDER);
        Box::new(|| self.post().expect(IN_ORDER))
    }

    fn is_open(&self) -> bool {
        let got_in = self.try_wait().expect(IN_ORDER);
        if got_in {
            self.post().expect(IN_ORDER);
        }
        got_in
    }
}

const IN_ORDER: &str = "this program made it, and writes over it nowhere";

impl<L: Lock> Lock for InRegion<L> {
    fn enter(&self) -> Unlock<'_> {
        (**self).enter()
    }

    fn is_open(&self) -> bool {
        (**self).is_open()
    }

    fn memory(&self) -> Range<usize> {
        (**self).memory()
    }
}

/// A lock in memory that child processes see too.
struct InRegion<L> {
    region: SharedRegion,
    holds: PhantomData<L>,
}

fn futex_mutex<T: Send>(value: T) -> Result<InRegion<FutexMutex<T>>> {
    let region = SharedRegion::new(size_of::<FutexMutex<T>>())?;
    // SAFETY: the region is page-aligned, large enough and seen by nobody else yet.
    unsafe { ptr::write(region.as_ptr().cast(), FutexMutex::new(value)) };
    Ok(InRegion { region, holds: PhantomData })
}

fn process_mutex<T: Send>(value: T) -> Result<InRegion<ProcessMutex<T>>> {
    let region = SharedRegion::new(size_of::<ProcessMutex<T>>())?;
    // SAFETY: as above, and whoever uses the mutex borrows what keeps it mapped.
    unsafe { ProcessMutex::init(region.as_ptr().cast(), value) }.context("a process-shared mutex")?;
    Ok(InRegion { region, holds: PhantomData })
}

fn posix_semaphore(permits: u32) -> Result<InRegion<PosixSemaphore>> {
    let region = SharedRegion::new(size_of::<PosixSemaphore>())?;
    // SAFETY: as above.
    unsafe { PosixSemaphore::init(region.as_ptr().cast(), permits) }.context("a semaphore")?;
    Ok(InRegion { region, holds: PhantomData })
}

impl<L> Deref for InRegion<L> {
    type Target = L;

    fn deref(&self) -> &L {
        // SAFETY: each function that makes one of these has first made the lock there; it stays mapped as long as this.
        unsafe { &*self.region.as_ptr().cast() }
    }
}

/// A total that is reached under a lock alone.
trait Total: 'static {
    fn locked<R>(&self, work: impl FnOnce(&mut u64) -> R) -> Result<R>;
}

fn additions(total: impl Total) -> Ready<'static> {
    Ready::new(move |steps| {
        total.locked(|total| *total = 0)?;
        for _ in 0..steps {
            total.locked(|total| *total += 1)?;
        }
        total.locked(|total| *total)
    })
}

impl Total for Mutex<u64> {
    fn locked<R>(&self, work: impl FnOnce(&mut u64) -> R) -> Result<R> {
        Ok(work(&mut self.lock().unwrap()))
    }
}

impl Total for InRegion<FutexMutex<u64>> {
    fn locked<R>(&self, work: impl FnOnce(&mut u64) -> R) -> Result<R> {
        Ok(work(&mut self.lock()))
    }
}

impl Total for InRegion<ProcessMutex<u64>> {
    fn locked<R>(&self, work: impl FnOnce(&mut u64) -> R) -> Result<R> {
        Ok(work(&mut *self.lock()?))
    }
}

/// A semaphore has no value of its own to protect.
struct Beside<S> {
    semaphore: S,
    total: Cell<u64>,
}

impl<S> Beside<S> {
    fn work<R>(&self, work: impl FnOnce(&mut u64) -> R) -> R {
        let mut total = self.total.get();
        let done = work(&mut total);
        self.total.set(total);
        done
    }
}

impl Total for Beside<Semaphore> {
    fn locked<R>(&self, work: impl FnOnce(&mut u64) -> R) -> Result<R> {
        let _permit = self.semaphore.acquire();
        Ok(self.work(work))
    }
}

impl Total for Beside<InRegion<PosixSemaphore>> {
    fn locked<R>(&self, work: impl FnOnce(&mut u64) -> R) -> Result<R> {
        self.semaphore.wait()?;
        let done = self.work(work);
        self.semaphore.post()?;
        Ok(done)
    }
}
