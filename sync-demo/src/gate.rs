//! What stands between a worker and the room? Locks and semaphores, each with the same three questions to it.

use std::ops::Range;
use std::ptr;
use std::sync::Mutex;

use sync_demo::futex_mutex::FutexMutex;
use sync_demo::posix_semaphore::PosixSemaphore;
use sync_demo::process_mutex::ProcessMutex;
use sync_demo::semaphore::Semaphore;

pub type GoOut<'g> = Box<dyn FnOnce() + 'g>;

pub trait Gate: Sync {
    fn name(&self) -> &'static str;

    /// Waits to be let in; whoever calls what it gets goes out.
    fn enter(&self) -> GoOut<'_>;

    /// Whether one more would be let in at once.
    fn is_open(&self) -> bool;

    /// The addresses of its words; its waiters sleep on one of them.
    fn memory(&self) -> Range<usize> {
        let start = ptr::from_ref(self).cast::<u8>().addr();
        start..start + size_of_val(self)
    }
}

impl Gate for Mutex<()> {
    fn name(&self) -> &'static str {
        "std Mutex"
    }

    fn enter(&self) -> GoOut<'_> {
        let guard = self.lock().unwrap();
        Box::new(|| drop(guard))
    }

    fn is_open(&self) -> bool {
        self.try_lock().is_ok()
    }
}

impl Gate for FutexMutex<()> {
    fn name(&self) -> &'static str {
        "futex mutex"
    }

    fn enter(&self) -> GoOut<'_> {
        let guard = self.lock();
        Box::new(|| drop(guard))
    }

    fn is_open(&self) -> bool {
        self.try_lock().is_some()
    }
}

impl Gate for ProcessMutex<()> {
    fn name(&self) -> &'static str {
        "process-shared pthread mutex"
    }

    fn enter(&self) -> GoOut<'_> {
        let guard = self.lock().expect(IN_ORDER);
        Box::new(|| drop(guard))
    }

    fn is_open(&self) -> bool {
        self.try_lock().expect(IN_ORDER).is_some()
    }
}

impl Gate for Semaphore {
    fn name(&self) -> &'static str {
        "Mutex and Condvar"
    }

    fn enter(&self) -> GoOut<'_> {
        let permit = self.acquire();
        Box::new(|| drop(permit))
    }

    fn is_open(&self) -> bool {
        self.try_acquire().is_some()
    }
}

impl Gate for PosixSemaphore {
    fn name(&self) -> &'static str {
        "POSIX semaphore"
    }

    fn enter(&self) -> GoOut<'_> {
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
