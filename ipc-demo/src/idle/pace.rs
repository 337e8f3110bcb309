//! How is a message sent when it is due, and not when the last one was done?

use anyhow::{Result, ensure};
use nix::errno::Errno;
use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use shared::measure::SystemClock;

use super::receiver::{Order, Receiver, Report};
use super::usage::Usage;
use crate::asleep::wait_until_asleep;

/// Wakes the sender up when a message is due.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    clock: SystemClock,
    /// So long before, its sleep ends, and it looks at the clock without rest: a timer is late by tens of microseconds.
    spin_ns: u64,
}

/// What is sent to one receiver in one go.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    pub per_second: u64,
    pub messages: u64,
    /// The first one is due so long after the receiver began to wait; then one follows each gap.
    pub lead_ns: u64,
    /// The first ones, shown apart, for they come after a longer wait than the others.
    pub apart: u64,
    pub look: Look,
}

/// Whether the receiver is to be seen asleep before each message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It takes longer than the gap, or the receiver never sleeps.
    No,
    BeforeEach,
}

/// What came of a series.
pub struct Done {
    pub report: Report,
    pub sender: Usage,
    /// Sent more than `LATE_NS` after they were due.
    pub late: u64,
    /// Times that the receiver was seen asleep before a message was sent.
    pub asleep: u64,
}

pub const LATE_NS: u64 = 1_000; // The pacer hits the moment within a tenth of this, unless it is kept from it.

const LOOK_AHEAD_NS: u64 = 1_000_000; // Reading /proc takes a few hundredths of this.

impl Series {
    pub fn gap_ns(&self) -> u64 {
        1_000_000_000 / self.per_second
    }
}

impl Pacer {
    /// For a sender with a CPU of its own.
    pub fn exact(clock: SystemClock) -> Result<Pacer> {
        Pacer::new(clock, 100_000)
    }

    /// For one whose receiver needs the same CPU: it never spins, and is as late as the timer.
    pub fn sleeping(clock: SystemClock) -> Result<Pacer> {
        Pacer::new(clock, 0)
    }

    fn new(clock: SystemClock, spin_ns: u64) -> Result<Pacer> {
        set_timerslack(1)?; // The kernel else lets this thread's timers be 50 us late, to let several end as one.
        Ok(Pacer { clock, spin_ns })
    }

    /// Sends a series, each message when it is due, or at once if that is over.
    pub fn run(self, receiver: &mut Receiver, series: Series) -> Result<Done> {
        let who = receiver.order(Order { messages: series.messages, apart: series.apart })?;
        let mut begin = Usage::so_far(self.clock)?;
        let first_ns = begin.wall_ns + series.lead_ns;
        let (mut late, mut asleep) = (0, 0);
        for index in 0..series.messages {
            let due_ns = first_ns + index * series.gap_ns();
            if series.look == Look::BeforeEach {
                self.sleep_until(due_ns.saturating_sub(LOOK_AHEAD_NS))?;
                ensure!(wait_until_asleep(who, self.clock)?, "the receiver has ended");
                asleep += 1;
            }
            self.wait_until(due_ns)?;
            late += u64::from(receiver.send(due_ns, self.clock)? > due_ns + LATE_NS);
            if index + 1 == series.apart {
                begin = Usage::so_far(self.clock)?;
            }
        }
        let sender = Usage::so_far(self.clock)?.since(begin);
        Ok(Done { report: receiver.report()?, sender, late, asleep })
    }

    fn wait_until(self, due_ns: u64) -> Result<()> {
        self.sleep_until(due_ns.saturating_sub(self.spin_ns))?;
        while self.clock.now_ns() < due_ns {
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// Sleeps until then by an absolute timer, which no interruption or delay before it makes later; not at all if that
    /// is over.
    pub fn sleep_until(self, until_ns: u64) -> Result<()> {
        let until = TimeSpec::from_duration(std::time::Duration::from_nanos(until_ns));
        while self.clock.now_ns() < until_ns {
            match clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &until) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
