//! What does `wrk` measure at a server?

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::servers::Server;

/// What wrk printed.
pub struct Load {
    pub per_s: f64,
    pub p50_s: f64,
    pub p99_s: f64,
    /// Connections, reads, writes, time-outs and answers that went wrong.
    pub errors: u64,
}

pub fn is_here() -> bool {
    Command::new("wrk").arg("-v").output().is_ok()
}

/// As it is called.
pub fn command(seconds: u32, address: &str) -> String {
    format!("wrk -t1 -c16 -d{seconds}s --latency http://{address}")
}

/// Asks the server for a file as fast as 16 connections can, for so many seconds.
pub fn ask(server: &Server, name: &str, seconds: u32) -> Result<Load> {
    let line = command(seconds, &format!("{}/{name}", server.address));
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap_or_default()).args(words).output().context("starting wrk")?;
    ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    parsed(&text).with_context(|| format!("wrk printed something else than expected:\n{text}"))
}

fn parsed(text: &str) -> Option<Load> {
    let after = |key: &str| text.lines().find_map(|line| Some(line.trim().strip_prefix(key)?.trim()));
    let numbers = |line: &str| -> u64 { line.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum() };
    Some(Load {
        per_s: after("Requests/sec:")?.parse().ok()?,
        p50_s: time_s(after("50%")?)?,
        p99_s: time_s(after("99%")?)?,
        // Both lines are there only if there is something to tell.
        errors: after("Socket errors:").map_or(0, numbers) + after("Non-2xx or 3xx responses:").map_or(0, numbers),
    })
}

/// `1.70ms` in seconds.
fn time_s(text: &str) -> Option<f64> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    let (number, factor) = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.parse::<f64>().ok()? * factor)
}
