//! Memory that both sides map, and three means to wait there: a semaphore, a futex, and a mutex that knows of a death.
//! nix has none of them.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::libc::{self, c_int, sem_t};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, shm_open, shm_unlink};
use nix::sys::stat::Mode;

use super::mechanisms::{HALF_BYTES, Line, MARK};
use crate::futex::{wait, wake};
use crate::names::Names;

/// A semaphore counts, and knows nothing of who counts.
pub fn semaphore(names: &Names) -> Result<Line> {
    const SHARED_BETWEEN_PROCESSES: c_int = 1;
    let memory = Memory::new(names, false)?;
    // SAFETY: the memory is large enough, aligned, and used by nobody yet.
    let made = unsafe { libc::sem_init(memory.semaphore.get(), SHARED_BETWEEN_PROCESSES, 0) };
    Errno::result(made).context("sem_init")?;
    let call = |function: unsafe extern "C" fn(*mut sem_t) -> c_int| {
        // SAFETY: the semaphore was initialised before anybody forked, and stays mapped; each of the functions that come
        // here may be called at any time by any process that has it mapped.
        Errno::result(unsafe { function(memory.semaphore.get()) }).map(|_| 1)
    };
    let newcomer = move || Ok(std::iter::from_fn(|| call(libc::sem_trywait).ok()).sum());
    Ok(Line::of(move |_, _| Ok(call(libc::sem_post)?), move |_, _| Ok(call(libc::sem_wait)?), newcomer))
}

/// In a file of /dev/shm, as most programs have it.
pub fn futex(names: &Names) -> Result<Line> {
    let (memory, name) = (Memory::new(names, true)?, names.in_system());
    let newcomer = move || Ok(Memory::map(&shm_open(name.as_str(), OFlag::O_RDWR, Mode::empty())?)?.unread_bytes());
    Ok(Line::of(|_, _| memory.put_half(), |_, _| memory.take_half(), newcomer))
}

/// Each side locks, works half a message, and would unlock after the other half.
pub fn robust(names: &Names) -> Result<Line> {
    let memory = Memory::new(names, false)?;
    memory.initialise_mutex().context("a robust mutex")?;
    let side = |work_half: fn(&Memory) -> Result<u64>| {
        let mut holds_it = false;
        move |_, _| {
            if !holds_it {
                // SAFETY: the mutex was initialised before anybody forked, and stays mapped.
                ok(unsafe { libc::pthread_mutex_lock(memory.mutex.get()) })?;
            }
            let bytes = work_half(memory)?;
            if holds_it {
                // SAFETY: as above; this thread has held it since the first half.
                ok(unsafe { libc::pthread_mutex_unlock(memory.mutex.get()) })?;
            }
            holds_it = !holds_it;
            Ok(bytes)
        }
    };
    Ok(Line::of(side(Memory::put_half), side(Memory::take_half), || Ok(memory.unread_bytes())))
}

/// All zeros are a valid value.
#[repr(C)]
struct Memory {
    /// How many halves were ever written and read, and those of one message.
    written: AtomicU32,
    read: AtomicU32,
    halves: [[AtomicU8; HALF_BYTES]; ROOM as usize],
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    semaphore: UnsafeCell<sem_t>,
}

const ROOM: u32 = 2; // Halves.

// SAFETY: what lies in it is made to be used by several threads and processes at once.
unsafe impl Sync for Memory {}

impl Memory {
    /// A forked child inherits the mapping, and needs no name.
    fn new(names: &Names, has_name: bool) -> Result<&'static Memory> {
        let (name, flags) = (names.in_system(), OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR);
        let fd = shm_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR).context("shm_open")?;
        if !has_name {
            shm_unlink(name.as_str())?;
        }
        // Reserved, not only sized: where /dev/shm is full, this says so, and not SIGBUS at the first touch.
        fallocate(&fd, FallocateFlags::empty(), 0, size_of::<Memory>() as i64).context("room in /dev/shm")?;
        Memory::map(&fd).context("mapping shared memory")
    }

    /// It stays mapped until the process ends: one page for each death.
    fn map(fd: &OwnedFd) -> nix::Result<&'static Memory> {
        let bytes = NonZeroUsize::new(size_of::<Memory>()).unwrap();
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses a free address, so no memory in use is replaced. The mapping is large enough,
        // page-aligned and never taken away, and the file was zeroed and was never another thing than this.
        unsafe { Ok(mmap(None, bytes, access, MapFlags::MAP_SHARED, fd, 0)?.cast().as_ref()) }
    }

    fn put_half(&self) -> Result<u64> {
        let written = self.written.load(Relaxed);
        let full = written.wrapping_sub(ROOM);
        while self.read.load(Acquire) == full {
            wait(&self.read, full)?;
        }
        self.halves[(written % ROOM) as usize].iter().for_each(|byte| byte.store(MARK, Relaxed));
        self.written.store(written.wrapping_add(1), Release); // Publishes the half to whoever reads the word.
        wake(&self.written);
        Ok(HALF_BYTES as u64)
    }

    fn take_half(&self) -> Result<u64> {
        let read = self.read.load(Relaxed);
        while self.written.load(Acquire) == read {
            wait(&self.written, read)?;
        }
        let half = self.halves[(read % ROOM) as usize].iter().filter(|byte| byte.load(Relaxed) == MARK);
        let bytes = half.count() as u64;
        self.read.store(read.wrapping_add(1), Release); // Gives the room back.
        wake(&self.read);
        Ok(bytes)
    }

    fn unread_bytes(&self) -> u64 {
        u64::from(self.written.load(Acquire).wrapping_sub(self.read.load(Acquire))) * HALF_BYTES as u64
    }

    fn initialise_mutex(&self) -> nix::Result<()> {
        let mut kind = MaybeUninit::uninit();
        // SAFETY: the attributes are initialised by the first call, and destroyed by the last; the mutex lies in memory
        // that is large enough, aligned, and used by nobody yet.
        unsafe {
            ok(libc::pthread_mutexattr_init(kind.as_mut_ptr()))?;
            ok(libc::pthread_mutexattr_setpshared(kind.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED))?;
            ok(libc::pthread_mutexattr_setrobust(kind.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST))?;
            ok(libc::pthread_mutex_init(self.mutex.get(), kind.as_ptr()))?;
            ok(libc::pthread_mutexattr_destroy(kind.as_mut_ptr()))
        }
    }
}

fn ok(code: c_int) -> nix::Result<()> {
    if code == 0 { Ok(()) } else { Err(Errno::from_raw(code)) }
}
