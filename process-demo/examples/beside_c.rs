//! Do a thread's and a process's start cost in Rust what they cost in C?
//!
//! Compiles `beside_c.c`, runs it and this program's own loops in turn, pinned to one CPU and each in a fresh process,
//! and prints the medians of the ratios. std gives each thread a second stack, on which an overflow of the first can be
//! reported: `process-demo start-cost` counts the calls. `cargo run --release -p process-demo --example beside_c`

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, io};

use anyhow::{Context, Result, ensure};
use process_demo::start;
use shared::Placement;
use shared::measure::{Pinning, SystemClock};
use shared::number::{three_digits, with_unit};
use shared::stats::{self, Ratio};

const PAIRS: usize = 15;
const STARTS: u64 = 3000; // Some tenths of a second in each process: its own start and end do not show.

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match &arguments[..] {
        [what, count] => print_own_cost(what, count),
        _ => compare(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the C program does, by the same words: start so many, print the nanoseconds of one.
fn print_own_cost(what: &str, count: &str) -> Result<()> {
    const VALUE: u8 = 42;
    let start: fn(u8) -> io::Result<u8> = match what {
        "fork" => start::fork,
        "pthread" => start::pthread,
        _ => start::thread,
    };
    let count: u64 = count.parse()?;
    let mut right = 0;
    let from_ns = SystemClock.now_ns();
    for _ in 0..count {
        right += u64::from(start(VALUE)? == VALUE);
    }
    println!("{:.1}", (SystemClock.now_ns() - from_ns) as f64 / count as f64);
    ensure!(right == count, "{right} of {count} gave the value back");
    Ok(())
}

fn compare() -> Result<()> {
    let ours = env::current_exe().context("this program's own path")?;
    let folder = ours.parent().context("this program's folder")?;
    let plain = compile(folder, "beside_c_plain", &[])?;
    // What every Rust program brings: all symbols bound at the start (else each forked child looks `_exit` up anew),
    // and one more library, whose mappings each fork copies.
    let like_rust = compile(folder, "beside_c_like_rust", &["-Wl,-z,now", "-Wl,--no-as-needed", "-lgcc_s"])?;
    let pinning = Pinning::of(Placement::SameCpu).context("no usable CPU")?;
    let _pinned = pinning.own.pin()?; // All programs inherit it, and so does all that they start.
    for (what, of_c, in_c, built) in [
        ("fork", "fork", &plain, "built plainly"),
        ("fork", "fork", &like_rust, "linked as Rust links"),
        ("pthread", "pthread", &plain, "built plainly"),
        ("thread", "pthread", &plain, "built plainly"),
    ] {
        let rounds = in_turn((&ours, what), (in_c, of_c))?;
        let Ratio { ratio, low, high, .. } = stats::ratio(&rounds.0, &rounds.1);
        let (own_ns, c_ns) = (stats::median(&rounds.0).value, stats::median(&rounds.1).value);
        let [ratio, low, high] = [Some(ratio), low, high].map(|value| value.map_or("none".to_owned(), three_digits));
        println!(
            "{what:8} {} beside {} for C's {of_c} {built}: {ratio} times as long (99 % interval {low} to {high})",
            with_unit("ns", own_ns),
            with_unit("ns", c_ns),
        );
    }
    Ok(())
}

/// Both programs' nanoseconds of a start, by round.
fn in_turn((ours, what): (&Path, &str), (in_c, of_c): (&Path, &str)) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut rounds = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        // Every second time in the other order: a drift hits both alike.
        if pair % 2 == 0 {
            rounds.0.push(cost_ns(ours, what)?);
            rounds.1.push(cost_ns(in_c, of_c)?);
        } else {
            rounds.1.push(cost_ns(in_c, of_c)?);
            rounds.0.push(cost_ns(ours, what)?);
        }
    }
    Ok(rounds)
}

fn compile(folder: &Path, name: &str, options: &[&str]) -> Result<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/beside_c.c");
    let program = folder.join(name);
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-pthread", source, "-o"]).arg(&program).args(options);
    let ended = compiler.status().context("There is no C compiler 'cc': install gcc or clang to compare with C")?;
    ensure!(ended.success(), "cc could not compile {source}");
    Ok(program)
}

fn cost_ns(program: &Path, what: &str) -> Result<f64> {
    let output = Command::new(program).args([what, &STARTS.to_string()]).output().context("starting a program")?;
    ensure!(output.status.success(), "{} {what} failed: {}", program.display(), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
