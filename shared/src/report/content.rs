//! What can a demonstration show? Sentences, facts, tables, comparisons, timelines, maps and trends; no further kind.

use serde::{Deserialize, Serialize};

use super::digits;
use crate::stats::Median;

/// One thing that a demonstration shows, in its order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    #[serde(flatten)]
    pub content: Content,
    /// Shown by `--full` alone. Of a fact: what the experiment checks of itself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub detail: bool,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    Say { text: String },
    Fact(Fact),
    Table(Table),
    Comparison(Comparison),
    Timeline(Timeline),
    Map(Map),
    Trend(Trend),
}

impl From<Table> for Content {
    fn from(table: Table) -> Content {
        Content::Table(table)
    }
}

impl From<Timeline> for Content {
    fn from(timeline: Timeline) -> Content {
        Content::Timeline(timeline)
    }
}

impl From<Map> for Content {
    fn from(map: Map) -> Content {
        Content::Map(map)
    }
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
    Number(#[serde(serialize_with = "digits::number")] f64),
    Text(String),
    Interval {
        #[serde(serialize_with = "digits::number")]
        value: f64,
        #[serde(serialize_with = "digits::number")]
        low: f64,
        #[serde(serialize_with = "digits::number")]
        high: f64,
    },
    Word {
        says: String,
        mood: Mood,
    },
    Skipped {
        skipped: String,
    },
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
    /// By which the guide finds it; none if it is of no use there.
    pub key: Option<String>,
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
    /// What the row is of, whatever its label says: `ring`, `fork`.
    pub key: String,
    pub role: Option<RowRole>,
    /// Shown by `--full` alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub detail: bool,
    pub placement: Placement,
    /// The measuring side's, then its peer's; empty where the kernel chose.
    pub cpus: Vec<usize>,
    pub unit: String,
    /// Operations in one sample.
    pub steps: u64,
    /// Raw, in the order in which they were taken; of one operation each.
    #[serde(serialize_with = "digits::all")]
    pub samples: Vec<f64>,
    /// Where each round starts in `samples`.
    pub rounds: Vec<usize>,
    /// The median of the rounds' medians.
    #[serde(serialize_with = "digits::number")]
    pub median: f64,
    /// Its exact 95 % rank interval, of this run; none of fewer than six rounds.
    #[serde(serialize_with = "digits::perhaps")]
    pub low: Option<f64>,
    #[serde(serialize_with = "digits::perhaps")]
    pub high: Option<f64>,
    /// None unless each event was timed alone (`steps` 1).
    #[serde(serialize_with = "digits::perhaps")]
    pub p99: Option<f64>,
    /// CPU time of all parties per operation; none if it could not be read.
    #[serde(serialize_with = "digits::perhaps")]
    pub cpu_ns: Option<f64>,
}

/// Who is compared in a row, for those who read rows and not labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowRole {
    Threads,
    Processes,
    /// Burns a whole CPU for as long as it waits: nobody uses it as it is.
    Busy,
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
    #[serde(serialize_with = "digits::number")]
    pub from: f64,
    #[serde(serialize_with = "digits::number")]
    pub to: f64,
}

/// States by step: one character for each step and row, explained by a legend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Map {
    pub title: String,
    pub legend: Vec<Sign>,
    pub rows: Vec<MapRow>,
}

/// What one character of a map means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sign {
    pub sign: char,
    pub says: String,
    pub mood: Mood,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapRow {
    pub label: String,
    /// A sign for each step, in order.
    pub cells: String,
}

/// A verdict on two rows of a comparison; a ratio above 1 means slower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    pub says: String,
    #[serde(serialize_with = "digits::number")]
    pub ratio: f64,
    #[serde(serialize_with = "digits::perhaps")]
    pub low: Option<f64>,
    #[serde(serialize_with = "digits::perhaps")]
    pub high: Option<f64>,
    pub clear: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}
