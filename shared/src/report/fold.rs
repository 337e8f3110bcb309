//! How do events become a report? One after the other, by a fold that needs nothing else.

use serde::{Deserialize, Serialize};

use super::{ClaimVerdict, Content, DemoReport, Fact, Item, Ruling, Status, Verdict};
use crate::claims::Claim;

/// What a demonstration's process tells the runner, one JSON line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Tell(Item),
    Verdict(ClaimVerdict),
    Spoiled {
        what: String,
    },
    Headline {
        text: String,
    },
    Answer {
        text: String,
    },
    Advice {
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

impl DemoReport {
    /// The fold: what one more event makes of the report so far.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Tell(item) => self.content.push(item),
            Event::Verdict(verdict) => self.verdicts.push(verdict),
            Event::Spoiled { what } if self.spoiled.contains(&what) => {} // Of another comparison: once is enough.
            Event::Spoiled { what } => self.spoiled.push(what),
            Event::Headline { text } => self.headline = text,
            Event::Answer { text } => self.answer = text,
            Event::Advice { text } => self.advice = text,
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
        let broken: Vec<_> = self.all_facts().filter(|fact| !fact.holds).map(|fact| fact.says.clone()).collect();
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
        let settled = |&claim: &Claim| ClaimVerdict { claim, ruling: Ruling::plain(verdict, because.clone()) };
        self.verdicts = declared.iter().map(settled).collect();
    }

    /// The facts about the machine; what the experiment checked of itself is one of them.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.content.iter().filter(|item| !item.detail).filter_map(fact)
    }

    /// The same with each check that the experiment made of itself.
    pub fn all_facts(&self) -> impl Iterator<Item = &Fact> {
        self.content.iter().filter_map(fact)
    }
}

fn fact(item: &Item) -> Option<&Fact> {
    if let Content::Fact(fact) = &item.content { Some(fact) } else { None }
}
