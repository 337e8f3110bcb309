//! How long does a start keep its maker, and when does what was started run?

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::ForkResult;
use process_demo::page::Page;
use shared::measure::SystemClock;
use shared::{Cell, Column, ProgramRole, Stage, Table, refused, stats};

/// This program, whose `main` does nothing but tell when it began.
pub const TELLS_WHEN: ProgramRole = ProgramRole { name: "tells-when", play: |_| tell_when() };

/// One start: when the call came back to its maker, and when the first line of what was started ran; both in
/// nanoseconds after the call began.
struct Start {
    back_ns: f64,
    runs_ns: f64,
}

type Starts = fn() -> Result<Start>;

struct Kind {
    label: &'static str,
    start: Starts,
    /// Or why there can be none.
    seen: Result<Vec<Start>, String>,
}

const IN_A_ROUND: u32 = 10; // In quick this makes a hundred of each: of fewer, a 99th percentile would be the slowest.

pub fn show(stage: &mut Stage) -> Result<()> {
    let rounds = stage.by_effort(10, 50, 500);
    let kinds: [(&'static str, Starts); 3] =
        [("std thread", a_thread), ("fork", a_fork), ("std Command, this program", a_program)];
    let mut kinds = kinds.map(|(label, start)| Kind { label, start, seen: Ok(Vec::new()) });
    for _ in 0..rounds {
        // In turn: a drift in time hits all of them alike.
        for kind in &mut kinds {
            let Ok(starts) = &mut kind.seen else { continue };
            match (0..IN_A_ROUND).map(|_| (kind.start)()).collect::<Result<Vec<Start>>>() {
                Ok(round) => starts.extend(round),
                Err(error) => kind.seen = Err(refused(&error).ok_or(error)?),
            }
        }
    }
    stage.table(Table {
        title: format!(
            "Until the call is back, and until the first line of the new one runs ({} each)",
            rounds * IN_A_ROUND
        ),
        columns: vec![
            Column::label("started by"),
            Column::value("call is back", "ns"),
            Column::value("p99", "ns"),
            Column::value("first line", "ns"),
            Column::value("p99", "ns"),
        ],
        rows: kinds.iter().map(Kind::row).collect(),
    });
    stage.note(
        "The parent goes on as soon as the call is back. A thread and a forked child run at the line that follows; a \
         program is loaded and linked first, and its first line is that of main.",
    );
    Ok(())
}

impl Kind {
    fn row(&self) -> Vec<Cell> {
        let cells = match &self.seen {
            Ok(starts) => {
                let back: Vec<f64> = starts.iter().map(|start| start.back_ns).collect();
                let runs: Vec<f64> = starts.iter().map(|start| start.runs_ns).collect();
                let both = |samples: &[f64]| [stats::median(samples).value, stats::p99(samples)].map(Cell::Number);
                [both(&back), both(&runs)].concat()
            }
            Err(why) => vec![Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing, Cell::Nothing],
        };
        [Cell::Text(self.label.to_owned())].into_iter().chain(cells).collect()
    }
}

fn a_thread() -> Result<Start> {
    let word = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&word);
    let from_ns = SystemClock.now_ns();
    let worker = thread::Builder::new().spawn(move || theirs.store(SystemClock.now_ns(), Release))?;
    let back_ns = SystemClock.now_ns();
    worker.join().unwrap();
    start(from_ns, back_ns, word.load(Acquire))
}

fn a_fork() -> Result<Start> {
    let page = Page::shared_by_fork()?;
    let from_ns = SystemClock.now_ns();
    // SAFETY: the child reads the clock, stores to an atomic and exits: all are async-signal-safe.
    let child = match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => {
            page.word().store(SystemClock.now_ns(), Release);
            // SAFETY: it ends the child without running anything of it.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => child,
    };
    let back_ns = SystemClock.now_ns();
    ensure!(waitpid(child, None)? == WaitStatus::Exited(child, 0), "the child ended otherwise");
    start(from_ns, back_ns, page.word().load(Acquire))
}

fn a_program() -> Result<Start> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--role", TELLS_WHEN.name]).stdin(Stdio::null()).stdout(Stdio::piped());
    let from_ns = SystemClock.now_ns();
    let mut child = command.spawn()?;
    let back_ns = SystemClock.now_ns();
    let mut said = [0; 8];
    let told = child.stdout.take().context("its output was asked for")?.read_exact(&mut said);
    ensure!(child.wait()?.success(), "the program failed");
    told.context("the program's answer")?;
    start(from_ns, back_ns, u64::from_ne_bytes(said))
}

fn tell_when() -> u8 {
    let now_ns = SystemClock.now_ns();
    u8::from(std::io::stdout().write_all(&now_ns.to_ne_bytes()).is_err())
}

fn start(from_ns: u64, back_ns: u64, runs_ns: u64) -> Result<Start> {
    ensure!(runs_ns >= from_ns, "it did not tell when it ran");
    Ok(Start { back_ns: (back_ns - from_ns) as f64, runs_ns: (runs_ns - from_ns) as f64 })
}
