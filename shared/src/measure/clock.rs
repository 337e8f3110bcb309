//! What time is it, and how much CPU time has been used? The project's only clock.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Time as the engine sees it; a fake one tests it without waiting.
pub trait Clock {
    /// Nanoseconds since some fixed moment; never goes back.
    fn now_ns(&self) -> u64;

    /// CPU time that this process, its ended children and these living ones have used together; none if unreadable.
    fn cpu_ns(&self, children: &[Pid]) -> Option<u64>;
}

/// CLOCK_MONOTONIC: one scale for all threads and processes of the machine, never set back.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl SystemClock {
    /// The same as `Clock::now_ns`, for those who have no need of the trait.
    pub fn now_ns(self) -> u64 {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has a monotonic clock");
        now.num_nanoseconds() as u64
    }
}

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        SystemClock::now_ns(*self)
    }

    fn cpu_ns(&self, children: &[Pid]) -> Option<u64> {
        let own = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok()?;
        let reaped = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
        let reaped_us = reaped.user_time().num_microseconds() + reaped.system_time().num_microseconds();
        let mut total_ns = own.num_nanoseconds() + reaped_us * 1000;
        for &child in children {
            let clock = ClockId::pid_cpu_clock_id(child).ok()?;
            total_ns += clock_gettime(clock).ok()?.num_nanoseconds();
        }
        Some(total_ns as u64)
    }
}

/// What reading the clock costs, and the smallest step that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    pub cost_ns: u64,
    pub resolution_ns: u64,
}

impl Calibration {
    pub fn of(clock: &dyn Clock) -> Calibration {
        const READS: u64 = 1000;
        // The least of a few batches: whatever interrupts one only adds.
        let batch = || {
            let from_ns = clock.now_ns();
            (1..READS).for_each(|_| _ = std::hint::black_box(clock.now_ns()));
            (clock.now_ns() - from_ns) / READS
        };
        let cost_ns = (0..5).map(|_| batch()).min().unwrap_or(0);
        Calibration { cost_ns, resolution_ns: smallest_step(clock, READS) }
    }
}

/// The smallest step among so many reads, or among as many more as a coarse clock needs to show one; zero if it never
/// does.
fn smallest_step(clock: &dyn Clock, reads: u64) -> u64 {
    const PATIENCE: u64 = 1000; // A tick of 10 ms, read within 10 ns, shows itself in a million reads.
    let mut last_ns = clock.now_ns();
    let mut smallest = None;
    for read in 0..reads * PATIENCE {
        if read >= reads && smallest.is_some() {
            break;
        }
        let now_ns = clock.now_ns();
        let step_ns = now_ns - last_ns;
        if step_ns > 0 {
            smallest = Some(smallest.map_or(step_ns, |smallest: u64| smallest.min(step_ns)));
        }
        last_ns = now_ns;
    }
    smallest.unwrap_or(0)
}
