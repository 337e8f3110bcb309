//! How is a fact told? In one line when it holds; in full when it does not, like a compiler's diagnostic.

use super::Look;
use super::ink::Ink;
use super::wrap::{hanging, plain};
use crate::report::Fact;

/// Nothing of a fact that holds: the footer counts it.
pub(super) fn brief(fact: &Fact, look: Look) -> String {
    if fact.holds { String::new() } else { failed(fact, look) }
}

pub(super) fn full(fact: &Fact, look: Look) -> String {
    if !fact.holds {
        return failed(fact, look);
    }
    let says = plain(&fact.says);
    let text = match plain(&fact.got) {
        got if got.is_empty() => says,
        got => format!("{} (seen: {got})", says.trim_end_matches(['.', ':'])),
    };
    hanging(&format!("  {} ", Ink::Good.on("[ok]")), &text, look.width)
}

fn failed(fact: &Fact, look: Look) -> String {
    let seen = if fact.got.trim().is_empty() { "it was not so" } else { &fact.got };
    let line = |what: &str, says: &str| hanging(&format!("    {what:>8}: "), &plain(says), look.width);
    format!(
        "\n{}{}{}{}",
        hanging("  ", &Ink::Bad.on("FAILED: a fact does not hold"), look.width),
        line("expected", fact.says.trim_end_matches(['.', ':'])),
        line("seen", seen),
        line("try", "--full shows what led to it. A fact hangs on no timing: if it fails again, please report it"),
    )
}
