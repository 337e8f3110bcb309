//! Which CPU does each side run on? The same, different ones, or whichever the kernel chooses.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::report::Placement;

/// The CPUs that this process may use, lowest first.
pub fn usable_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(THIS_THREAD) else { return vec![0] };
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect()
}

/// Where the measuring side and its peer run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinning {
    pub own: PinTo,
    pub peer: PinTo,
}

/// One side's place: a CPU, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinTo {
    Anywhere,
    Cpu(usize),
}

impl Pinning {
    /// None if the placement needs a second CPU and there is none.
    pub fn of(placement: Placement) -> Option<Pinning> {
        let cpus = usable_cpus();
        let own = *cpus.last()?; // The last: the first one serves most interrupts.
        match placement {
            Placement::Free => Some(Pinning { own: PinTo::Anywhere, peer: PinTo::Anywhere }),
            Placement::SameCpu => Some(Pinning { own: PinTo::Cpu(own), peer: PinTo::Cpu(own) }),
            Placement::OtherCpu => {
                let others: Vec<usize> = cpus.iter().copied().filter(|&cpu| cpu != own).collect();
                // Two hardware threads of one core share its caches: prefer a core of the peer's own.
                let siblings = siblings(own);
                let peer = others.iter().rev().find(|cpu| !siblings.contains(cpu)).or(others.last())?;
                Some(Pinning { own: PinTo::Cpu(own), peer: PinTo::Cpu(*peer) })
            }
        }
    }
}

impl Pinning {
    /// The measuring side's CPU, then its peer's; none where the kernel chooses.
    pub(super) fn cpus(self) -> Vec<usize> {
        [self.own, self.peer]
            .iter()
            .filter_map(|pin_to| if let PinTo::Cpu(cpu) = pin_to { Some(*cpu) } else { None })
            .collect()
    }

    /// Two hardware threads of one core share its units and caches: they are hardly two CPUs.
    pub(super) fn shares_a_core(self) -> bool {
        matches!((self.own, self.peer), (PinTo::Cpu(own), PinTo::Cpu(peer)) if own != peer && siblings(own).contains(&peer))
    }
}

impl PinTo {
    /// Pins the calling thread here until the guard is dropped.
    pub fn pin(self) -> Result<Pinned> {
        let PinTo::Cpu(cpu) = self else { return Ok(Pinned { before: None }) };
        let before = sched_getaffinity(THIS_THREAD).context("reading the CPU affinity")?;
        let mut only = CpuSet::new();
        only.set(cpu).context("naming the CPU")?;
        match sched_setaffinity(THIS_THREAD, &only) {
            // It was there a moment ago: unplugged since, or taken out of this program's set.
            Err(Errno::EINVAL) => {
                Err(Errno::EOPNOTSUPP).with_context(|| format!("CPU {cpu} is not to be had any more"))
            }
            pinned => pinned.with_context(|| format!("pinning to CPU {cpu}")),
        }?;
        Ok(Pinned { before: Some(before) })
    }
}

/// Gives the calling thread its old CPUs back on drop.
#[must_use]
pub struct Pinned {
    before: Option<CpuSet>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = sched_setaffinity(THIS_THREAD, before); // It was allowed a moment ago; a drop cannot report.
        }
    }
}

const THIS_THREAD: Pid = Pid::from_raw(0); // What the affinity calls take zero for.

fn siblings(cpu: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let list = std::fs::read_to_string(path).unwrap_or_default();
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse().ok()?..=to.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}
