//! Shared memory: bytes that both map, and a word to wait by: a bare futex, or a mutex that knows when its holder dies.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap, shm_open, shm_unlink};
use nix::sys::stat::Mode;

use super::{Ends, HALF_BYTES, MARK, MESSAGE_BYTES, Names, Receiver, Refusal, Sender, Undo, check};

/// What lies in the memory: how many halves were ever written and read, and the bytes of one message.
#[repr(C)]
struct Mailbox {
    written: AtomicU32,
    read: AtomicU32,
    bytes: [AtomicU8; MESSAGE_BYTES],
}

const ROOM: u32 = (MESSAGE_BYTES / HALF_BYTES) as u32; // Halves.

impl Mailbox {
    fn put(&self) -> Result<u64, Refusal> {
        let written = self.written.load(Relaxed);
        loop {
            let read = self.read.load(Acquire);
            if written.wrapping_sub(read) < ROOM {
                break;
            }
            wait(&self.read, read)?;
        }
        self.half(written).iter().for_each(|byte| byte.store(MARK, Relaxed));
        self.written.store(written.wrapping_add(1), Release); // Publishes the half to whoever reads the word.
        wake(&self.written);
        Ok(HALF_BYTES as u64)
    }

    fn take(&self) -> Result<u64, Refusal> {
        let read = self.read.load(Relaxed);
        while self.written.load(Acquire) == read {
            wait(&self.written, read)?;
        }
        let half: Vec<u8> = self.half(read).iter().map(|byte| byte.load(Relaxed)).collect();
        check(&half)?;
        self.read.store(read.wrapping_add(1), Release); // Gives the room back.
        wake(&self.read);
        Ok(HALF_BYTES as u64)
    }

    fn half(&self, number: u32) -> &[AtomicU8] {
        let from = (number % ROOM) as usize * HALF_BYTES;
        &self.bytes[from..from + HALF_BYTES]
    }
}

/// Sleeps as long as the word has that value. nix has no futex.
fn wait(word: &AtomicU32, value: u32) -> Result<(), Refusal> {
    let forever = std::ptr::null::<libc::timespec>();
    // SAFETY: the word lives as long as the call, and nothing else is pointed to.
    let slept = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, forever) };
    match Errno::result(slept) {
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()), // Woken, or changed before: the caller looks again.
        Err(error) => Err(error.into()),
    }
}

fn wake(word: &AtomicU32) {
    // SAFETY: as above; the call only looks the word's address up.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// Memory with a name, mapped.
struct Named {
    memory: NonNull<c_void>,
}

const NAMED_BYTES: NonZeroUsize = NonZeroUsize::new(size_of::<Mailbox>()).unwrap();

impl Named {
    fn map(fd: &OwnedFd) -> nix::Result<Named> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses a free address, so no memory in use is replaced.
        let memory = unsafe { mmap(None, NAMED_BYTES, access, MapFlags::MAP_SHARED, fd.as_fd(), 0) }?;
        Ok(Named { memory })
    }

    fn mailbox(&self) -> &Mailbox {
        // SAFETY: the mapping is as large as a mailbox, page-aligned and zeroed, and all zeros are a mailbox.
        unsafe { self.memory.cast().as_ref() }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap gave, unmapped once; references to it cannot outlive this.
        let _ = unsafe { munmap(self.memory, NAMED_BYTES.get()) };
    }
}

impl Sender for Rc<Named> {
    fn send(&mut self) -> Result<u64, Refusal> {
        self.mailbox().put()
    }
}

impl Receiver for Rc<Named> {
    fn receive(&mut self) -> Result<u64, Refusal> {
        self.mailbox().take()
    }
}

/// In a file of /dev/shm, as most programs have it.
pub fn futex(names: &Names) -> Result<Ends> {
    let name = format!("/{}", names.system);
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let fd = shm_open(name.as_str(), OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR, mode).context("shm_open")?;
    let unlinked = name.clone();
    let undo = Undo::by(move || {
        let _ = shm_unlink(unlinked.as_str());
    });
    // Reserved, not only sized: where /dev/shm is full, this says so, and not SIGBUS at the first touch.
    fallocate(&fd, FallocateFlags::empty(), 0, NAMED_BYTES.get() as i64).context("room in /dev/shm")?;
    let memory = Rc::new(Named::map(&fd).context("mapping shared memory")?);
    let newcomer = move || {
        let fd = shm_open(name.as_str(), OFlag::O_RDWR, Mode::empty());
        let Ok(memory) = fd.and_then(|fd| Named::map(&fd)) else { return 0 };
        let halves = memory.mailbox().written.load(Acquire).wrapping_sub(memory.mailbox().read.load(Acquire));
        u64::from(halves) * HALF_BYTES as u64
    };
    Ok(Ends { newcomer: Box::new(newcomer), undo, ..Ends::private(Rc::clone(&memory), memory) })
}

/// A robust mutex and the same mailbox behind it.
#[repr(C)]
struct Guarded {
    mutex: libc::pthread_mutex_t,
    mailbox: Mailbox,
}

/// Each side locks, works half a message, and would unlock after the other half.
struct Side {
    region: Rc<SharedRegion>,
    holds_it: Held,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    NotYet,
    SinceTheFirstHalf,
}

impl Side {
    fn lock(&mut self) -> Result<&Mailbox, Refusal> {
        let guarded = self.region.as_ptr().cast::<Guarded>();
        if self.holds_it == Held::NotYet {
            // SAFETY: the mutex was initialised before the fork, and its memory lives as long as the region.
            let code = unsafe { libc::pthread_mutex_lock(&raw mut (*guarded).mutex) };
            if code != 0 {
                return Err(Errno::from_raw(code).into());
            }
            self.holds_it = Held::SinceTheFirstHalf;
        }
        // SAFETY: the region holds a mailbox of atomics, and lives as long as the reference.
        Ok(unsafe { &(*guarded).mailbox })
    }

    fn unlock(&mut self) -> Result<(), Refusal> {
        let guarded = self.region.as_ptr().cast::<Guarded>();
        self.holds_it = Held::NotYet;
        // SAFETY: as above; this thread holds it.
        match unsafe { libc::pthread_mutex_unlock(&raw mut (*guarded).mutex) } {
            0 => Ok(()),
            code => Err(Errno::from_raw(code).into()),
        }
    }
}

impl Sender for Side {
    fn send(&mut self) -> Result<u64, Refusal> {
        let mailbox = self.lock()?;
        let taken = mailbox.put()?;
        if mailbox.written.load(Relaxed).is_multiple_of(ROOM) {
            self.unlock()?;
        }
        Ok(taken)
    }
}

impl Receiver for Side {
    fn receive(&mut self) -> Result<u64, Refusal> {
        let mailbox = self.lock()?;
        if mailbox.written.load(Relaxed) == mailbox.read.load(Relaxed) {
            return self.unlock().map(|()| 0);
        }
        let taken = mailbox.take()?;
        if mailbox.read.load(Relaxed).is_multiple_of(ROOM) {
            self.unlock()?;
        }
        Ok(taken)
    }
}

/// In memory without a name.
pub fn robust(_: &Names) -> Result<Ends> {
    let region = Rc::new(SharedRegion::new(size_of::<Guarded>())?);
    initialise(region.as_ptr().cast()).context("a robust mutex")?;
    let side = || Side { region: Rc::clone(&region), holds_it: Held::NotYet };
    let kept = Rc::clone(&region);
    let newcomer = move || {
        // SAFETY: as in `lock`; atomics may be read without the mutex.
        let mailbox = unsafe { &(*kept.as_ptr().cast::<Guarded>()).mailbox };
        u64::from(mailbox.written.load(Acquire).wrapping_sub(mailbox.read.load(Acquire))) * HALF_BYTES as u64
    };
    Ok(Ends { newcomer: Box::new(newcomer), ..Ends::private(side(), side()) })
}

/// nix has no robust mutexes.
fn initialise(guarded: *mut Guarded) -> nix::Result<()> {
    let checked = |code: i32| if code == 0 { Ok(()) } else { Err(Errno::from_raw(code)) };
    let mut attributes = std::mem::MaybeUninit::uninit();
    // SAFETY: the attributes are initialised by the first call, and destroyed by the last; the mutex lies in memory
    // that is large enough, aligned to a page and used by nobody yet.
    unsafe {
        checked(libc::pthread_mutexattr_init(attributes.as_mut_ptr()))?;
        checked(libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED))?;
        checked(libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST))?;
        checked(libc::pthread_mutex_init(&raw mut (*guarded).mutex, attributes.as_ptr()))?;
        checked(libc::pthread_mutexattr_destroy(attributes.as_mut_ptr()))
    }
}
