//! What has the calling thread used so far: time, CPU time, and how often it went to sleep?

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use shared::measure::SystemClock;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub wall_ns: u64,
    pub cpu_ns: u64,
    /// Voluntary context switches: the kernel counts one each time the thread gives its CPU away to wait.
    pub sleeps: u64,
}

impl Usage {
    /// Since the thread began, but `wall_ns`, which counts from the clock's own beginning.
    pub fn so_far(clock: SystemClock) -> Result<Usage> {
        // getrusage(2) would tell the CPU time too, but as of the scheduler's last look: a spinner's is a tick old.
        let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("reading the thread's CPU time")?;
        let sleeps = getrusage(UsageWho::RUSAGE_THREAD).context("counting sleeps")?.voluntary_context_switches();
        Ok(Usage { wall_ns: clock.now_ns(), cpu_ns: cpu.num_nanoseconds() as u64, sleeps: sleeps as u64 })
    }

    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            wall_ns: self.wall_ns - earlier.wall_ns,
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            sleeps: self.sleeps - earlier.sleeps,
        }
    }

    pub fn and(self, other: Usage) -> Usage {
        Usage {
            wall_ns: self.wall_ns + other.wall_ns,
            cpu_ns: self.cpu_ns + other.cpu_ns,
            sleeps: self.sleeps + other.sleeps,
        }
    }

    /// Of one CPU, in per cent.
    pub fn share(self) -> f64 {
        self.cpu_ns as f64 / self.wall_ns.max(1) as f64 * 100.0
    }
}
