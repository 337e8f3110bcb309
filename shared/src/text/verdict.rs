//! How is a verdict told? The claim, then what was found of it: its condition first, then one sentence.

use super::Look;
use super::ink::Ink;
use super::wrap::{hanging, plain};
use crate::report::{Condition, ConditionKind, Verdict};

/// What is said of one claim, by one demonstration or by the whole board.
pub(super) struct Finding<'a> {
    pub(super) says: &'a str,
    pub(super) verdict: Verdict,
    pub(super) condition: Option<&'a Condition>,
    pub(super) because: &'a str,
    /// Who decided, if it is not plain from where this stands.
    pub(super) by: &'a str,
}

impl Finding<'_> {
    /// The claim behind its sign; below it the verdict, the condition, the sentence and who decided.
    pub(super) fn lines(&self, indent: &str, look: Look) -> String {
        let ink = Ink::of(self.verdict);
        let claim = Ink::Strong.on(&plain(self.says));
        let mut text = hanging(&format!("{indent}{} ", ink.on(sign(self.verdict))), &claim, look.width);
        let phrase = ink.on(phrase(self.verdict, self.condition));
        let condition = self.condition.map(|condition| format!(" {}", plain(condition.says.trim_end_matches('.'))));
        let mut found = format!("{phrase}{}", condition.unwrap_or_default());
        if !self.because.trim().is_empty() {
            found += &format!(". {}.", capital(plain(self.because).trim_end_matches('.')));
        }
        if !self.by.is_empty() {
            found += &format!(" {}", Ink::Faint.on(&format!("({})", plain(self.by))));
        }
        text += &hanging(&format!("{indent}    "), &found, look.width);
        text
    }
}

/// One character that reads without its colour.
pub(super) fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "+",
        Verdict::Qualified => "~",
        Verdict::Refuted => "!",
        Verdict::Undecided => "?",
        Verdict::Skipped => "-",
        Verdict::Failed => "x",
    }
}

/// How the verdict's sentence begins; a condition goes on from here.
fn phrase(verdict: Verdict, condition: Option<&Condition>) -> &'static str {
    match (verdict, condition.map(|condition| condition.kind)) {
        (Verdict::Qualified, Some(ConditionKind::Except)) => "holds, except",
        (Verdict::Qualified, Some(ConditionKind::OnlyIf)) => "holds only if",
        (Verdict::Qualified, Some(ConditionKind::InPart)) => "holds in part:",
        (verdict, _) => word(verdict, condition),
    }
}

/// The verdict in one word or two, none longer than nine characters.
pub(super) fn word(verdict: Verdict, condition: Option<&Condition>) -> &'static str {
    match (verdict, condition.map(|condition| condition.kind)) {
        (Verdict::Holds, _) => "holds",
        (Verdict::Qualified, Some(ConditionKind::Except)) => "except",
        (Verdict::Qualified, Some(ConditionKind::OnlyIf)) => "only if",
        (Verdict::Qualified, Some(ConditionKind::InPart)) => "in part",
        (Verdict::Qualified, None) => "qualified",
        (Verdict::Refuted, _) => "refuted",
        (Verdict::Undecided, _) => "undecided",
        (Verdict::Skipped, _) => "skipped",
        (Verdict::Failed, _) => "FAILED",
    }
}

/// With a capital at its start, if it starts with a word and not with a name such as `sched_setscheduler`.
fn capital(sentence: &str) -> String {
    let sentence = sentence.trim_start();
    let first_word = sentence.split_whitespace().next().unwrap_or_default().trim_end_matches([',', ':']);
    if !first_word.chars().all(|letter| letter.is_ascii_lowercase()) {
        return sentence.to_owned();
    }
    let mut rest = sentence.chars();
    rest.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(rest).collect()
}
