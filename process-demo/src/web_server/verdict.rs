//! What follows for the claim, and which model is best for what?

use anyhow::Result;
use shared::number::{three_digits, with_unit};
use shared::{Cell, Column, Mood, Ruling, Stage, Table, refused};

use super::availability::{Failure, Losses, Lost, share};
use super::capacity::Row;
use super::models::Model;
use super::shared_state::State;
use super::together::Together;

pub fn of(seen: [Result<Together>; 2]) -> Result<Ruling> {
    let (mut together, mut refusals) = (Vec::new(), Vec::new());
    for one in seen {
        match one {
            Ok(one) => together.push(one),
            Err(error) => refusals.push(refused(&error).ok_or(error)?),
        }
    }
    refusals.dedup();
    let at_once = together.iter().map(|one| one.at_once).max().unwrap_or(0);
    let all_right = together.iter().all(|one| one.right == one.asked);
    let right = if all_right { "every answer was right" } else { "not every answer was right" };
    let because = format!("{at_once} worker processes had a request in flight at the same moment, and {right}");
    let ruling = match (together.is_empty(), at_once) {
        (true, _) => Ruling::skipped(refusals.join("; ")),
        (false, 2..) if all_right => Ruling::holds(because),
        _ => Ruling::refuted(because),
    };
    Ok(ruling.by(at_once as f64, "processes"))
}

/// What each model gives and costs, the fastest first.
pub fn table(rows: &[Row], losses: &[Losses]) -> Table {
    let mut rows: Vec<(&Row, f64)> = rows.iter().filter_map(|row| Some((row, row.per_s()?))).collect();
    rows.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let number = |value: Option<f64>| value.map_or(Cell::Nothing, Cell::Number);
    let cells = |(row, per_s): &(&Row, f64)| {
        let p99 = match row.p99_ns() {
            Some(None) => Cell::Word { says: "never".to_owned(), mood: Mood::Bad },
            known => number(known.flatten()),
        };
        let lost = to_a_fault(losses, row.model);
        vec![
            Cell::Text(row.model.label().to_owned()),
            Cell::Number(*per_s),
            number(row.cpu_ns()),
            number(row.pss_bytes),
            p99,
            lost.map_or(Cell::Nothing, |it| share(it.open())),
            lost.map_or(Cell::Nothing, |it| share(it.queued)),
        ]
    };
    Table {
        title: "Speed, memory, and the connections that one segmentation fault ends".to_owned(),
        columns: vec![
            Column::label("model"),
            Column::value("answers", "1/s"),
            Column::value("CPU", "ns"),
            Column::value("memory", "bytes"),
            Column::value("p99", "ns"),
            Column::value("open", ""),
            Column::value("queued", ""),
        ],
        rows: rows.iter().map(cells).collect(),
    }
}

/// What the table's columns mean, and what the answer leaves out.
pub fn explain(stage: &mut Stage, rows: &[Row], state: &State) {
    stage.note(
        "CPU: for each answer. p99: the delay at a fixed rate of requests, as above. Open: in flight or idle. Queued: \
         accepted by nobody yet.",
    );
    let known = rows.iter().filter_map(|row| Some((row.model, row.per_s()?)));
    if let Some((model, per_s)) = known.min_by(|(_, one), (_, other)| one.total_cmp(other)) {
        stage.note(format!("The slowest, {}, answers {} requests/s.", model.label(), three_digits(per_s)));
    }
    let lookups = state.lookups_ns();
    let least = lookups.iter().min_by(|one, other| one.1.total_cmp(&other.1));
    let most = lookups.iter().max_by(|one, other| one.1.total_cmp(&other.1));
    if let Some(((least, least_ns), (most, most_ns))) = least.zip(most) {
        let (least_time, most_time) = (with_unit("ns", *least_ns), with_unit("ns", *most_ns));
        stage.note(format!(
            "Shared state is cheapest to read in '{least}' ({least_time} a lookup) and dearest in '{most}' ({most_time})."
        ));
    }
}

/// What a fault in a thread leaves; else how many processes served at once.
pub fn headline(losses: &[Losses], ruling: &Ruling) -> String {
    match to_a_fault(losses, Model::ThreadPool).map(Losses::open) {
        Some(open) => format!("{} of {} clients survive a thread crash", open.of - open.lost, open.of),
        None => format!("{} prefork workers served at once", ruling.value.unwrap_or_default()),
    }
}

/// Which is best for what: speed and safety.
pub fn answer(rows: &[Row], losses: &[Losses]) -> String {
    let known: Vec<String> = [speed(rows), safety(losses)].into_iter().flatten().collect();
    if known.is_empty() { "This machine refuses one of them.".to_owned() } else { known.join(" ") }
}

fn speed(rows: &[Row]) -> Option<String> {
    let of = |model| rows.iter().find(|row| row.model == model);
    let (prefork, pool) = (of(Model::Prefork)?, of(Model::ThreadPool)?);
    let (ours, theirs) = (three_digits(prefork.per_s()?), three_digits(pool.per_s()?));
    let time = prefork.time_against(pool)?;
    let compared = match (time.clear, time.ratio < 1.0) {
        (false, _) => "Neither is clearly faster",
        (true, true) => "Prefork is faster",
        (true, false) => "A thread pool is faster",
    };
    Some(format!("{compared}: prefork {ours} requests/s, a thread pool {theirs}."))
}

fn safety(losses: &[Losses]) -> Option<String> {
    let (ours, theirs) = both(losses)?;
    Some(format!(
        "A segmentation fault ends {} of {} connections with prefork, {} of {} with the pool.",
        ours.lost, ours.of, theirs.lost, theirs.of
    ))
}

pub fn advice(losses: &[Losses]) -> &'static str {
    match both(losses) {
        Some((ours, theirs)) if ours.lost * theirs.of < theirs.lost * ours.of => {
            "Where a request may crash its worker, use processes: copy `prefork`."
        }
        _ => "Serve with threads here: copy `connections`.",
    }
}

/// Open connections that a segmentation fault ended: with prefork, and with a thread pool.
fn both(losses: &[Losses]) -> Option<(Lost, Lost)> {
    let open = |model| to_a_fault(losses, model).map(Losses::open);
    open(Model::Prefork).zip(open(Model::ThreadPool))
}

fn to_a_fault(losses: &[Losses], model: Model) -> Option<&Losses> {
    losses.iter().find(|it| it.model == model && it.failure == Failure::Fault)
}
