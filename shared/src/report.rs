//! What a run found, as plain data: the document that every renderer reads.

mod content;
mod fold;
mod leftovers;

use serde::{Deserialize, Serialize};

use crate::claims::Claim;
use crate::machine::Machine;
pub use content::*;
pub use fold::Event;
pub use leftovers::Leftovers;

/// The version of the document's layout.
pub const SCHEMA: u32 = 1;

/// One program's run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub schema: u32,
    pub topic: String,
    pub version: String,
    pub effort: Effort,
    pub machine: Machine,
    pub demos: Vec<DemoReport>,
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
    pub answer: String,
    pub rule: String,
    pub spoiled: Vec<String>,
    pub seconds: f64,
    pub status: Status,
    pub why: Option<String>,
    pub verdicts: Vec<ClaimVerdict>,
    pub content: Vec<Content>,
    pub snippets: Vec<SnippetText>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ran,
    Skipped,
    Failed,
}

/// What an experiment says of a claim. `Qualified`: true under a condition that the sentence names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Holds,
    Qualified,
    Refuted,
    Undecided,
    Skipped,
    Failed,
}

/// One demonstration's verdict on one claim, with the sentence that carries the deciding figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimVerdict {
    pub claim: Claim,
    pub verdict: Verdict,
    pub because: String,
    pub value: Option<f64>,
    pub unit: Option<String>,
}

/// One claim on the scoreboard: the verdicts of all its demonstrations, combined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimReport {
    pub claim: Claim,
    pub says: String,
    pub verdict: Verdict,
    pub because: String,
}

/// A snippet as people paste it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnippetText {
    pub path: String,
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
            answer: String::new(),
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
