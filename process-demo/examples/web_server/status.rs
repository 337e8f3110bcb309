//! What does the server say about itself, under `/status` and in its log?

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::slice;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::Pid;

/// What one worker counts. Each number stands for itself, so none publishes anything else: all are relaxed.
#[repr(C, align(128))] // Two lines of a cache: no worker takes another's away.
pub struct Slot {
    pid: AtomicI32,
    restarts: AtomicU64,
    pub requests: AtomicU64,
    pub accepted: AtomicU64,
    /// Open now.
    pub connections: AtomicU64,
    pub refused: AtomicU64,
    pub timed_out: AtomicU64,
    /// At the stop, because they took too long.
    pub cut_off: AtomicU64,
    lines_lost: AtomicU64,
}

impl Slot {
    pub fn begin(&self, worker: Pid) {
        self.pid.store(worker.as_raw(), Relaxed);
    }

    /// Its connections have ended with it.
    pub fn died(&self) {
        self.pid.store(0, Relaxed);
        self.connections.store(0, Relaxed);
        self.restarts.fetch_add(1, Relaxed);
    }
}

/// One of a slot's numbers.
type Counter = fn(&Slot) -> &AtomicU64;

/// The counters of all workers, in memory that threads share and forked processes as well; and the log.
pub struct Status {
    model: String,
    since: Instant,
    pub slots: &'static [Slot],
    stderr: Option<File>,
}

impl Status {
    /// Made before the workers start, and mapped as long as the process lives.
    pub fn new(model: String, workers: NonZeroUsize) -> io::Result<Status> {
        let bytes = workers.saturating_mul(const { NonZeroUsize::new(size_of::<Slot>()).unwrap() });
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }?;
        // SAFETY: so many were mapped, page-aligned; all zeros are valid slots, of atomics; nobody unmaps them.
        let slots = unsafe { slice::from_raw_parts(start.cast::<Slot>().as_ptr(), workers.get()) };
        // Opened once more, O_NONBLOCK is ours alone; set on the old one, it would be everybody's who has it.
        let again = File::options().append(true).custom_flags(OFlag::O_NONBLOCK.bits()).open("/proc/self/fd/2");
        Ok(Status { model, since: Instant::now(), slots, stderr: again.ok() })
    }

    /// Over all workers.
    pub fn sum(&self, of: Counter) -> u64 {
        self.slots.iter().map(|slot| of(slot).load(Relaxed)).sum()
    }

    /// For people, and for programs that read `key: value`.
    pub fn text(&self) -> String {
        let mut text = format!("model: {}\nuptime_s: {}\n", self.model, self.since.elapsed().as_secs());
        let sums: [(&str, Counter); 7] = [
            ("requests", |slot| &slot.requests),
            ("connections", |slot| &slot.connections),
            ("accepted", |slot| &slot.accepted),
            ("refused", |slot| &slot.refused),
            ("timed_out", |slot| &slot.timed_out),
            ("restarts", |slot| &slot.restarts),
            ("log_lines_lost", |slot| &slot.lines_lost),
        ];
        for (name, of) in sums {
            let _ = writeln!(text, "{name}: {}", self.sum(of)); // A write to a string cannot fail.
        }
        for (number, slot) in self.slots.iter().enumerate() {
            let _ = writeln!(
                text,
                "worker {number}: pid {} requests {} connections {} accepted {} restarts {}",
                slot.pid.load(Relaxed),
                slot.requests.load(Relaxed),
                slot.connections.load(Relaxed),
                slot.accepted.load(Relaxed),
                slot.restarts.load(Relaxed),
            );
        }
        text
    }

    /// One line on standard error, dropped and counted if there is no room for it: a log that nobody reads stops nothing.
    /// It is one write of up to PIPE_BUF bytes, so the lines of several workers never mix.
    pub fn tell(&self, line: &str) {
        let line = format!("{line}\n");
        if !self.write(line.as_bytes()).is_ok_and(|bytes| bytes == line.len()) {
            self.slots[0].lines_lost.fetch_add(1, Relaxed);
        }
    }

    fn write(&self, line: &[u8]) -> io::Result<usize> {
        if let Some(mut own) = self.stderr.as_ref() {
            return own.write(line); // The kernel's buffer is the bounded one; a pipe takes the whole line or none of it.
        }
        let stderr = io::stderr();
        match send(stderr.as_raw_fd(), line, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Err(nix::errno::Errno::ENOTSOCK) => {}
            sent => return Ok(sent?), // A socket, as a system's log often is, cannot be opened once more.
        }
        // Another user's: a line goes where there is room for it now. Only here two who race for the last room may wait.
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, PollTimeout::ZERO)? == 0 { Ok(0) } else { stderr.lock().write(line) }
    }
}
