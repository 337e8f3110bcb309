//! How much more may several processes have than one, and than as many threads?

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::resource::Resource;
use process_demo::limits::{Limit, Lowered};
use shared::{Cell, Column, Stage, Table, measure, refused};

use super::crew::{Crew, Kind, Reply};
use super::order::Order;
use super::places::Places;

pub const WORKERS: usize = 4;

/// What was got of one resource.
pub struct Row {
    /// The resource, alone and as it is counted.
    pub what: &'static str,
    pub name: &'static str,
    /// What one process may have; none where nothing limits it.
    limit: Option<u64>,
    pub got: Result<Got, String>,
}

pub struct Got {
    pub by_thread: u64,
    pub by_threads: u64,
    pub by_processes: u64,
}

const DESCRIPTORS: u64 = 256;
const ROOM_BYTES: u64 = 64 << 20;

pub fn show(stage: &mut Stage, places: &Places) -> Result<Vec<Row>> {
    let descriptors_allowed = Limit::lower(Resource::RLIMIT_NOFILE, DESCRIPTORS)?.soft;
    stage.note(format!(
        "How much do {WORKERS} workers get? A process may have {descriptors_allowed} descriptors here, and {} MiB of address space \
         more than it starts with. Each worker takes all it can, one descriptor and one MiB after the other; and each goes \
         to a CPU of its own, as long as there are some. What is missing to a limit was taken before.",
        ROOM_BYTES >> 20
    ));
    let rows = vec![
        Row {
            what: "descriptors",
            name: "descriptors",
            limit: Some(descriptors_allowed),
            got: got(places, descriptors)?,
        },
        Row {
            what: "address space",
            name: "MiB of address space",
            limit: Some(ROOM_BYTES >> 20),
            got: got(places, address_space)?,
        },
        Row { what: "CPUs", name: "CPUs", limit: None, got: got(places, cpus)? },
    ];
    stage.table(table(&rows));
    for row in &rows {
        if let (Some(limit), Ok(Got { by_threads, by_processes, .. })) = (row.limit, &row.got) {
            let says =
                format!("{WORKERS} threads share one process's {limit} {}; {WORKERS} processes get more", row.name);
            let holds = *by_threads <= limit && by_processes > by_threads;
            stage.fact(says, holds, format!("{by_threads} and {by_processes}"));
        }
    }
    Ok(rows)
}

type Count = fn(Kind, usize, &Places) -> Result<u64>;

fn got(places: &Places, count: Count) -> Result<Result<Got, String>> {
    let all = || {
        Ok(Got {
            by_thread: count(Kind::Threads, 1, places)?,
            by_threads: count(Kind::Threads, WORKERS, places)?,
            by_processes: count(Kind::Processes, WORKERS, places)?,
        })
    };
    match all() {
        Ok(got) => Ok(Ok(got)),
        Err(error) => refused(&error).map(Err).ok_or(error),
    }
}

fn descriptors(kind: Kind, workers: usize, places: &Places) -> Result<u64> {
    let lowered = Lowered::to(Resource::RLIMIT_NOFILE, DESCRIPTORS).context("limiting descriptors")?;
    let mut crew = Crew::of(kind, workers, places)?; // Its processes inherit the limit.
    drop(lowered);
    sum(&mut crew, workers, |crew, worker| done(crew.ask(worker, Order::OpenFiles, [0; 2])?))
}

fn address_space(kind: Kind, workers: usize, places: &Places) -> Result<u64> {
    const PIECE_BYTES: u64 = 1 << 20;
    let mut crew = Crew::of(kind, workers, places)?;
    for worker in 0..workers {
        done(crew.ask(worker, Order::LimitMemory, [ROOM_BYTES, 0])?)?;
    }
    let bytes =
        sum(&mut crew, workers, |crew, worker| done(crew.ask(worker, Order::TakeAllMemory, [PIECE_BYTES, 0])?))?;
    Ok(bytes / PIECE_BYTES)
}

fn cpus(kind: Kind, workers: usize, places: &Places) -> Result<u64> {
    let usable = measure::usable_cpus();
    let mut crew = Crew::of(kind, workers, places)?;
    let mut used = Vec::new();
    for worker in 0..workers {
        done(crew.ask(worker, Order::Pin, [usable[worker % usable.len()] as u64, 0])?)?;
        used.push(done(crew.ask(worker, Order::Cpu, [0; 2])?)?);
    }
    used.sort_unstable();
    used.dedup();
    Ok(used.len() as u64)
}

fn sum(crew: &mut Crew, workers: usize, of: impl Fn(&mut Crew, usize) -> Result<u64>) -> Result<u64> {
    (0..workers).map(|worker| of(crew, worker)).sum()
}

fn done(reply: Reply) -> Result<u64> {
    match reply {
        Reply::Done(value) => Ok(value),
        Reply::Failed(error) => Err(error).context("a worker"),
        Reply::Gone(exit) => Err(Errno::ECHILD).with_context(|| format!("a worker ended: {exit}")),
    }
}

fn table(rows: &[Row]) -> Table {
    let row = |row: &Row| {
        let name = Cell::Text(row.name.to_owned());
        match &row.got {
            Ok(Got { by_thread, by_threads, by_processes }) => {
                let numbers = [by_thread, by_threads, by_processes].map(|number| Cell::Number(*number as f64));
                [name].into_iter().chain(numbers).collect()
            }
            Err(why) => vec![name, Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing],
        }
    };
    Table {
        title: "What workers get, all together".to_owned(),
        columns: vec![
            Column::label("resource"),
            Column::value("one thread".to_owned(), ""),
            Column::value(format!("{WORKERS} threads"), ""),
            Column::value(format!("{WORKERS} processes"), ""),
        ],
        rows: rows.iter().map(row).collect(),
    }
}
