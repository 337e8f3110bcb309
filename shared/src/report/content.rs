//! What can a demonstration show? Sentences, facts, tables, comparisons, timelines and trends; no further kind.

use serde::{Deserialize, Serialize};

use crate::stats::Median;

/// What a demonstration shows, in its order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    Say { text: String },
    Fact(Fact),
    Table(Table),
    Comparison(Comparison),
    Timeline(Timeline),
    Trend(Trend),
}

/// Forced by construction, counted or enumerated; it must hold on every run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub says: String,
    pub holds: bool,
    pub got: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// Of every number in the column: "ns", "bytes", ... ; empty for words and plain counts.
    pub unit: String,
    pub role: Role,
}

impl Column {
    /// What the rows are: words.
    pub fn label(name: impl Into<String>) -> Column {
        Column { name: name.into(), unit: String::new(), role: Role::Label }
    }

    /// What the rows are: numbers.
    pub fn x(name: impl Into<String>, unit: impl Into<String>) -> Column {
        Column { name: name.into(), unit: unit.into(), role: Role::X }
    }

    /// What was found.
    pub fn value(name: impl Into<String>, unit: impl Into<String>) -> Column {
        Column { name: name.into(), unit: unit.into(), role: Role::Value }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Label,
    X,
    Value,
}

/// A number, a text, nothing, a number with its interval, a word with a mood, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    Nothing,
    Number(f64),
    Text(String),
    Interval { value: f64, low: f64, high: f64 },
    Word { says: String, mood: Mood },
    Skipped { skipped: String },
}

impl From<Median> for Cell {
    /// With its interval, where there were samples enough for one.
    fn from(median: Median) -> Cell {
        match median {
            Median { value, low: Some(low), high: Some(high) } => Cell::Interval { value, low, high },
            Median { value, .. } => Cell::Number(value),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    Good,
    Bad,
    Neutral,
}

/// Rivals that were measured together, in turn, and differ in one named thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub title: String,
    pub differs_in: String,
    pub rows: Vec<ComparisonRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ComparisonRow {
    Measured(MeasuredRow),
    Skipped { label: String, skipped: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRow {
    pub label: String,
    pub placement: Placement,
    pub unit: String,
    /// Operations in one sample.
    pub steps: u64,
    /// Raw, in the order in which they were taken; of one operation each.
    pub samples: Vec<f64>,
    pub median: f64,
    /// The exact 95 % rank interval of the median; none of fewer than six samples.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// None unless each event was timed alone (`steps` 1).
    pub p99: Option<f64>,
    /// CPU time of all parties per operation; none if it could not be read.
    pub cpu_ns: Option<f64>,
}

/// Where a rival's two sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    SameCpu,
    OtherCpu,
    Free,
}

/// Who did something from when to when, drawn as bars on one scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    pub title: String,
    /// Of `from` and `to`, which count from the first event.
    pub unit: String,
    pub lanes: Vec<Lane>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    pub label: String,
    pub from: f64,
    pub to: f64,
}

/// A verdict on two rows of a comparison; a ratio above 1 means slower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    pub says: String,
    pub ratio: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub clear: bool,
}
