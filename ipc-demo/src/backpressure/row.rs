//! One row: what was taken, what the writer saw then, and what arrived.

use super::message::BYTES;
use shared::number::{chosen_with_unit, count, with_unit};
use shared::{Cell, Column, Mood, Table};

#[derive(Clone)]
pub struct Row {
    pub name: String,
    /// Taken while the reader did not read; none if it could not be tried.
    pub messages: Option<u64>,
    pub bytes: u64,
    pub then: Then,
    /// Once the reader went on, with the one for which the writer waited.
    pub arrived: u64,
}

/// How the writer found out.
#[derive(Clone)]
pub enum Then {
    /// It was seen asleep; where it may ask not to wait, the error's name.
    Waits {
        or_error: Option<String>,
    },
    /// Not at all: what found no room was dropped.
    Loses,
    /// Not at all: it took everything, and the process grew by so many bytes.
    Grows {
        by_bytes: u64,
    },
    /// Not at all: it was never asleep, in all that it was given.
    NeverWaited,
    Skipped(String),
}

impl Row {
    /// Those that wait come first, soonest first; then those that tell nothing.
    pub fn rank(&self) -> (u8, u64) {
        let told = match self.then {
            Then::Waits { .. } => 0,
            Then::Loses => 1,
            Then::Grows { .. } | Then::NeverWaited => 2,
            Then::Skipped(_) => 3,
        };
        (told, self.messages.unwrap_or(0))
    }
}

pub fn table(rows: &[Row]) -> Table {
    Table {
        title: format!("How many messages of {} are taken while nobody reads", with_unit("bytes", BYTES as f64)),
        columns: vec![
            Column::label("mechanism"),
            Column::value("taken", ""),
            Column::value("size", ""),
            Column::value("then the writer", ""),
            Column::value("arrived", ""),
        ],
        rows: rows.iter().map(cells).collect(),
    }
}

fn cells(row: &Row) -> Vec<Cell> {
    let name = Cell::Text(row.name.clone());
    let Some(messages) = row.messages else {
        let why = if let Then::Skipped(why) = &row.then { why.clone() } else { String::new() };
        return vec![name, Cell::Skipped { skipped: why }, Cell::Nothing, Cell::Nothing, Cell::Nothing];
    };
    let (says, mood) = match &row.then {
        Then::Waits { or_error: Some(error) } => (format!("waits, or gets {error}"), Mood::Good),
        Then::Waits { or_error: None } => ("waits".to_owned(), Mood::Good),
        Then::Loses => (format!("not told: {} lost", count(messages - row.arrived)), Mood::Bad),
        Then::Grows { by_bytes } => (format!("not told: {} grown", with_unit("bytes", *by_bytes as f64)), Mood::Bad),
        Then::NeverWaited => ("never waited here".to_owned(), Mood::Neutral),
        Then::Skipped(why) => (why.clone(), Mood::Neutral),
    };
    let number = |count: u64| match count {
        ..=9_007_199_254_740_992 => Cell::Number(count as f64),
        _ => Cell::Text(format!("2^64 - {}", u64::MAX - count + 1)), // More digits than a number here has.
    };
    let bytes = Cell::Text(chosen_with_unit("bytes", row.bytes as f64));
    vec![name, number(messages), bytes, Cell::Word { says, mood }, number(row.arrived)]
}
