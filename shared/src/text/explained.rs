//! What is a claim, and by which rules is it answered?

use super::Look;
use super::ink::Ink;
use super::wrap::{hanging, plain};
use crate::claims::Claim;

/// How one demonstration comes to its verdicts.
pub struct Rule<'a> {
    /// With its program: `ipc-demo round-trip`.
    pub demo: String,
    pub question: &'a str,
    pub rule: &'a str,
}

/// The claim in our words.
pub fn claim(claim: Claim, look: Look) -> String {
    let look = look.usable();
    look.finish(&hanging("", &Ink::Strong.on(&format!("{}.", claim.says())), look.width))
}

/// Each demonstration with its question and its rule in full.
pub fn rules(rules: &[Rule<'_>], look: Look) -> String {
    let look = look.usable();
    let entry = |Rule { demo, question, rule }: &Rule<'_>| {
        let name = hanging("", &Ink::Strong.on(&plain(demo)), look.width);
        format!("\n{name}{}{}", hanging("  ", &plain(question), look.width), hanging("  ", &plain(rule), look.width))
    };
    look.finish(&rules.iter().map(entry).collect::<String>())
}

/// Where else it is answered, by name.
pub fn answered_by(others: &[&str], look: Look) -> String {
    let look = look.usable();
    match others {
        [] => String::new(),
        some => look.finish(&format!("\n{}", hanging("Answered too by: ", &some.join(", "), look.width))),
    }
}
