//! What a demonstration declares of itself: one question, its claims, its rule, its snippets.

use std::ffi::OsString;

use crate::claims::Claim;
use crate::report::SnippetText;
use crate::stage::{Setting, Stage};

/// One demonstration. Its file is its name with `_` for `-`; its place in `DEMOS` is its place in the reading order.
pub struct Demo {
    pub name: &'static str,
    pub question: &'static str,
    pub claims: &'static [Claim],
    /// How the verdicts follow from what is seen, in words.
    pub rule: &'static str,
    pub extras: Extras,
    pub snippets: &'static [Snippet],
    /// Tells the stage what happens. An error fails the demonstration, unless it means that this machine refuses what
    /// is needed: that skips it. It is ended after 30, 300 or 1800 s, by effort: whatever it waits for must have an end
    /// well before.
    pub run: fn(&mut Stage) -> anyhow::Result<()>,
}

/// What most demonstrations do without.
pub struct Extras {
    /// What `--set` may change.
    pub parameters: &'static [Parameter],
    /// What the user's own file, given by `--input`, is to be and is used for; none if none is taken.
    pub input: Option<&'static str>,
    /// What this program does when the demonstration starts it again by exec.
    pub roles: &'static [ProgramRole],
}

impl Extras {
    pub const NONE: Extras = Extras { parameters: &[], input: None, roles: &[] };
}

/// Work for a new process that runs this same program: started as `/proc/self/exe --role NAME ARGUMENTS...`, within a
/// run, it plays the role with the arguments and exits with the value; nothing else has happened in it before.
pub struct ProgramRole {
    /// Unique in its program.
    pub name: &'static str,
    pub play: fn(&[OsString]) -> u8,
}

/// What the user may set: `--set task_s=2`, `--set order=ABBA`.
pub struct Parameter {
    pub key: &'static str,
    pub says: &'static str,
    pub kind: ParameterKind,
}

pub enum ParameterKind {
    /// Without a unit it is a count, and whole.
    Number { unit: &'static str, default: f64, low: f64, high: f64 },
    /// A word of these letters, so many of them at most.
    Word { alphabet: &'static str, default: &'static str, most: usize },
}

impl ParameterKind {
    pub(crate) fn default(&self) -> Setting {
        match *self {
            ParameterKind::Number { default, .. } => Setting::Number(default),
            ParameterKind::Word { default, .. } => Setting::Word(default.to_owned()),
        }
    }

    /// The user's value, if it may be one.
    pub(crate) fn read(&self, text: &str) -> Option<Setting> {
        match *self {
            ParameterKind::Number { unit, low, high, .. } => {
                let may_be =
                    |number: &f64| (low..=high).contains(number) && (!unit.is_empty() || number.fract() == 0.0);
                text.parse().ok().filter(may_be).map(Setting::Number)
            }
            ParameterKind::Word { alphabet, most, .. } => {
                let may_be = text.chars().count() <= most && text.chars().all(|letter| alphabet.contains(letter));
                may_be.then(|| Setting::Word(text.to_owned()))
            }
        }
    }

    /// What it may be: "0 to 60 s", "up to 8 letters of AB".
    pub(crate) fn range(&self) -> String {
        match *self {
            ParameterKind::Number { unit: "", low, high, .. } => format!("a whole number from {low} to {high}"),
            ParameterKind::Number { unit, low, high, .. } => format!("{low} to {high} {unit}"),
            ParameterKind::Word { alphabet, most, .. } => format!("up to {most} letters of {alphabet}"),
        }
    }
}

/// A snippet's file: its path from the project's root, and its text.
pub struct Snippet {
    pub path: &'static str,
    pub text: &'static str,
}

impl Snippet {
    /// The crates that its header lists: `std`, or `nix 0.31 (process, signal); crossbeam-channel 0.5`.
    pub fn needs(&self) -> &'static str {
        self.text.lines().find_map(|line| line.strip_prefix("//! Needs: ")).unwrap_or("")
    }

    pub fn to_text(&self) -> SnippetText {
        SnippetText { needs: self.needs().to_owned(), text: self.text.to_owned() }
    }
}
