//! What a run found, as plain data: the document that every renderer reads, and the fold from events to it.

use serde::{Deserialize, Serialize};

use crate::claims::Claim;
use crate::machine::Machine;

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

/// A snippet as people paste it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnippetText {
    pub path: String,
    pub needs: String,
    pub text: String,
}

/// What a run left behind, by class; a class that could not be looked at is none, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftovers {
    pub processes: Option<u64>,
    pub zombies: Option<u64>,
    pub shared_memory: Option<u64>,
    pub queues: Option<u64>,
    pub semaphores: Option<u64>,
    pub system_v: Option<u64>,
    pub sockets: Option<u64>,
    pub files: Option<u64>,
}

/// What a demonstration's process tells the runner, one JSON line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Tell(Content),
    Verdict(ClaimVerdict),
    Spoiled {
        what: String,
    },
    Answer {
        text: String,
    },
    Skip {
        why: String,
    },
    /// The last word: the demonstration returned, with an error or without.
    End {
        error: Option<String>,
    },
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

    /// The fold: what one more event makes of the report so far.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Tell(content) => self.content.push(content),
            Event::Verdict(verdict) => self.verdicts.push(verdict),
            Event::Spoiled { what } => self.spoiled.push(what),
            Event::Answer { text } => self.answer = text,
            Event::Skip { why } => (self.status, self.why) = (Status::Skipped, Some(why)),
            Event::End { error: Some(why) } => self.fail(why),
            Event::End { error: None } => {}
        }
    }

    /// Marks the demonstration as failed; the first reason stays in front.
    pub fn fail(&mut self, why: String) {
        self.why = Some(match self.why.take() {
            Some(first) if self.status == Status::Failed => format!("{first}; {why}"),
            _ => why,
        });
        self.status = Status::Failed;
    }

    /// Settles what the events left open: a false fact fails the demonstration, and so does a declared claim without
    /// a verdict; a failed demonstration makes its claims `failed`, a skipped one leaves them `skipped`.
    pub fn settle(&mut self, declared: &[Claim]) {
        let broken: Vec<_> = self.facts().filter(|fact| !fact.holds).map(|fact| fact.says.clone()).collect();
        for says in broken {
            self.fail(format!("a fact does not hold: {says}"));
        }
        if self.status == Status::Ran {
            let missing = declared.iter().find(|&&claim| self.verdicts.iter().all(|given| given.claim != claim));
            if let Some(claim) = missing {
                self.fail(format!("no verdict on the claim '{}'", claim.says()));
            } else if self.answer.is_empty() {
                self.fail("the question was not answered".to_owned());
            }
        }
        let verdict = match self.status {
            Status::Ran => return,
            Status::Skipped => Verdict::Skipped,
            Status::Failed => Verdict::Failed,
        };
        let because = self.why.clone().unwrap_or_default();
        let settled = |&claim: &Claim| ClaimVerdict { claim, verdict, because: because.clone(), value: None, unit: None };
        self.verdicts = declared.iter().map(settled).collect();
    }

    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.content.iter().filter_map(|content| if let Content::Fact(fact) = content { Some(fact) } else { None })
    }
}

impl Leftovers {
    /// Each class with its name and count, in the document's order.
    pub fn classes(&self) -> [(&'static str, Option<u64>); 8] {
        [
            ("processes", self.processes),
            ("zombies", self.zombies),
            ("shared memory", self.shared_memory),
            ("queues", self.queues),
            ("semaphores", self.semaphores),
            ("System V objects", self.system_v),
            ("sockets", self.sockets),
            ("files", self.files),
        ]
    }

    /// How many were found in the classes that could be looked at.
    pub fn found(&self) -> u64 {
        self.classes().iter().filter_map(|(_, count)| *count).sum()
    }

    /// What was found, in words: "1 processes, 2 files"; empty if nothing.
    pub fn in_words(&self) -> String {
        let found = self.classes().into_iter().filter_map(|(name, count)| Some((name, count.filter(|&n| n > 0)?)));
        found.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    }

    /// Both together; a class unknown to either stays unknown, unless something was found.
    pub fn and(&self, other: &Leftovers) -> Leftovers {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (one, other) => one.or(other).filter(|&found| found > 0),
        };
        Leftovers {
            processes: sum(self.processes, other.processes),
            zombies: sum(self.zombies, other.zombies),
            shared_memory: sum(self.shared_memory, other.shared_memory),
            queues: sum(self.queues, other.queues),
            semaphores: sum(self.semaphores, other.semaphores),
            system_v: sum(self.system_v, other.system_v),
            sockets: sum(self.sockets, other.sockets),
            files: sum(self.files, other.files),
        }
    }
}
