//! What stands below a demonstration: facts counted, verdicts, the answer, what to do with it, and what more there is.

use super::ink::Ink;
use super::verdict::Finding;
use super::wrap::{hanging, plain};
use super::{Extent, Look};
use crate::number::{counted, with_unit};
use crate::report::{ClaimVerdict, Content, DemoReport, Status};

/// What stands below a demonstration after it ran.
pub fn footer(demo: &DemoReport, look: Look) -> String {
    let look = look.usable();
    let mut text = String::from(if demo.content.is_empty() { "" } else { "\n" });
    text += &match look.extent {
        Extent::Brief => facts_in_short(demo, look) + &disturbed_in_short(demo, look),
        Extent::Full => disturbed(demo, look),
    };
    text += &status(demo, look);
    if look.extent == Extent::Full && !demo.rule.is_empty() {
        text += &hanging("  ", &Ink::Faint.on(&plain(&format!("rule: {}", demo.rule))), look.width);
    }
    text += &verdicts(demo, look);
    if !demo.answer.is_empty() {
        text += "\n";
        text += &hanging("  ", &format!("Answer: {}", Ink::Strong.on(&plain(&demo.answer))), look.width);
    }
    if !demo.advice.is_empty() {
        text += &hanging("  ", &format!("Advice: {}", plain(&demo.advice)), look.width);
    }
    text += &match look.extent {
        Extent::Brief => more(demo, look),
        Extent::Full => sources(demo, look),
    };
    look.finish(&(text + "\n"))
}

fn facts_in_short(demo: &DemoReport, look: Look) -> String {
    let (all, held) = (demo.facts().count(), demo.facts().filter(|fact| fact.holds).count());
    match all - held {
        0 if all == 0 => String::new(),
        0 => hanging(&format!("  {} ", Ink::Good.on("[ok]")), &format!("{} held.", counted(all, "fact")), look.width),
        _ => hanging("  ", &format!("{held} of {} held.", counted(all, "fact")), look.width),
    }
}

fn disturbed_in_short(demo: &DemoReport, look: Look) -> String {
    if demo.spoiled.is_empty() {
        return String::new();
    }
    let says = format!("{} of what disturbed the run (--full lists them).", counted(demo.spoiled.len(), "notice"));
    hanging(&format!("  {} ", Ink::Doubt.on("[!]")), &says, look.width)
}

fn disturbed(demo: &DemoReport, look: Look) -> String {
    let line = |what: &String| hanging(&format!("  {} ", Ink::Doubt.on("disturbed:")), &plain(what), look.width);
    demo.spoiled.iter().map(line).collect()
}

fn status(demo: &DemoReport, look: Look) -> String {
    let (word, ink) = match demo.status {
        Status::Ran => return String::new(),
        Status::Skipped => ("skipped:", Ink::Doubt),
        Status::Failed => ("FAILED:", Ink::Bad),
    };
    let why = demo.why.as_deref().unwrap_or("no reason given");
    hanging(&format!("  {} ", ink.on(word)), &plain(why), look.width)
}

fn verdicts(demo: &DemoReport, look: Look) -> String {
    let finding = |one: &ClaimVerdict| {
        let ruling = &one.ruling;
        let because = if Some(&ruling.because) == demo.why.as_ref() { "" } else { &ruling.because };
        let (says, condition) = (one.claim.says(), ruling.condition.as_ref());
        Finding { says, verdict: ruling.verdict, condition, because, by: "" }.lines("  ", look)
    };
    demo.verdicts.iter().map(finding).collect()
}

/// What `--full` and `--source` would show.
fn more(demo: &DemoReport, look: Look) -> String {
    if demo.status != Status::Ran {
        return String::new();
    }
    let is_table = |content: &Content| matches!(content, Content::Table(_) | Content::Comparison(_));
    let tables = demo.content.iter().filter(|item| item.detail && is_table(&item.content)).count();
    let mut adds = Vec::new();
    if tables > 0 {
        adds.push(counted(tables, "table"));
    }
    adds.extend([counted(demo.all_facts().count(), "fact"), "the rule".to_owned()]);
    let last = adds.pop().unwrap_or_default();
    let source = match demo.snippets.len() {
        0 => String::new(),
        some => format!("; --source {} prints {}", demo.name, counted(some, "snippet")),
    };
    let says = format!("More: --full shows {} and {last}{source}.", adds.join(", "));
    hanging("  ", &Ink::Faint.on(&plain(&says)), look.width)
}

fn sources(demo: &DemoReport, look: Look) -> String {
    let mut text = String::from("\n");
    for path in &demo.snippets {
        text += &hanging("  ", &Ink::Faint.on(&plain(&format!("to copy: {path}"))), look.width);
    }
    text + &hanging("  ", &Ink::Faint.on(&format!("took {}", with_unit("s", demo.seconds))), look.width)
}
