//! How many requests per second does each model answer, how late, and with how much CPU time and memory?

use std::time::Duration;

use anyhow::Result;
use shared::measure::{Clock, SystemClock, usable_cpus};
use shared::stats::{Ratio, median, ratio};
use shared::{Cell, Column, Mood, Role, Stage, Table, refused};

use super::load::{self, Pace, Seen};
use super::models::Model;
use super::server::{Server, Setup};

/// One model's figures; each list has one entry per round.
pub struct Row {
    pub model: Model,
    per_s: Vec<f64>,
    cpu_ns: Vec<f64>,
    client_share: Vec<f64>,
    pub pss_bytes: Option<f64>,
    processes: usize,
    threads: usize,
    busiest: Option<f64>,
    starved: usize,
    right: u64,
    wrong: u64,
    lost: u64,
    paced: Option<Seen>,
    /// Why the machine refuses this model.
    skipped: Option<String>,
}

impl Row {
    /// Requests per second; none if the machine refuses the model.
    pub fn per_s(&self) -> Option<f64> {
        (!self.per_s.is_empty()).then(|| median(&self.per_s).value)
    }

    /// The server's CPU time for one answer.
    pub fn cpu_ns(&self) -> Option<f64> {
        (!self.cpu_ns.is_empty()).then(|| median(&self.cpu_ns).value)
    }

    /// Of the paced requests; inside, none if it falls on one that was never answered.
    pub fn p99_ns(&self) -> Option<Option<f64>> {
        self.paced.as_ref().map(|seen| seen.percentile_ns(99))
    }

    /// How many times as long one answer takes as the other model's; none if the machine refuses one of them.
    pub fn time_against(&self, other: &Row) -> Option<Ratio> {
        let both = !self.per_s.is_empty() && self.per_s.len() == other.per_s.len();
        // The more requests per second, the less time for each: so it is the other way round.
        both.then(|| ratio(&other.per_s, &self.per_s))
    }
}

const LEAST_PER_S: f64 = 200.0; // Fewer, and there are no percentiles to tell of.

pub struct Plan {
    pub setup: Setup,
    pub connections: usize,
    pub rounds: usize,
    pub closed: Duration,
    pub paced: Duration,
    /// Requests per second; half of the slowest model's capacity if it is zero.
    pub per_s: f64,
}

pub fn show(stage: &mut Stage, plan: &Plan) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Model::ALL.into_iter().map(Row::new).collect();
    for round in 0..plan.rounds {
        let mut order: Vec<&mut Row> = rows.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse(); // A drift in time hits every model alike.
        }
        for row in order {
            let done = if row.skipped.is_none() { row.saturate(stage.clock(), plan) } else { Ok(()) };
            row.unless_refused(done)?;
        }
    }
    tell_capacity(stage, plan, &rows);
    let slowest = rows.iter().filter_map(Row::per_s).reduce(f64::min);
    let per_s =
        if plan.per_s > 0.0 { plan.per_s } else { slowest.map_or(0.0, |slowest| slowest / 2.0).max(LEAST_PER_S) };
    for row in &mut rows {
        let done = if row.skipped.is_none() { row.pace(stage.clock(), plan, per_s) } else { Ok(()) };
        row.unless_refused(done)?;
    }
    tell_paced(stage, plan, per_s, &rows);
    let right: u64 = rows.iter().map(|row| row.right).sum();
    let wrong: u64 = rows.iter().map(|row| row.wrong).sum();
    stage.check(
        "Every answer had its own request's number, the right sum, length and status, in every model",
        wrong == 0 && rows.iter().all(|row| row.right > 0 || row.skipped.is_some()),
        format!("{} right, {wrong} wrong", shared::number::count(right)),
    );
    Ok(rows)
}

impl Row {
    fn new(model: Model) -> Row {
        Row {
            model,
            per_s: Vec::new(),
            cpu_ns: Vec::new(),
            client_share: Vec::new(),
            pss_bytes: None,
            processes: 0,
            threads: 0,
            busiest: None,
            starved: 0,
            right: 0,
            wrong: 0,
            lost: 0,
            paced: None,
            skipped: None,
        }
    }

    fn saturate(&mut self, clock: SystemClock, plan: &Plan) -> Result<()> {
        let server = Server::start(self.model, &plan.setup)?;
        let (client_ns, server_ns) = (clock.cpu_ns(&[]), server.cpu_ns(clock));
        let seen = load::put(clock, server.address, plan.connections, Pace::Closed, plan.closed)?;
        let client_ns = difference(clock.cpu_ns(&[]), client_ns);
        let server_ns = difference(server.cpu_ns(clock), server_ns);
        self.pss_bytes = server.pss_bytes().map(|bytes| bytes as f64);
        (self.processes, self.threads) = (server.processes(), server.threads());
        self.per_s.push(seen.per_s());
        self.cpu_ns.extend(server_ns.map(|ns| ns / seen.right.max(1) as f64));
        let machine_ns = seen.elapsed_ns as f64 * usable_cpus().len() as f64;
        self.client_share.extend(client_ns.map(|ns| ns / machine_ns));
        self.busiest = seen.busiest();
        self.starved = seen.starved;
        self.add(&seen);
        Ok(())
    }

    fn pace(&mut self, clock: SystemClock, plan: &Plan, per_s: f64) -> Result<()> {
        let server = Server::start(self.model, &plan.setup)?;
        let seen = load::put(clock, server.address, plan.connections, Pace::Open { per_s }, plan.paced)?;
        self.add(&seen);
        self.paced = Some(seen);
        Ok(())
    }

    fn unless_refused(&mut self, done: Result<()>) -> Result<()> {
        let Err(error) = done else { return Ok(()) };
        self.skipped = refused(&error);
        if self.skipped.is_some() { Ok(()) } else { Err(error.context(self.model.label())) }
    }

    fn add(&mut self, seen: &Seen) {
        self.right += seen.right;
        self.wrong += seen.wrong;
        self.lost += seen.lost;
    }
}

fn difference(after: Option<u64>, before: Option<u64>) -> Option<f64> {
    Some(after?.saturating_sub(before?) as f64)
}

fn tell_capacity(stage: &mut Stage, plan: &Plan, rows: &[Row]) {
    stage.table(Table {
        title: format!("Capacity: {} connections, each asks again as soon as it is answered", plan.connections),
        columns: vec![
            Column { name: "model".into(), unit: String::new(), role: Role::Label },
            Column::value("answers", "1/s"),
            Column::value("CPU", "ns"),
            Column::value("PSS", "bytes"),
            Column::value("/worker", "bytes"),
            Column::value("most", "%"),
            Column::value("client", "%"),
            Column::value("starved", ""),
        ],
        rows: rows.iter().map(cells_of_capacity).collect(),
    });
    stage.note(
        "CPU: time that the server uses for each answer. PSS: memory of its whole family; of what was preloaded, \
         processes share one copy. Most: the share of the worker that answered most. Client: its share of the machine, \
         as one thread. Starved: connections that got no answer.",
    );
    warn_of_client(stage, rows);
    let of = |model| rows.iter().find(|row| row.model == model);
    let rivals = [
        (Model::Prefork, Model::ThreadPool),
        (Model::PreforkReusePort, Model::Prefork),
        (Model::ProcessPerConnection, Model::ThreadPerConnection),
    ];
    for (one, other) in rivals {
        let (Some(ours), Some(theirs)) = (of(one), of(other)) else { continue };
        if let Some(ratio) = ours.time_against(theirs) {
            stage.trend(format!("{} against {}, time for each answer", one.label(), other.label()), &ratio);
        }
    }
}

fn cells_of_capacity(row: &Row) -> Vec<Cell> {
    let middle = |list: &[f64]| if list.is_empty() { Cell::Nothing } else { Cell::Number(median(list).value) };
    let pss_bytes = row.pss_bytes;
    let workers = (row.threads.max(2) - 1) as f64; // Every thread but the parent's, which serves nobody.
    vec![
        Cell::Text(row.model.label().to_owned()),
        match &row.skipped {
            Some(why) => Cell::Skipped { skipped: why.clone() },
            None => middle(&row.per_s),
        },
        middle(&row.cpu_ns),
        pss_bytes.map_or(Cell::Nothing, Cell::Number),
        pss_bytes.map_or(Cell::Nothing, |bytes| Cell::Number(bytes / workers)),
        row.busiest.map_or(Cell::Nothing, |share| Cell::Number((share * 100.0).round())),
        client(row),
        counted(row.starved),
    ]
}

fn client_percent(row: &Row) -> Option<f64> {
    (!row.client_share.is_empty()).then(|| median(&row.client_share).value * 100.0)
}

const TOO_MUCH: f64 = 50.0; // Percent of the machine: then the client may be what limits the server.

fn client(row: &Row) -> Cell {
    let bad = |percent: f64| Cell::Word { says: format!("{percent:.0} (!)"), mood: Mood::Bad };
    let cell = |percent| if percent > TOO_MUCH { bad(percent) } else { Cell::Number(percent.round()) };
    client_percent(row).map_or(Cell::Nothing, cell)
}

/// The client takes CPU time too, which the server then lacks.
fn warn_of_client(stage: &mut Stage, rows: &[Row]) {
    for row in rows {
        if let Some(percent) = client_percent(row).filter(|percent| *percent > TOO_MUCH) {
            let label = row.model.label();
            stage.spoiled(format!("'{label}': the client used {percent:.0} % of the machine: it may answer more"));
        }
    }
}

fn tell_paced(stage: &mut Stage, plan: &Plan, per_s: f64, rows: &[Row]) {
    let late = |seen: &Seen, percent| {
        let never = Cell::Word { says: "never".to_owned(), mood: Mood::Bad };
        seen.percentile_ns(percent).map_or(never, Cell::Number)
    };
    let cells = |row: &Row| {
        let seen = row.paced.as_ref()?;
        let label = Cell::Text(row.model.label().to_owned());
        let unanswered = counted(seen.unanswered as usize);
        let counts = [Cell::Number(seen.right as f64), unanswered, counted(row.lost as usize)];
        Some([label, late(seen, 50), late(seen, 99)].into_iter().chain(counts).collect())
    };
    let rate = shared::number::three_digits(per_s);
    stage.table(Table {
        title: format!("Delay: {rate} requests per second on {} connections, answered or not", plan.connections),
        columns: vec![
            Column { name: "model".into(), unit: String::new(), role: Role::Label },
            Column::value("p50", "ns"),
            Column::value("p99", "ns"),
            Column::value("answered", ""),
            Column::value("unanswered", ""),
            Column::value("lost", ""),
        ],
        rows: rows.iter().filter_map(cells).collect(),
    });
    stage.note(
        "Each delay counts from when its request was due, whether or not the client could send it by then. Unanswered: no \
         answer when half as much time again had passed. Lost: the connection ended first, in either table.",
    );
}

/// Nobody misses what is zero.
fn counted(count: usize) -> Cell {
    if count == 0 {
        Cell::Number(0.0)
    } else {
        Cell::Word { says: shared::number::count(count as u64), mood: Mood::Bad }
    }
}
