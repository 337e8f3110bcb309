//! What does one start take besides time?

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;

use anyhow::{Context, Result};
use process_demo::system_calls::{self, Calls};
use shared::{Cell, Column, Stage, Table};

use super::kernel::page_faults;
use super::page_tables::PageTables;
use super::ways::{self, Way};

/// What a thread and a forked child are given; none where it could not be counted.
pub struct Counts {
    pub thread: Option<Given>,
    pub fork: Option<Given>,
}

#[derive(Clone, Copy)]
pub struct Given {
    pub page_faults: f64,
    pub page_table_bytes: u64,
}

/// One way's counts, each of which the machine may refuse.
struct Row<'a> {
    label: &'static str,
    page_faults: Result<f64>,
    calls: &'a Result<Calls>,
}

pub fn show(stage: &mut Stage, ways: &[Way]) -> Result<Counts> {
    let calls: Vec<Result<Calls>> = ways.iter().map(system_calls_of).collect();
    let rows: Vec<Row> = ways.iter().zip(&calls).map(|(way, calls)| Row::count(way, calls)).collect();
    stage.table(one_start(&rows));
    let by_name: Vec<(&str, &Calls)> =
        rows.iter().filter_map(|row| Some((row.label, row.calls.as_ref().ok()?))).collect();
    if !by_name.is_empty() {
        stage.table(by_kind(&by_name));
    }
    explain_the_excess(stage, &by_name);
    let tables = PageTables::of_one_more();
    stage.table(tables.table());
    let given = |label: &str, bytes: &Result<u64>| {
        let row = rows.iter().find(|row| row.label == label)?;
        Some(Given { page_faults: *row.page_faults.as_ref().ok()?, page_table_bytes: *bytes.as_ref().ok()? })
    };
    Ok(Counts { thread: given(ways::THREAD, &tables.thread), fork: given(ways::FORK, &tables.fork) })
}

fn system_calls_of(way: &Way) -> Result<Calls> {
    way.start(1)?; // A refusal shows here, with its reason.
    let one = || {
        if !way.start(1).is_ok_and(|right| right == 1) {
            resume_unwind(Box::new(())); // A panic without its message: the child may be one process too many.
        }
    };
    // SAFETY: the child starts something and waits for it; nothing here is in shared memory.
    unsafe { system_calls::count(one) }.context("a start in a traced child")
}

impl Row<'_> {
    fn count<'a>(way: &Way, calls: &'a Result<Calls>) -> Row<'a> {
        const STARTS: u64 = 8; // A few, so that a stray fault does not show.
        let faults = || {
            let before = page_faults()?;
            way.start(STARTS)?;
            Ok((page_faults()? - before) as f64 / STARTS as f64)
        };
        Row { label: way.label, page_faults: faults(), calls }
    }
}

fn one_start(rows: &[Row]) -> Table {
    let total = |counts: &BTreeMap<String, u64>| Cell::Number(counts.values().sum::<u64>() as f64);
    let cells = |row: &Row| {
        let (own, created) = match row.calls {
            Ok(calls) => (total(&calls.own), total(&calls.created)),
            Err(why) => (skipped(why), Cell::Nothing),
        };
        let faults = row.page_faults.as_ref().map_or_else(skipped, |&faults| Cell::Number(faults));
        vec![Cell::Text(row.label.to_owned()), faults, own, created]
    };
    Table {
        title: "What one start takes besides time".to_owned(),
        columns: vec![
            Column::label("started by"),
            Column::value("page faults", ""),
            Column::value("system calls of the parent", ""),
            Column::value("of the new one", ""),
        ],
        rows: rows.iter().map(cells).collect(),
    }
}

/// Both sides' calls together, by name; in one row, those that tell nothing but that a program was loaded.
fn by_kind(ways: &[(&str, &Calls)]) -> Table {
    let names: BTreeSet<&String> =
        ways.iter().flat_map(|(_, calls)| calls.own.keys().chain(calls.created.keys())).collect();
    let (loading, telling): (Vec<&String>, Vec<&String>) =
        names.into_iter().partition(|name| is_of_any_program(ways, name));
    let row = |label: String, names: &[&String]| {
        let counts = ways.iter().map(|(_, calls)| match names.iter().map(|name| how_many(calls, name)).sum() {
            0 => Cell::Nothing,
            count => Cell::Number(count as f64),
        });
        [Cell::Text(label)].into_iter().chain(counts).collect()
    };
    let mut rows: Vec<Vec<Cell>> = telling.into_iter().map(|name| row(name.clone(), &[name])).collect();
    if !loading.is_empty() {
        rows.push(row("others*".to_owned(), &loading));
    }
    let head = ways.iter().map(|(label, _)| Column::value(*label, ""));
    Table {
        title: format!(
            "System calls of one start, both sides (* {} names that only loading a program brings)",
            loading.len()
        ),
        columns: [Column::label("system call")].into_iter().chain(head).collect(),
        rows,
    }
}

/// As often by each way that runs a program, and by no other.
fn is_of_any_program(ways: &[(&str, &Calls)], name: &str) -> bool {
    const EXEC: &str = "execve";
    let (programs, others): (Vec<&Calls>, Vec<&Calls>) =
        ways.iter().map(|(_, calls)| *calls).partition(|calls| how_many(calls, EXEC) > 0);
    let alike = programs.windows(2).all(|pair| how_many(pair[0], name) == how_many(pair[1], name));
    name != EXEC && alike && others.iter().all(|calls| how_many(calls, name) == 0)
}

fn how_many(calls: &Calls, name: &str) -> u64 {
    [&calls.own, &calls.created].iter().filter_map(|side| side.get(name)).sum()
}

/// Why std's thread costs more than a bare pthread: the calls that only it makes.
fn explain_the_excess(stage: &mut Stage, ways: &[(&str, &Calls)]) {
    let of = |label| ways.iter().find(|(way, _)| *way == label).map(|(_, calls)| *calls);
    let (Some(std), Some(bare)) = (of(ways::THREAD), of(ways::PTHREAD)) else { return };
    let names: BTreeSet<&String> = std.own.keys().chain(std.created.keys()).collect();
    let more = names.into_iter().map(|name| (name, how_many(std, name).saturating_sub(how_many(bare, name))));
    let more: Vec<(&String, u64)> = more.filter(|(_, count)| *count > 0).collect();
    let total: u64 = more.iter().map(|(_, count)| count).sum();
    let list: Vec<String> = more.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let why = if more.iter().any(|(name, _)| *name == "sigaltstack") {
        " It gives each thread a second stack, on which an overflow of the first can be reported."
    } else {
        ""
    };
    stage.note(format!(
        "std's thread makes {total} system calls that a bare pthread does not: {}.{why}",
        list.join(", ")
    ));
    if how_many(bare, "mmap") == 0 {
        stage.note(
            "A bare pthread maps no memory here: the C library has kept the stack of a thread that ended, and gives it to \
             the next.",
        );
    }
}

pub fn skipped(why: &anyhow::Error) -> Cell {
    Cell::Skipped { skipped: format!("{why:#}") }
}
