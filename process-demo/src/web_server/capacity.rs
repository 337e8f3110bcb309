//! How many requests per second does each model answer, how late, and with how much CPU time and memory?

use std::fs;
use std::time::Duration;

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use process_demo::memory_of;
use shared::measure::usable_cpus;
use shared::number::{count, three_digits};
use shared::stats::{self, median};
use shared::{Cell, Stage, Tried, tried};

use super::load::{Load, Pace};
use crate::server::models::Model;
use crate::server::{Server, Setup};

/// A model's figures, or why this machine refuses it.
pub type Row = (Model, Tried<Figures>);

#[derive(Default)]
pub struct Figures {
    full: Vec<FullLoad>,
    paced: Load,
}

/// One round at full load.
struct FullLoad {
    load: Load,
    cpu_ns: f64,
    client_percent: f64,
    pss_bytes: f64,
}

/// The fastest first.
pub fn measure(stage: &mut Stage, setup: &Setup, connections: usize) -> Result<Vec<Row>> {
    let [full_ms, paced_ms] = stage.by_effort([40, 50], [120, 1000], [1000, 10_000]).map(Duration::from_millis);
    let (rounds, per_s) = (stage.by_effort(1, 9, 15), stage.setting("rate"));
    let mut rows: Vec<Row> = Model::ALL.map(|model| (model, Ok(Figures::default()))).into();
    for round in 0..=rounds {
        for (model, seen) in &mut rows {
            let Ok(figures) = seen else { continue };
            let server = || Server::start(*model, setup);
            let measured = if round < rounds {
                saturate(server, connections, full_ms).map(|load| figures.full.push(load))
            } else {
                let pace = |server| Load::put(&server, connections, Pace::Paced { per_s }, paced_ms);
                server().and_then(pace).map(|(load, _)| figures.paced = load)
            };
            if let Err(why) = tried(measured)? {
                *seen = Err(why);
            }
        }
        rows.reverse(); // A drift in time hits every model alike.
    }
    let speed = |(_, seen): &Row| seen.as_ref().map_or(0.0, Figures::per_s);
    rows.sort_by(|one, other| speed(other).total_cmp(&speed(one)));
    tell(stage, &rows, per_s);
    Ok(rows)
}

fn saturate(server: impl Fn() -> Result<Server>, connections: usize, duration: Duration) -> Result<FullLoad> {
    let ended_ns = reaped_ns();
    let server = server()?;
    let start_ns: f64 = family(server.pid()).into_iter().map(used_ns).sum();
    let client_ns = used_ns(Pid::this());
    let (load, _open) = Load::put(&server, connections, Pace::Closed, duration)?;
    let machine_ns = load.elapsed_ns as f64 * usable_cpus().len() as f64;
    let client_percent = (used_ns(Pid::this()) - client_ns) / machine_ns * 100.0;
    // Whoever has ended meanwhile has no memory.
    let memory = family(server.pid()).into_iter().filter_map(|pid| memory_of::of(pid).ok());
    let pss_bytes = memory.map(|memory| memory.pss_bytes as f64).sum();
    drop(server); // Only now the time of all its children is known, those included that ended before.
    let cpu_ns = (reaped_ns() - ended_ns - start_ns) / load.right().max(1) as f64;
    Ok(FullLoad { load, cpu_ns, client_percent, pss_bytes })
}

fn middle(rounds: &[FullLoad], of: fn(&FullLoad) -> f64) -> f64 {
    median(&rounds.iter().map(of).collect::<Vec<_>>()).value
}

impl Figures {
    pub fn by_round_per_s(&self) -> Vec<f64> {
        self.full.iter().map(|round| round.load.per_s()).collect()
    }

    pub fn per_s(&self) -> f64 {
        median(&self.by_round_per_s()).value
    }

    /// Answers, CPU time, memory, p99 and starved connections.
    pub fn cells(&self, connections: usize) -> Vec<Cell> {
        let p99_ns = stats::p99(&self.paced.latencies_ns);
        let starved = self.full.last().map_or(0, |round| round.load.starved);
        let of_all = format!("{starved} of {connections}");
        vec![
            self.per_s().into(),
            middle(&self.full, |round| round.cpu_ns).into(),
            middle(&self.full, |round| round.pss_bytes).into(),
            if p99_ns.is_finite() { p99_ns.into() } else { Cell::bad("never") },
            if starved > 0 { Cell::bad(of_all) } else { Cell::neutral(of_all) },
        ]
    }
}

fn tell(stage: &mut Stage, rows: &[Row], per_s: f64) {
    const TOO_MUCH: f64 = 50.0; // Percent of the machine: then the client may be what limits the server.
    for (model, seen) in rows.iter().filter_map(|(model, seen)| Some((model, seen.as_ref().ok()?))) {
        let percent = middle(&seen.full, |round| round.client_percent);
        if percent > TOO_MUCH {
            let label = model.label();
            stage.spoiled(format!("'{label}': the client used {percent:.0} % of the machine: it may answer more"));
        }
    }
    let figures = || rows.iter().flat_map(|(_, seen)| seen);
    let loads = || figures().flat_map(|seen| seen.full.iter().map(|round| &round.load).chain([&seen.paced]));
    let (right, wrong) = loads().fold((0, 0), |(right, wrong), load| (right + load.right(), wrong + load.wrong));
    stage.check(
        "Every answer had its own request's number, the right sum, length and status, in every model",
        wrong == 0 && figures().all(|seen| seen.per_s() > 0.0),
        format!("{} right, {wrong} wrong", count(right as u64)),
    );
    stage.note(format!(
        "Answers, CPU and memory: each connection stays open and asks again as soon as it is answered. CPU: of the \
         server's whole family for each answer, its end included. Memory: the family's PSS; of what was preloaded, \
         processes share one copy. p99: {} requests per second, each on a connection of its own, counted from when it was \
         due; never, if no answer came when half as much time again had passed. Starved: connections that got no answer.",
        three_digits(per_s)
    ));
}

/// CPU time of all children that have ended, and of theirs.
fn reaped_ns() -> f64 {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).map(|usage| usage.user_time() + usage.system_time());
    used.map_or(0.0, |time| time.num_microseconds() as f64 * 1000.0)
}

/// CPU time of one living process.
fn used_ns(pid: Pid) -> f64 {
    let used = ClockId::pid_cpu_clock_id(pid).and_then(clock_gettime);
    used.map_or(0.0, |time| time.num_nanoseconds() as f64) // It may have ended meanwhile.
}

/// A process, its children, theirs, and so on.
fn family(first: Pid) -> Vec<Pid> {
    let mut family = vec![first];
    let mut seen = 0;
    while let Some(pid) = family.get(seen) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        family.extend(children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
        seen += 1;
    }
    family
}
