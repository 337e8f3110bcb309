//! Round after round, pace after pace: each way gets its series in turn, so that what disturbs one disturbs all.

use anyhow::{Context, Result};
use nix::unistd::Pid;
use shared::measure::{PinTo, Pinning, SystemClock};
use shared::{Effort, refused, stats};

use super::pace::{Done, Look, Pacer, Series};
use super::receiver::{Order, Receiver};
use super::usage::Usage;
use super::ways::{WAYS, Way};
use crate::asleep::wait_until_asleep;

/// How much is sent.
pub struct Plan {
    pub rounds: u64,
    /// Messages per second, and how many make a series; slowest first.
    pub paces: &'static [(u64, u64)],
    /// So long nobody sends anything. No multiple of the 100 ms after which a sleeping ring looks for its peer: the end
    /// is not to meet a receiver that is awake by chance.
    pub silence_ns: u64,
}

/// All receivers, each asleep until it is its turn; or why there is none.
pub struct Receivers {
    pinning: Pinning,
    all: Vec<(Way, Result<Receiver, String>)>,
}

/// One way at one pace.
pub struct Row {
    pub way: Way,
    pub per_second: u64,
    pub figures: Result<Figures, String>,
}

/// What all series of a row gave, but for the messages that are shown apart.
#[derive(Default)]
pub struct Figures {
    pub from_sent_ns: Vec<f64>,
    pub from_due_ns: Vec<f64>,
    /// From sending too, of the first messages, where they come after a longer wait than the others.
    pub first_ns: Vec<f64>,
    /// The median of each round's series.
    pub rounds_ns: Vec<f64>,
    pub receiver: Usage,
    pub sender: Usage,
    /// Counts of all messages, the first ones too.
    pub sent: u64,
    pub right: u64,
    pub impossible: u64,
    pub late: u64,
    /// Messages before which the receiver was seen asleep.
    pub asleep: u64,
    pub series: u64,
    pub seated: u64,
}

/// What one receiver did while nobody sent anything.
pub struct Silence {
    pub way: Way,
    pub usage: Usage,
}

const PAUSE_NS: u64 = 2_000_000; // Before a series: longer than an idle CPU takes to find its deepest sleep.

impl Plan {
    pub fn of(effort: Effort) -> Plan {
        const MS: u64 = 1_000_000;
        match effort {
            Effort::Quick => Plan { rounds: 2, paces: &[(100, 2), (10_000, 60), (100_000, 300)], silence_ns: 330 * MS },
            Effort::Normal => Plan {
                rounds: 12, // The fewest at which one disturbed round leaves a ratio's interval as it is.
                paces: &[(10, 1), (100, 2), (1_000, 10), (10_000, 100), (100_000, 600)],
                silence_ns: 1_050 * MS,
            },
            Effort::Thorough => Plan {
                rounds: 20,
                paces: &[(10, 2), (100, 10), (1_000, 50), (10_000, 500), (100_000, 3_000)],
                silence_ns: 3_050 * MS,
            },
        }
    }

    pub fn slowest(&self) -> u64 {
        self.paces.first().map_or(0, |pace| pace.0)
    }

    pub fn fastest(&self) -> u64 {
        self.paces.last().map_or(0, |pace| pace.0)
    }
}

impl Receivers {
    /// Processes before threads, for a process with threads does not fork.
    pub fn start(pinning: Pinning, clock: SystemClock) -> Result<Receivers> {
        let start = |way: Way| match Receiver::start(way, pinning.peer, clock) {
            Ok(receiver) => Ok((way, Ok(receiver))),
            Err(error) => match refused(&error) {
                Some(why) => Ok((way, Err(why))),
                None => Err(error),
            },
        };
        let all = WAYS.into_iter().map(start).collect::<Result<_>>()?;
        Ok(Receivers { pinning, all })
    }

    /// Sends all series of the plan, after one to each that is not counted.
    pub fn measure(&mut self, plan: &Plan, pacer: Pacer) -> Result<Vec<Row>> {
        let mut rows = self.rows(plan);
        for (way, receiver) in &mut self.all {
            if let Ok(receiver) = receiver {
                pacer.run(receiver, series(*way, plan.fastest(), WARM_UP)).context(way.name())?;
            }
        }
        for round in 0..plan.rounds {
            for &pace in plan.paces {
                // A B, then B A: a drift in time hits all alike.
                let all = 0..self.all.len();
                let order: Vec<usize> = if round % 2 == 0 { all.collect() } else { all.rev().collect() };
                for turn in order {
                    self.take_turn(turn, pace, &mut rows, pacer)?;
                }
            }
        }
        Ok(rows)
    }

    fn take_turn(
        &mut self,
        turn: usize,
        (per_second, messages): (u64, u64),
        rows: &mut [Row],
        pacer: Pacer,
    ) -> Result<()> {
        let (way, receiver) = &mut self.all[turn];
        let row = rows.iter_mut().find(|row| row.way == *way && row.per_second == per_second);
        if let (Ok(receiver), Some(Row { figures: Ok(figures), .. })) = (receiver, row) {
            let series = series(*way, per_second, messages);
            let done = pacer.run(receiver, series).with_context(|| way.name())?;
            figures.add(series, done, self.pinning);
        }
        Ok(())
    }

    /// Sends nobody anything for so long; then one message to each, so that it can report.
    pub fn keep_silent(&mut self, plan: &Plan, pacer: Pacer, clock: SystemClock) -> Result<Vec<Silence>> {
        let mut waiting = Vec::new();
        for (way, receiver) in &mut self.all {
            if let (Ok(receiver), true) = (receiver, way.sleeps()) {
                let who: Pid = receiver.order(Order { messages: 1, apart: 0 })?;
                wait_until_asleep(who, clock).context(way.name())?;
                waiting.push((*way, receiver));
            }
        }
        pacer.sleep_until(clock.now_ns() + plan.silence_ns)?;
        let mut silences = Vec::new();
        for (way, receiver) in waiting {
            receiver.send(clock.now_ns(), clock)?;
            silences.push(Silence { way, usage: receiver.report()?.usage });
        }
        Ok(silences)
    }

    /// Tells all to end; returns how many did so well, and of how many.
    pub fn end(self) -> Result<(usize, usize)> {
        let receivers: Vec<Receiver> = self.all.into_iter().filter_map(|(_, receiver)| receiver.ok()).collect();
        let all = receivers.len();
        let ended = receivers.into_iter().map(Receiver::end).collect::<Result<Vec<bool>>>()?;
        Ok((ended.into_iter().filter(|&well| well).count(), all))
    }

    /// Empty ones, by pace, for those that are there.
    fn rows(&self, plan: &Plan) -> Vec<Row> {
        let row = |per_second, (way, receiver): &(Way, Result<Receiver, String>)| {
            let figures = receiver.as_ref().map(|_| Figures::default()).map_err(String::clone);
            Row { way: *way, per_second, figures }
        };
        plan.paces.iter().flat_map(|pace| self.all.iter().map(|one| row(pace.0, one))).collect()
    }
}

const WARM_UP: u64 = 300; // Once round the ring of 256: every page is there, and every way has run.

fn series(way: Way, per_second: u64, messages: u64) -> Series {
    let gap_ns = 1_000_000_000 / per_second;
    // The pause before a series stands for a gap where that is longer. Somewhat shorter, so that at 10 per second it
    // does not end with the 100 ms of a sleeping ring.
    let (lead_ns, apart) = if gap_ns > PAUSE_NS { (gap_ns / 10 * 9, 0) } else { (PAUSE_NS, 1) };
    let look = if way.sleeps() && gap_ns > PAUSE_NS { Look::BeforeEach } else { Look::No };
    Series { per_second, messages, lead_ns, apart, look }
}

impl Figures {
    fn add(&mut self, series: Series, done: Done, pinning: Pinning) {
        let Done { report, sender, late, asleep } = done;
        let apart = series.apart as usize;
        let usual_ns = &report.from_sent_ns[apart..];
        self.rounds_ns.push(stats::median(usual_ns).value);
        self.from_sent_ns.extend(usual_ns);
        self.from_due_ns.extend(&report.from_due_ns[apart..]);
        self.first_ns.extend(&report.from_sent_ns[..apart]);
        self.receiver = self.receiver.and(report.usage);
        self.sender = self.sender.and(sender);
        self.sent += series.messages;
        self.right += report.right;
        self.impossible += report.impossible;
        self.late += late;
        self.asleep += asleep;
        self.series += 1;
        self.seated += u64::from(pinning.peer == PinTo::Cpu(report.cpu as usize));
    }

    pub fn median_ns(&self) -> f64 {
        stats::median(&self.from_sent_ns).value
    }
}

/// The figures of a way at a pace, if it could be had.
pub fn figures(rows: &[Row], way: Way, per_second: u64) -> Option<&Figures> {
    rows.iter().find(|row| row.way == way && row.per_second == per_second)?.figures.as_ref().ok()
}
