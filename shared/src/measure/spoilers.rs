//! What spoiled this run? Steal time, other work, involuntary switches, throttling, a debug build.

use std::collections::BTreeSet;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use procfs::{CurrentSI, KernelStats};

use super::clock::Clock;
use super::placement::usable_cpus;
use crate::machine::own_groups;

/// The counters at the start of a contest's first round.
pub(super) struct Watch {
    start_ns: u64,
    /// Of the rivals: their work is no disturbance.
    children: Vec<Pid>,
    /// CPU time of this process, its ended children and these.
    own_cpu_ns: Option<u64>,
    before: Counters,
}

pub(super) struct Counters {
    /// Ticks of all CPUs, from /proc/stat.
    pub(super) ticks: Option<Ticks>,
    pub(super) switched_out: Option<i64>,
    pub(super) throttled: Option<u64>,
}

pub(super) struct Ticks {
    pub(super) busy: u64,
    pub(super) stolen: u64,
}

impl Watch {
    pub(super) fn start(clock: &dyn Clock, children: Vec<Pid>) -> Watch {
        let own_cpu_ns = clock.cpu_ns(&children);
        Watch { start_ns: clock.now_ns(), children, own_cpu_ns, before: Counters::read() }
    }

    /// One sentence for each thing that disturbed the time since the start. On a shared CPU the two sides switch each
    /// other out, which spoils nothing.
    pub(super) fn findings(&self, clock: &dyn Clock, shares_a_cpu: bool) -> Vec<String> {
        let after = Counters::read();
        let ours_ns = clock.cpu_ns(&self.children).zip(self.own_cpu_ns);
        let ours = ours_ns.and_then(|(after, before)| Some(after.checked_sub(before)? as f64 / 1e9));
        let seconds = (clock.now_ns() - self.start_ns) as f64 / 1e9;
        let mut found = Vec::new();
        if cfg!(debug_assertions) {
            found.push("a debug build: its times say little; build with --release".to_owned());
        }
        let sole_cpu = usable_cpus().len() < 2;
        found.extend(self.before.disturbances(&after, ours, seconds, shares_a_cpu || sole_cpu));
        found
    }
}

impl Counters {
    fn read() -> Counters {
        let ticks = KernelStats::current().ok().map(|stat| {
            let all = stat.total;
            let soft = all.softirq.unwrap_or(0) + all.irq.unwrap_or(0);
            Ticks { busy: all.user + all.nice + all.system + soft, stolen: all.steal.unwrap_or(0) }
        });
        let switched_out = getrusage(UsageWho::RUSAGE_SELF).ok().map(|usage| usage.involuntary_context_switches());
        Counters { ticks, switched_out, throttled: throttled() }
    }

    /// From these to the later ones, in so many seconds, of which this process and its children computed `ours`.
    pub(super) fn disturbances(
        &self,
        after: &Counters,
        ours: Option<f64>,
        seconds: f64,
        shares_a_cpu: bool,
    ) -> Vec<String> {
        let mut found = Vec::new();
        if seconds > SHORTEST_JUDGED {
            found.extend(self.stolen(after, seconds));
            found.extend(ours.and_then(|ours| self.others(after, ours, seconds)));
            found.extend(self.switches(after, seconds).filter(|_| !shares_a_cpu));
        }
        found.extend(self.throttles(after));
        found
    }

    fn stolen(&self, after: &Counters, seconds: f64) -> Option<String> {
        let (before, after) = (self.ticks.as_ref()?, after.ticks.as_ref()?);
        let share = seconds_of(after.stolen.saturating_sub(before.stolen)) / seconds;
        (share > STOLEN_SHARE).then(|| format!("the hypervisor took {:.1} % of a CPU away", share * 100.0))
    }

    fn others(&self, after: &Counters, ours: f64, seconds: f64) -> Option<String> {
        let (before, after) = (self.ticks.as_ref()?, after.ticks.as_ref()?);
        let theirs = seconds_of(after.busy.saturating_sub(before.busy)) - ours;
        let share = theirs / seconds;
        (share > OTHERS_SHARE && theirs > TICKS_MISS)
            .then(|| format!("other programs used {:.0} % of a CPU", share * 100.0))
    }

    fn switches(&self, after: &Counters, seconds: f64) -> Option<String> {
        let switches = after.switched_out? - self.switched_out?;
        let often = switches as f64 / seconds > SWITCHES_PER_SECOND;
        often.then(|| format!("switched out {switches} times against its will"))
    }

    fn throttles(&self, after: &Counters) -> Option<String> {
        let throttles = after.throttled?.checked_sub(self.throttled?).filter(|&throttles| throttles > 0)?;
        Some(format!("throttled {throttles} times by the CPU quota"))
    }
}

fn seconds_of(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

const STOLEN_SHARE: f64 = 0.01; // One part in a hundred is what a ratio's margin can bear.
const OTHERS_SHARE: f64 = 0.2; // Of one CPU: what the system itself needs stays well below.
const TICKS_MISS: f64 = 0.05; // Seconds: /proc/stat samples who runs at each tick, so it may miss our own by a few.
const SWITCHES_PER_SECOND: f64 = 250.0; // A usual scheduler tick: somebody else wants the CPU every time.
const SHORTEST_JUDGED: f64 = 0.1; // /proc/stat counts in hundredths: fewer than ten of them are noise.

/// How often a CPU quota stopped this process's group or one above it; none where there is no such counter.
fn throttled() -> Option<u64> {
    // One directory may be found by several names.
    let groups: BTreeSet<_> = own_groups().iter().filter_map(|group| group.canonicalize().ok()).collect();
    let counts = groups.iter().filter_map(|group| {
        let text = std::fs::read_to_string(group.join("cpu.stat")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.trim().parse::<u64>().ok())
    });
    counts.reduce(|sum, count| sum + count)
}
