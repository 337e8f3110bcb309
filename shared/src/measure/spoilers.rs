//! What spoiled this run? Steal time, other work, involuntary switches, throttling, a debug build.

use nix::sys::resource::{UsageWho, getrusage};
use procfs::{CurrentSI, KernelStats};

use super::clock::Clock;

/// The counters at the start of a contest.
pub(super) struct Watch {
    start_ns: u64,
    own_cpu_ns: Option<u64>,
    before: Counters,
}

struct Counters {
    /// Ticks of all CPUs, from /proc/stat.
    ticks: Option<Ticks>,
    switched_out: Option<i64>,
    throttled: Option<u64>,
}

struct Ticks {
    busy: u64,
    stolen: u64,
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
}

impl Watch {
    pub(super) fn start(clock: &dyn Clock) -> Watch {
        Watch { start_ns: clock.now_ns(), own_cpu_ns: clock.cpu_ns(&[]), before: Counters::read() }
    }

    /// One sentence for each thing that disturbed the time since the start. On a shared CPU the two sides switch each
    /// other out, which spoils nothing.
    pub(super) fn findings(&self, clock: &dyn Clock, shares_a_cpu: bool) -> Vec<String> {
        let seconds = (clock.now_ns() - self.start_ns) as f64 / 1e9;
        let after = Counters::read();
        let mut found = Vec::new();
        if cfg!(debug_assertions) {
            found.push("a debug build: its times say little; build with --release".to_owned());
        }
        if let Some((before, after)) = self.before.ticks.as_ref().zip(after.ticks) {
            let seconds_of = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
            let stolen = seconds_of(after.stolen.saturating_sub(before.stolen)) / seconds;
            if stolen > STOLEN_SHARE {
                found.push(format!("the hypervisor took {:.1} % of a CPU away", stolen * 100.0));
            }
            let ours = clock.cpu_ns(&[]).zip(self.own_cpu_ns).map(|(after, before)| (after - before) as f64 / 1e9);
            let others = (seconds_of(after.busy.saturating_sub(before.busy)) - ours.unwrap_or(0.0)) / seconds;
            if others > OTHERS_SHARE && seconds > SHORTEST_JUDGED {
                found.push(format!("other programs used {:.0} % of a CPU", others * 100.0));
            }
        }
        let switches = after.switched_out.zip(self.before.switched_out).map_or(0, |(after, before)| after - before);
        if !shares_a_cpu && seconds > SHORTEST_JUDGED && switches as f64 / seconds > SWITCHES_PER_SECOND {
            found.push(format!("switched out {switches} times against its will"));
        }
        match after.throttled.zip(self.before.throttled) {
            Some((after, before)) if after > before => {
                found.push(format!("throttled {} times by the CPU quota", after - before));
            }
            _ => {}
        }
        found
    }
}

const STOLEN_SHARE: f64 = 0.01; // One part in a hundred is what a ratio's margin can bear.
const OTHERS_SHARE: f64 = 0.5; // Includes our own children that still live: below half a CPU says nothing.
const SWITCHES_PER_SECOND: f64 = 250.0; // A usual scheduler tick: somebody else wants the CPU every time.
const SHORTEST_JUDGED: f64 = 0.1; // /proc/stat counts in hundredths: less than ten of them are noise.

/// How often the CPU quota stopped this group; none where there is no such counter.
fn throttled() -> Option<u64> {
    ["/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat"].iter().find_map(|path| {
        let text = std::fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.trim().parse().ok())
    })
}
