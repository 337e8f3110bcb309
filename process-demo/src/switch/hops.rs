//! How long does a byte take there and back, between whom and where?

use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use process_demo::child::{Child, fork};
use shared::measure::{Contest, Measured, Pinning, Ready, Rival, Timing};
use shared::number::chosen_with_unit;
use shared::{Placement, Stage};

use super::party::Party;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Control,
    Threads,
    Processes,
}

/// A row's name.
pub fn label(who: Who, set_bytes: usize) -> String {
    let who = match who {
        Who::Control => "baseline",
        Who::Threads => "threads",
        Who::Processes => "processes",
    };
    if set_bytes == 0 { who.to_owned() } else { format!("{who}, {} each", chosen_with_unit("bytes", set_bytes as f64)) }
}

pub fn compare(stage: &mut Stage, sets: &[usize]) -> Result<Measured> {
    let title = "One byte there and back, two hops";
    let mut contest = Contest::new(title, "who is on the other side, and the working set of each", Timing::Batches);
    for &set_bytes in sets {
        contest.add(control(set_bytes));
        for placement in [Placement::SameCpu, Placement::OtherCpu] {
            contest.add(threads(set_bytes, placement));
            contest.add(processes(set_bytes, placement));
        }
    }
    let measured = stage.compare(contest)?;
    for &set_bytes in sets {
        let (processes, threads) = (label(Who::Processes, set_bytes), label(Who::Threads, set_bytes));
        if let Some(ratio) = measured.ratio(&processes, &threads, Placement::SameCpu) {
            stage.trend(format!("{processes} against {threads}, same CPU"), &ratio);
        }
    }
    Ok(measured)
}

fn control<'a>(set_bytes: usize) -> Rival<'a> {
    Rival::of_threads(label(Who::Control, set_bytes), Placement::SameCpu, move |_| {
        let (mut one, mut other) = (Party::alone(set_bytes)?, Party::alone(set_bytes)?);
        Ok(Ready::new(move |times| one.ask_itself(&mut other, times)))
    })
}

fn threads<'a>(set_bytes: usize, placement: Placement) -> Rival<'a> {
    Rival::of_threads(label(Who::Threads, set_bytes), placement, move |pinning| {
        let mut pair = Pair::with_thread(set_bytes, pinning)?;
        Ok(Ready::new(move |times| pair.ask(times)))
    })
}

fn processes<'a>(set_bytes: usize, placement: Placement) -> Rival<'a> {
    Rival::of_processes(label(Who::Processes, set_bytes), placement, move |pinning| {
        let (mut asker, child) = with_process(set_bytes, pinning)?;
        let pid = child.pid();
        Ok(Ready::with_children(
            move |times| {
                let _alive = &child; // It ends with the row.
                asker.ask(times)
            },
            vec![pid],
        ))
    })
}

/// This thread and another one, which ends when this is dropped.
struct Pair {
    asker: Option<Party>,
    peer: Option<JoinHandle<()>>,
}

impl Pair {
    fn with_thread(set_bytes: usize, pinning: Pinning) -> Result<Pair> {
        let (asker, peer) = Party::two(set_bytes)?;
        let answer = move || {
            let _pinned = pinning.peer.pin();
            let _ = peer.answer(); // An error shows at the asker: its next read finds the end.
        };
        let peer = Builder::new().spawn(answer).context("starting a thread")?;
        Ok(Pair { asker: Some(asker), peer: Some(peer) })
    }

    fn ask(&mut self, times: u64) -> Result<u64> {
        self.asker.as_mut().context("the pair is still there")?.ask(times)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.asker = None; // Its ends close: that ends the peer's loop.
        if let Some(peer) = self.peer.take() {
            let _ = peer.join();
        }
    }
}

fn with_process(set_bytes: usize, pinning: Pinning) -> Result<(Party, Child)> {
    let (asker, peer) = Party::two(set_bytes)?;
    let answer = move || {
        let _pinned = pinning.peer.pin();
        u8::from(peer.answer().is_err())
    };
    // SAFETY: the child uses its pipes and its copy of the working set; nothing here is in shared memory.
    Ok((asker, unsafe { fork(answer) }.context("starting a process")?))
}

/// On one CPU each round trip must bring a switch on this side, and the control must have none: counted.
pub fn prove(stage: &mut Stage) -> Result<()> {
    let times = stage.by_effort(200, 2000, 20_000);
    let Some(pinning) = Pinning::of(Placement::SameCpu) else { return Ok(()) };
    let _pinned = pinning.own.pin()?;
    let (mut asker, _child) = with_process(0, pinning)?;
    let processes = switches_of(times, |times| asker.ask(times))?;
    let mut pair = Pair::with_thread(0, pinning)?;
    let threads = switches_of(times, |times| pair.ask(times))?;
    drop(pair);
    let (mut one, mut other) = (Party::alone(0)?, Party::alone(0)?);
    let control = switches_of(times, |times| one.ask_itself(&mut other, times))?;
    stage.fact(
        format!("On one CPU, each of {times} round trips brings a switch, between threads and between processes"),
        processes.all >= times && threads.all >= times,
        format!("{} and {} switches of one side", threads.all, processes.all),
    );
    stage.check(
        "The baseline gives up the CPU by itself in one of a hundred rounds at most",
        control.voluntary * 100 <= times, // Not zero: the kernel may wait for memory of its own.
        format!("{} times in {times} rounds", control.voluntary),
    );
    Ok(())
}

struct Switches {
    voluntary: u64,
    all: u64,
}

/// How often this thread was switched out while it did so many rounds.
fn switches_of(times: u64, mut rounds: impl FnMut(u64) -> Result<u64>) -> Result<Switches> {
    let before = getrusage(UsageWho::RUSAGE_THREAD)?;
    anyhow::ensure!(rounds(times)? == times, "every byte comes back as the next number");
    let after = getrusage(UsageWho::RUSAGE_THREAD)?;
    let voluntary = voluntary(&after) - voluntary(&before);
    Ok(Switches { voluntary, all: voluntary + involuntary(&after) - involuntary(&before) })
}

fn voluntary(usage: &Usage) -> u64 {
    usage.voluntary_context_switches() as u64
}

fn involuntary(usage: &Usage) -> u64 {
    usage.involuntary_context_switches() as u64
}
