//! What does an experiment say of a claim? A verdict, its condition if it has one, and the sentence that decided.

use serde::{Deserialize, Serialize};

use crate::claims::Claim;

/// What an experiment says of a claim. `Qualified`: true under a condition, which stands beside it.
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

/// Under which condition a claim is true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub kind: ConditionKind,
    /// Goes on where the kind's words end: 'memory mapped as shared', 'it goes through the kernel'.
    pub says: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionKind {
    /// True, but for this.
    Except,
    /// True when this is so.
    OnlyIf,
    /// This part of it is true, or this part is not.
    InPart,
}

/// A verdict as a demonstration gives it. A qualified one has a condition, no other has: there is no other way to make one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ruling {
    pub verdict: Verdict,
    pub condition: Option<Condition>,
    /// One sentence with the deciding figure.
    pub because: String,
    pub value: Option<f64>,
    pub unit: Option<String>,
}

impl Ruling {
    pub fn holds(because: impl Into<String>) -> Ruling {
        Ruling::plain(Verdict::Holds, because.into())
    }

    /// It holds, except `condition`.
    pub fn except(condition: impl Into<String>, because: impl Into<String>) -> Ruling {
        Ruling::qualified(ConditionKind::Except, condition.into(), because.into())
    }

    /// It holds only if `condition`.
    pub fn only_if(condition: impl Into<String>, because: impl Into<String>) -> Ruling {
        Ruling::qualified(ConditionKind::OnlyIf, condition.into(), because.into())
    }

    /// It holds in part: `condition`.
    pub fn in_part(condition: impl Into<String>, because: impl Into<String>) -> Ruling {
        Ruling::qualified(ConditionKind::InPart, condition.into(), because.into())
    }

    pub fn refuted(because: impl Into<String>) -> Ruling {
        Ruling::plain(Verdict::Refuted, because.into())
    }

    /// Neither way could be told; `because` says how often it was tried.
    pub fn undecided(because: impl Into<String>) -> Ruling {
        Ruling::plain(Verdict::Undecided, because.into())
    }

    /// This machine refused what the verdict rests on.
    pub fn skipped(because: impl Into<String>) -> Ruling {
        Ruling::plain(Verdict::Skipped, because.into())
    }

    pub(crate) fn plain(verdict: Verdict, because: String) -> Ruling {
        Ruling { verdict, condition: None, because, value: None, unit: None }
    }

    fn qualified(kind: ConditionKind, says: String, because: String) -> Ruling {
        Ruling { condition: Some(Condition { kind, says }), ..Ruling::plain(Verdict::Qualified, because) }
    }

    /// The deciding figure as a number too.
    #[must_use]
    pub fn by(self, value: f64, unit: &str) -> Ruling {
        Ruling { value: Some(value), unit: Some(unit.to_owned()), ..self }
    }
}

/// One demonstration's verdict on one claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimVerdict {
    pub claim: Claim,
    #[serde(flatten)]
    pub ruling: Ruling,
}

/// One claim on the scoreboard: the verdicts of all its demonstrations, combined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimReport {
    pub claim: Claim,
    pub says: String,
    pub verdict: Verdict,
    pub condition: Option<Condition>,
    pub because: String,
    /// Those that decided, each as `ipc-demo round-trip`.
    pub demos: Vec<String>,
}
