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
use shared::stats::{Ratio, median, ratio};
use shared::{Cell, Mood, Stage, refused};

use super::load::{self, Pace, Seen};
use crate::server::models::Model;
use crate::server::{Server, Setup, table};

pub struct Plan {
    pub setup: Setup,
    pub connections: usize,
    pub rounds: usize,
    pub closed: Duration,
    pub paced: Duration,
    /// Requests per second; half of the slowest model's capacity if it is zero.
    pub per_s: f64,
}

/// One model's figures.
pub struct Row {
    pub model: Model,
    rounds: Vec<Round>,
    paced: Seen,
    /// Why this machine refuses the model.
    skipped: Option<String>,
}

/// One round at full load.
struct Round {
    seen: Seen,
    cpu_ns: f64,
    client_percent: f64,
    pss_bytes: f64,
}

/// The fastest first.
pub fn measure(stage: &mut Stage, plan: &Plan) -> Result<Vec<Row>> {
    let row = |model| Row { model, rounds: Vec::new(), paced: Seen::default(), skipped: None };
    let mut rows = Model::ALL.map(row);
    for _ in 0..plan.rounds {
        for row in &mut rows {
            row.unless_refused(|row| row.saturate(plan))?;
        }
        rows.reverse(); // A drift in time hits every model alike.
    }
    rows.sort_by(|one, other| other.per_s().total_cmp(&one.per_s()));
    const LEAST_PER_S: f64 = 200.0; // Fewer, and there are no percentiles to tell of.
    let slowest = rows.iter().map(Row::per_s).rfind(|per_s| *per_s > 0.0).unwrap_or(0.0);
    let per_s = if plan.per_s > 0.0 { plan.per_s } else { (slowest / 2.0).max(LEAST_PER_S) };
    for row in &mut rows {
        row.unless_refused(|row| {
            let server = Server::start(row.model, &plan.setup)?;
            row.paced = load::put(&server, plan.connections, Pace::Paced { per_s }, plan.paced)?;
            Ok(())
        })?;
    }
    let sum = |of: fn(&Seen) -> u64| rows.iter().flat_map(Row::all).map(of).sum::<u64>();
    let (right, wrong) = (sum(|seen| seen.right), sum(|seen| seen.wrong));
    stage.check(
        "Every answer had its own request's number, the right sum, length and status, in every model",
        wrong == 0 && rows.iter().all(|row| row.per_s() > 0.0 || row.skipped.is_some()),
        format!("{} right, {wrong} wrong", count(right)),
    );
    tell_details(stage, &rows, per_s);
    Ok(rows.into())
}

impl Row {
    fn unless_refused(&mut self, work: impl FnOnce(&mut Row) -> Result<()>) -> Result<()> {
        let done = if self.skipped.is_none() { work(self) } else { Ok(()) };
        let Err(error) = done else { return Ok(()) };
        self.rounds.clear();
        self.skipped = Some(refused(&error).ok_or(error.context(self.model.label()))?);
        Ok(())
    }

    fn saturate(&mut self, plan: &Plan) -> Result<()> {
        let ended_ns = reaped_ns();
        let server = Server::start(self.model, &plan.setup)?;
        let start_ns: f64 = family(server.pid()).into_iter().map(used_ns).sum();
        let client_ns = used_ns(Pid::this());
        let seen = load::put(&server, plan.connections, Pace::Closed, plan.closed)?;
        let machine_ns = seen.elapsed_ns as f64 * usable_cpus().len() as f64;
        let client_percent = (used_ns(Pid::this()) - client_ns) / machine_ns * 100.0;
        // Whoever has ended meanwhile has no memory.
        let memory = family(server.pid()).into_iter().filter_map(|pid| memory_of::of(pid).ok());
        let pss_bytes = memory.map(|memory| memory.pss_bytes as f64).sum();
        drop(server); // Only now the time of all its children is known, those included that ended before.
        let cpu_ns = (reaped_ns() - ended_ns - start_ns) / seen.right.max(1) as f64;
        self.rounds.push(Round { seen, cpu_ns, client_percent, pss_bytes });
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Seen> {
        self.rounds.iter().map(|round| &round.seen).chain([&self.paced])
    }

    fn each(&self, of: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.rounds.iter().map(of).collect()
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        if self.rounds.is_empty() { 0.0 } else { median(&self.each(of)).value }
    }

    /// Requests per second; zero if this machine refuses the model.
    pub fn per_s(&self) -> f64 {
        self.median(|round| round.seen.per_s())
    }

    /// How many times as long one answer takes as the other model's; none if this machine refuses one of them.
    pub fn time_against(&self, other: &Row) -> Option<Ratio> {
        let per_s = |row: &Row| row.each(|round| round.seen.per_s());
        let both = self.skipped.is_none() && other.skipped.is_none();
        both.then(|| ratio(&per_s(other), &per_s(self))) // The more requests per second, the less time for each.
    }

    /// Answers, CPU time, memory, p99 and starved connections.
    pub fn cells(&self, connections: usize) -> Vec<Cell> {
        let label = Cell::Text(self.model.label().to_owned());
        if let Some(why) = self.skipped.clone() {
            return [vec![label, Cell::Skipped { skipped: why }], vec![Cell::Nothing; 4]].concat();
        }
        let starved = self.rounds.last().map_or(0, |round| round.seen.starved);
        vec![
            label,
            Cell::Number(self.per_s()),
            Cell::Number(self.median(|round| round.cpu_ns)),
            Cell::Number(self.median(|round| round.pss_bytes)),
            late(&self.paced, 99),
            bad_if(starved > 0, format!("{starved} of {connections}")),
        ]
    }
}

fn late(seen: &Seen, percent: u64) -> Cell {
    seen.percentile_ns(percent).map_or(bad_if(true, "never".to_owned()), Cell::Number)
}

fn bad_if(is_bad: bool, says: String) -> Cell {
    Cell::Word { says, mood: if is_bad { Mood::Bad } else { Mood::Neutral } }
}

fn tell_details(stage: &mut Stage, rows: &[Row], per_s: f64) {
    const TOO_MUCH: f64 = 50.0; // Percent of the machine: then the client may be what limits the server.
    let mut lines = Vec::new();
    for row in rows.iter().filter(|row| row.skipped.is_none()) {
        let (label, percent) = (row.model.label(), row.median(|round| round.client_percent));
        if percent > TOO_MUCH {
            stage.spoiled(format!("'{label}': the client used {percent:.0} % of the machine: it may answer more"));
        }
        let most = |round: &Round| round.seen.by_worker.values().max().map_or(0.0, |most| *most as f64);
        let lost: u64 = row.all().map(|seen| seen.lost).sum();
        lines.push(vec![
            Cell::Text(label.to_owned()),
            Cell::Number(row.median(|round| (most(round) * 100.0 / round.seen.right.max(1) as f64).round())),
            bad_if(percent > TOO_MUCH, format!("{percent:.0}")),
            late(&row.paced, 50),
            bad_if(row.paced.unanswered > 0, count(row.paced.unanswered)),
            bad_if(lost > 0, count(lost)),
        ]);
    }
    let columns = [("most", "%"), ("client", "%"), ("p50", "ns"), ("never", ""), ("lost", "")];
    stage.table(table(
        "The same models: their workers, their client, and requests at a fixed rate",
        "model",
        &columns,
        lines,
    ));
    stage.note(format!(
        "Answers, CPU and memory: each connection stays open and asks again as soon as it is answered. CPU: of the \
         server's whole family for each answer, its end included. Memory: the family's PSS; of what was preloaded, \
         processes share one copy. Most: the share of the worker that answered most. Client: its share of the machine. \
         p50, p99: {} requests per second, each on a connection of its own, counted from when it was due. Never: not \
         answered when half as much time again had passed. Lost: the connection ended first, in either.",
        three_digits(per_s)
    ));
    tell_trends(stage, rows);
}

fn tell_trends(stage: &mut Stage, rows: &[Row]) {
    let of = |model| rows.iter().find(|row| row.model == model);
    let rivals = [
        (Model::Prefork, Model::ThreadPool),
        (Model::PreforkReusePort, Model::Prefork),
        (Model::ProcessPerConnection, Model::ThreadPerConnection),
    ];
    for (one, other) in rivals {
        if let Some(time) = of(one).zip(of(other)).and_then(|(ours, theirs)| ours.time_against(theirs)) {
            stage.trend(format!("{} against {}, time for each answer", one.label(), other.label()), &time);
        }
    }
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
