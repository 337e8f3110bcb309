//! What a run found, as plain data: the document that every renderer reads.

mod cells;
mod content;
mod digits;
mod fold;
mod leftovers;
mod verdict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
pub use content::*;
pub(crate) use digits::significant;
pub use fold::Event;
pub use leftovers::Leftovers;
pub use verdict::*;

/// The version of the document's layout.
pub const SCHEMA: u32 = 2;

/// One program's run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub schema: u32,
    pub topic: String,
    pub version: String,
    pub effort: Effort,
    pub machine: Machine,
    pub demos: Vec<DemoReport>,
    /// Every snippet that a demonstration names, by its path, once.
    pub snippets: BTreeMap<String, SnippetText>,
    pub leftovers: Leftovers,
}

/// The tour's document: every program's, and what they say together of each claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TourReport {
    pub schema: u32,
    pub machine: Machine,
    pub claims: Vec<ClaimReport>,
    pub topics: Vec<Report>,
    pub leftovers: Leftovers,
}

/// How much to spend: `quick` shows the shapes, `normal` is the tour, `thorough` takes large sizes and long series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    Quick,
    Normal,
    Thorough,
}

/// One demonstration's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DemoReport {
    pub name: String,
    pub question: String,
    /// The result in nine words, the number first.
    pub headline: String,
    pub answer: String,
    /// What to do with the answer, in one line.
    pub advice: String,
    pub rule: String,
    pub spoiled: Vec<String>,
    #[serde(serialize_with = "digits::number")]
    pub seconds: f64,
    pub status: Status,
    pub why: Option<String>,
    pub verdicts: Vec<ClaimVerdict>,
    pub content: Vec<Item>,
    /// The paths of its snippets.
    pub snippets: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ran,
    Skipped,
    Failed,
}

/// A snippet as people paste it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnippetText {
    pub needs: String,
    pub text: String,
}

impl Report {
    /// A run in which nothing has happened yet.
    pub fn new(topic: &str, effort: Effort, machine: Machine) -> Report {
        Report {
            schema: SCHEMA,
            topic: topic.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effort,
            machine,
            demos: Vec::new(),
            snippets: BTreeMap::new(),
            leftovers: Leftovers::default(),
        }
    }
}

impl DemoReport {
    /// A demonstration that has told nothing yet.
    pub fn new(name: &str, question: &str, rule: &str) -> DemoReport {
        DemoReport {
            name: name.to_owned(),
            question: question.to_owned(),
            headline: String::new(),
            answer: String::new(),
            advice: String::new(),
            rule: rule.to_owned(),
            spoiled: Vec::new(),
            seconds: 0.0,
            status: Status::Ran,
            why: None,
            verdicts: Vec::new(),
            content: Vec::new(),
            snippets: Vec::new(),
        }
    }
}
