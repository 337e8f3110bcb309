//! Where a demonstration tells what happens, in order; the runner shows it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::claims::Claim;
use crate::demo::Demo;
use crate::measure::{Contest, Measured, SystemClock};
use crate::report::{ClaimVerdict, Content, Effort, Event, Fact, Table, Timeline, Trend, Verdict};
use crate::stats::Ratio;

/// A demonstration's only way out: it never prints and owns no clock.
pub struct Stage {
    pub(crate) claims: &'static [Claim],
    pub(crate) events: Box<dyn Write>,
    pub(crate) effort: Effort,
    pub(crate) settings: Vec<(&'static str, f64)>,
    pub(crate) input: Option<PathBuf>,
    pub(crate) directory: PathBuf,
    pub(crate) prefix: String,
}

impl Stage {
    pub(crate) fn new(
        demo: &Demo,
        events: Box<dyn Write>,
        effort: Effort,
        directory: PathBuf,
        prefix: String,
    ) -> Stage {
        let settings = demo.extras.parameters.iter().map(|parameter| (parameter.key, parameter.default)).collect();
        Stage { claims: demo.claims, events, effort, settings, input: None, directory, prefix }
    }

    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// One of three values, by effort.
    pub fn by_effort<T>(&self, quick: T, normal: T, thorough: T) -> T {
        match self.effort {
            Effort::Quick => quick,
            Effort::Normal => normal,
            Effort::Thorough => thorough,
        }
    }

    /// The value of a declared parameter: the user's, or its default.
    ///
    /// # Panics
    /// When the demonstration did not declare it.
    pub fn setting(&self, key: &str) -> f64 {
        let found = self.settings.iter().find(|(name, _)| *name == key);
        found.unwrap_or_else(|| panic!("the demonstration declares no parameter '{key}'")).1
    }

    /// The user's own file, if the demonstration takes one and the user gave one.
    pub fn input(&self) -> Option<&Path> {
        self.input.as_deref()
    }

    /// A directory of this demonstration's own, empty at first; also its `TMPDIR`. A file that is still there at the end
    /// counts as left behind, before the directory is removed.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A name for something that the whole system sees (shared memory, a queue, a socket): it carries the run's
    /// prefix, so that what is left behind can be found.
    pub fn name(&self, what: &str) -> String {
        format!("{}{what}", self.prefix)
    }

    /// The project's one clock, for events told in their order in time; `Copy`, valid in threads and child processes.
    pub fn clock(&self) -> SystemClock {
        SystemClock
    }

    /// A sentence, shown live.
    pub fn say(&mut self, text: impl Into<String>) {
        self.tell(Event::Tell(Content::Say { text: text.into() }));
    }

    /// A fact: forced, counted or enumerated; never a duration. `got` is what was seen. Returns `holds`.
    pub fn fact(&mut self, says: impl Into<String>, holds: bool, got: impl ToString) -> bool {
        self.tell(Event::Tell(Content::Fact(Fact { says: says.into(), holds, got: got.to_string() })));
        holds
    }

    pub fn table(&mut self, table: Table) {
        self.tell(Event::Tell(Content::Table(table)));
    }

    pub fn timeline(&mut self, timeline: Timeline) {
        self.tell(Event::Tell(Content::Timeline(timeline)));
    }

    /// Measures the rivals, shows them as one comparison with what spoiled it, and returns the figures.
    pub fn compare(&mut self, contest: Contest<'_>) -> Result<Measured> {
        let measured = contest.measure(self.effort)?;
        self.tell(Event::Tell(Content::Comparison(measured.comparison())));
        for what in &measured.spoiled {
            self.spoiled(what);
        }
        Ok(measured)
    }

    /// Two rows' ratio, as `Measured::ratio` gives it; `says` names them: "fork against thread".
    pub fn trend(&mut self, says: impl Into<String>, ratio: &Ratio) {
        let Ratio { ratio, low, high, clear } = *ratio;
        self.tell(Event::Tell(Content::Trend(Trend { says: says.into(), ratio, low, high, clear })));
    }

    /// A verdict on one of the declared claims, by the declared rule; `because` carries the deciding figure.
    pub fn verdict(&mut self, claim: Claim, verdict: Verdict, because: impl Into<String>) -> Result<()> {
        self.give(ClaimVerdict { claim, verdict, because: because.into(), value: None, unit: None })
    }

    /// A verdict with its deciding figure as a number too.
    pub fn verdict_by(
        &mut self,
        claim: Claim,
        verdict: Verdict,
        because: impl Into<String>,
        value: f64,
        unit: &str,
    ) -> Result<()> {
        self.give(ClaimVerdict {
            claim,
            verdict,
            because: because.into(),
            value: Some(value),
            unit: Some(unit.to_owned()),
        })
    }

    /// Says what disturbed the run.
    pub fn spoiled(&mut self, what: impl Into<String>) {
        self.tell(Event::Spoiled { what: what.into() });
    }

    /// The answer to the question, in one sentence; due once, at the end.
    pub fn answer(&mut self, text: impl Into<String>) {
        self.tell(Event::Answer { text: text.into() });
    }

    /// This machine cannot run the demonstration; return right after it.
    pub fn skip(&mut self, why: impl Into<String>) {
        self.tell(Event::Skip { why: why.into() });
    }

    fn give(&mut self, verdict: ClaimVerdict) -> Result<()> {
        if !self.claims.contains(&verdict.claim) {
            bail!("a verdict on the claim {:?}, which the demonstration does not declare", verdict.claim);
        }
        self.tell(Event::Verdict(verdict));
        Ok(())
    }

    /// # Panics
    /// When the runner is gone: there is nobody left to tell.
    pub(crate) fn tell(&mut self, event: Event) {
        let mut line = serde_json::to_vec(&event).expect("events are plain data");
        line.push(b'\n');
        self.events.write_all(&line).expect("the runner listens");
    }
}
