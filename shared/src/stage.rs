//! Where a demonstration tells what happens, in order; the runner shows it.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::claims::Claim;
use crate::measure::{Contest, Measured, SystemClock};
use crate::number::count;
use crate::report::{ClaimVerdict, Content, Effort, Event, Fact, Item, Map, Ruling, Table, Timeline, Trend};
use crate::stats::Ratio;

/// The file in which the names of queues are written down.
pub(crate) const QUEUES: &str = ".queues";

/// A demonstration's only way out: it never prints and owns no clock.
pub struct Stage {
    pub(crate) claims: &'static [Claim],
    pub(crate) events: Box<dyn Write>,
    pub(crate) effort: Effort,
    pub(crate) settings: Vec<(&'static str, Setting)>,
    pub(crate) input: Option<PathBuf>,
    pub(crate) directory: PathBuf,
    pub(crate) prefix: String,
    /// How many of the experiment's checks of itself were right, of how many.
    pub(crate) checks: (usize, usize),
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    Number(f64),
    Word(String),
}

impl fmt::Display for Setting {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Number(value) => write!(to, "{value}"),
            Setting::Word(word) => to.write_str(word),
        }
    }
}

impl Stage {
    pub(crate) fn new(
        claims: &'static [Claim],
        settings: Vec<(&'static str, Setting)>,
        events: Box<dyn Write>,
        effort: Effort,
        directory: PathBuf,
        prefix: String,
    ) -> Stage {
        Stage { claims, events, effort, settings, input: None, directory, prefix, checks: (0, 0) }
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

    /// The value of a declared number: the user's, or its default.
    ///
    /// # Panics
    /// When the demonstration declares no such number.
    pub fn setting(&self, key: &str) -> f64 {
        match self.declared(key) {
            Some(Setting::Number(value)) => *value,
            _ => panic!("the demonstration declares no number '{key}'"),
        }
    }

    /// The value of a declared word: the user's, or its default.
    ///
    /// # Panics
    /// When the demonstration declares no such word.
    pub fn word(&self, key: &str) -> &str {
        match self.declared(key) {
            Some(Setting::Word(word)) => word,
            _ => panic!("the demonstration declares no word '{key}'"),
        }
    }

    fn declared(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
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

    /// A name for a POSIX queue (mq_overview(7)). It is written down first, in [`directory`](Self::directory): not every
    /// machine can list its queues, and one that is left behind must be found all the same.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn queue(&self, what: &str) -> io::Result<String> {
        let name = format!("/{}", self.name(what));
        let mut names = File::options().create(true).append(true).open(self.directory.join(QUEUES))?;
        writeln!(names, "{name}")?;
        Ok(name)
    }

    /// The project's one clock, for events told in their order in time; `Copy`, valid in threads and child processes.
    pub fn clock(&self) -> SystemClock {
        SystemClock
    }

    /// A sentence, shown live: for what people like to watch.
    pub fn say(&mut self, text: impl Into<String>) {
        self.tell_item(Content::Say { text: text.into() }, false);
    }

    /// A sentence that explains, shown by `--full` alone.
    pub fn note(&mut self, text: impl Into<String>) {
        self.tell_item(Content::Say { text: text.into() }, true);
    }

    /// A fact about the machine: forced, counted or enumerated; never a duration. `says` is what is expected, in at most 18
    /// words, `got` what was seen. One that does not hold fails the demonstration, and its verdicts with it: what a verdict
    /// judges is no fact. Returns `holds`.
    pub fn fact(&mut self, says: impl Into<String>, holds: bool, got: impl ToString) -> bool {
        self.tell_item(Content::Fact(Fact { says: says.into(), holds, got: got.to_string() }), false);
        holds
    }

    /// A fact that all of so many are so; of none there is nothing to tell. Returns whether all are.
    pub fn all(&mut self, says: impl Into<String>, part: usize, all: usize) -> bool {
        all == 0 || self.fact(says, part == all, format!("{} of {}", count(part as u64), count(all as u64)))
    }

    /// What the experiment checks of itself: messages whole, CPUs kept. All checks together are one fact at the end;
    /// `--full` shows each. Returns `holds`.
    pub fn check(&mut self, says: impl Into<String>, holds: bool, got: impl ToString) -> bool {
        self.checks = (self.checks.0 + usize::from(holds), self.checks.1 + 1);
        self.tell_item(Content::Fact(Fact { says: says.into(), holds, got: got.to_string() }), true);
        holds
    }

    /// The one table, timeline or map that carries the answer.
    pub fn show(&mut self, content: impl Into<Content>) {
        self.tell_item(content.into(), false);
    }

    /// A table that `--full` alone shows.
    pub fn table(&mut self, table: Table) {
        self.tell_item(Content::Table(table), true);
    }

    /// A timeline that `--full` alone shows.
    pub fn timeline(&mut self, timeline: Timeline) {
        self.tell_item(Content::Timeline(timeline), true);
    }

    /// A map that `--full` alone shows.
    pub fn map(&mut self, map: Map) {
        self.tell_item(Content::Map(map), true);
    }

    /// Measures the rivals and returns the figures; `--full` alone shows them, as one comparison.
    pub fn compare(&mut self, contest: Contest<'_>) -> Result<Measured> {
        self.measure(contest, true)
    }

    /// Measures the rivals that carry the answer: shown as bars, fastest first, but for the rows in detail.
    pub fn show_comparison(&mut self, contest: Contest<'_>) -> Result<Measured> {
        self.measure(contest, false)
    }

    fn measure(&mut self, contest: Contest<'_>, detail: bool) -> Result<Measured> {
        let measured = contest.measure(self.effort)?;
        self.tell_item(Content::Comparison(measured.comparison()), detail);
        for what in &measured.spoiled {
            self.spoiled(what);
        }
        Ok(measured)
    }

    /// Two rows' ratio, as `Measured::ratio` gives it; `says` names them: "fork against thread".
    pub fn trend(&mut self, says: impl Into<String>, ratio: &Ratio) {
        let Ratio { ratio, low, high, clear } = *ratio;
        self.tell_item(Content::Trend(Trend { says: says.into(), ratio, low, high, clear }), true);
    }

    /// A verdict on one of the declared claims, by the declared rule, which has at most 110 words; its condition has 15, its
    /// reason 25.
    pub fn rule(&mut self, claim: Claim, ruling: Ruling) -> Result<()> {
        if !self.claims.contains(&claim) {
            bail!("a verdict on the claim {claim:?}, which the demonstration does not declare");
        }
        self.tell(Event::Verdict(ClaimVerdict { claim, ruling }));
        Ok(())
    }

    /// Says what disturbed the run.
    pub fn spoiled(&mut self, what: impl Into<String>) {
        self.tell(Event::Spoiled { what: what.into() });
    }

    /// The result in at most nine words, the number first: the demonstration's line in the tour. Due once.
    pub fn headline(&mut self, text: impl Into<String>) {
        self.tell(Event::Headline { text: text.into() });
    }

    /// The answer to the question, in at most 30 words; due once, at the end.
    pub fn answer(&mut self, text: impl Into<String>) {
        self.tell(Event::Answer { text: text.into() });
    }

    /// What to do with the answer, in at most 70 characters that name the snippet; due once, at the end.
    pub fn advise(&mut self, text: impl Into<String>) {
        self.tell(Event::Advice { text: text.into() });
    }

    /// This machine cannot run the demonstration; return right after it.
    pub fn skip(&mut self, why: impl Into<String>) {
        self.tell(Event::Skip { why: why.into() });
    }

    /// The checks that the experiment made of itself, as one fact.
    pub(crate) fn tell_checks(&mut self) {
        let (right, all) = self.checks;
        if all > 0 {
            self.fact("The experiment checked itself", right == all, format!("{right} of {all}"));
        }
    }

    fn tell_item(&mut self, content: Content, detail: bool) {
        self.tell(Event::Tell(Item { content, detail }));
    }

    /// # Panics
    /// When the runner is gone: there is nobody left to tell.
    pub(crate) fn tell(&mut self, event: Event) {
        let mut line = serde_json::to_vec(&event).expect("events are plain data");
        line.push(b'\n');
        self.events.write_all(&line).expect("the runner listens");
    }
}
