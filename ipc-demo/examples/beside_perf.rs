//! Do our pipe rows agree with `perf bench sched pipe`? Run it in release, on a quiet machine.
//!
//! One operation of perf's is one write and one read on either side, so a round trip like ours; its messages have 4
//! bytes, ours 64 that are filled and checked. Both sides are pinned alike, by the affinity that a child inherits.

use std::io::ErrorKind;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use ipc_demo::pipe_pair::{PipeEnd, pipe_pair};
use process_demo::duel::{BYTES, Between, Duel, Duels, Endpoint, Message};
use shared::Placement::{self, Free, SameCpu};
use shared::measure::{Pinning, SystemClock};
use shared::number::{three_digits, with_unit};
use shared::stats::{median, ratio};

const PAIRS: usize = 15; // Single pairs scatter by half their value; the median of so many does not.
const LOOPS: u64 = 30_000; // Some tenths of a second, beside which the start of a process vanishes.
const WARM_UP: u64 = 1_000;
const NO_PERF: u8 = 3;
const GOAL: f64 = 0.15;

fn main() -> Result<ExitCode> {
    if Command::new("perf").arg("--version").output().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        eprintln!("this compares with perf, which is not installed here (package linux-perf or linux-tools)");
        return Ok(ExitCode::from(NO_PERF));
    }
    for (name, placement) in [("same CPU", SameCpu), ("unpinned", Free)] {
        for between in [Between::Threads, Between::Processes] {
            compare(between, placement).with_context(|| format!("{between:?}, {name}")).map(|line| {
                println!("pipe between {:9} {name}: {line}", format!("{between:?},").to_lowercase());
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Ours and perf's in turn, the order reversed every time; the median of the pairs' ratios.
fn compare(between: Between, placement: Placement) -> Result<String> {
    let pinning = Pinning::of(placement).context("no such pinning here")?;
    let (mut ours_ns, mut theirs_ns) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        if pair % 2 == 0 {
            ours_ns.push(ours(between, pinning)?);
            theirs_ns.push(perf(between, pinning)?);
        } else {
            theirs_ns.push(perf(between, pinning)?);
            ours_ns.push(ours(between, pinning)?);
        }
    }
    let ratio = ratio(&ours_ns, &theirs_ns);
    let interval =
        ratio.low.zip(ratio.high).map(|(low, high)| format!("{} to {}", three_digits(low), three_digits(high)));
    Ok(format!(
        "{} of perf's time ({}), {}; ours {}, perf {}",
        three_digits(ratio.ratio),
        interval.context("too few pairs for an interval")?,
        if (ratio.ratio - 1.0).abs() <= GOAL { "within 15 %" } else { "NOT within 15 %" },
        with_unit("ns", median(&ours_ns).value),
        with_unit("ns", median(&theirs_ns).value),
    ))
}

/// Nanoseconds per round trip by the code of our rows.
fn ours(between: Between, pinning: Pinning) -> Result<f64> {
    // SAFETY: the endpoints are pipes.
    let duels = unsafe { Duels::new() };
    let (ours, theirs) = pipe_pair()?;
    let mut duel = Duel::start(&duels, between, pinning, (Pipes(ours), Pipes(theirs)))?;
    let _pinned = pinning.own.pin()?;
    duel.turn(WARM_UP)?;
    let from_ns = SystemClock.now_ns();
    let right = duel.turn(LOOPS)?;
    let elapsed_ns = SystemClock.now_ns() - from_ns;
    ensure!(right == LOOPS, "{right} of {LOOPS} messages came back as sent");
    Ok(elapsed_ns as f64 / LOOPS as f64)
}

struct Pipes(PipeEnd);

impl Endpoint for Pipes {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        ensure!(self.0.receive(&mut bytes)?, "the other end of the pipe is gone");
        Ok(Message::from_bytes(bytes))
    }
}

/// Nanoseconds per operation as perf prints it.
fn perf(between: Between, pinning: Pinning) -> Result<f64> {
    let _pinned = pinning.own.pin()?;
    let mut command = Command::new("perf");
    command.args(["bench", "sched", "pipe", "-l", &LOOPS.to_string()]);
    if let Between::Threads = between {
        command.arg("-T");
    }
    let output = command.output().context("starting perf")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.trim().strip_suffix("usecs/op"));
    let time_us: f64 = line.with_context(|| format!("perf printed no usecs/op: {text}"))?.trim().parse()?;
    Ok(time_us * 1e3)
}
