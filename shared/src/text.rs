//! What does a report look like as text? Pure functions of report data, at a given width, with colour or without.

mod grid;
mod ink;
mod table;
mod timeline;
mod tour;
mod wrap;

use crate::machine::Machine;
use crate::number::{chosen_with_unit, count, three_digits, with_unit};
use crate::report::{Content, DemoReport, Effort, Fact, Leftovers, Report, Status, Trend, Verdict};
use ink::Ink;
pub use tour::{guide, scoreboard, tour, tour_line};
pub(crate) use wrap::hanging;
use wrap::{plain, width};

/// How wide a line may be, and whether words may have colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub width: usize,
    pub color: bool,
}

impl Look {
    /// A terminal narrower than this breaks the lines itself.
    const NARROWEST: usize = 40;

    fn usable(self) -> Look {
        Look { width: self.width.max(Look::NARROWEST), ..self }
    }

    /// The last step of every renderer: its marks become colour, or go.
    fn finish(self, text: &str) -> String {
        if self.color { ink::colored(text) } else { ink::uncolored(text) }
    }
}

/// One program's whole run, as it was narrated.
pub fn report(report: &Report, look: Look) -> String {
    let mut text = machine(&report.machine, look);
    for one in &report.demos {
        text += &demo(one, look);
    }
    text + &leftovers(&report.leftovers, look)
}

/// A program's name above its demonstrations.
pub fn topic(name: &str, version: &str, effort: Effort, look: Look) -> String {
    let look = look.usable();
    let effort = format!("{effort:?}").to_lowercase();
    look.finish(&rule('━', &plain(&format!("{name} {version}, {effort} effort")), look))
}

/// One demonstration: its header, its contents in their order, its footer.
pub fn demo(demo: &DemoReport, look: Look) -> String {
    let contents = demo.content.iter().map(|one| content(one, look));
    header(&demo.name, &demo.question, look) + &contents.collect::<String>() + &footer(demo, look)
}

/// What stands above a demonstration before it runs.
pub fn header(name: &str, question: &str, look: Look) -> String {
    let look = look.usable();
    let question = hanging("", &Ink::Strong.on(&plain(question)), look.width);
    look.finish(&format!("{}{question}\n", rule('─', &plain(name), look)))
}

/// One thing that a demonstration tells.
pub fn content(content: &Content, look: Look) -> String {
    let look = look.usable();
    look.finish(&match content {
        Content::Say { text } => hanging("  ", &plain(text), look.width),
        Content::Fact(fact) => self::fact(fact, look),
        Content::Table(table) => table::table(table, look),
        Content::Comparison(comparison) => table::comparison(comparison, look),
        Content::Timeline(timeline) => timeline::timeline(timeline, look),
        Content::Trend(trend) => self::trend(trend, look),
    })
}

/// What stands below a demonstration after it ran.
pub fn footer(demo: &DemoReport, look: Look) -> String {
    let look = look.usable();
    let mut text = String::from(if demo.content.is_empty() { "" } else { "\n" });
    let mut paragraph = |start: String, says: &str| text += &hanging(&start, says, look.width);
    for what in &demo.spoiled {
        paragraph(format!("  {} ", Ink::Doubt.on("disturbed:")), &plain(what));
    }
    match (demo.status, demo.why.as_deref().unwrap_or("no reason given")) {
        (Status::Ran, _) => {}
        (Status::Skipped, why) => paragraph(format!("  {} ", Ink::Doubt.on("skipped:")), &plain(why)),
        (Status::Failed, why) => paragraph(format!("  {} ", Ink::Bad.on("FAILED:")), &plain(why)),
    }
    if !demo.rule.is_empty() {
        paragraph("  ".to_owned(), &Ink::Faint.on(&plain(&format!("rule: {}", demo.rule))));
    }
    for verdict in &demo.verdicts {
        let because = if Some(&verdict.because) == demo.why.as_ref() { "" } else { &verdict.because };
        text += &claim(verdict.verdict, verdict.claim.says(), because, "  ", look);
    }
    if !demo.answer.is_empty() {
        text += "\n";
        text += &hanging("  ", &format!("Answer: {}", Ink::Strong.on(&plain(&demo.answer))), look.width);
    }
    text += "\n";
    for snippet in &demo.snippets {
        let copy = plain(&format!("to copy: {} (needs {})", snippet.path, snippet.needs));
        text += &hanging("  ", &Ink::Faint.on(&copy), look.width);
    }
    let took = format!("took {}", with_unit("s", demo.seconds));
    text += &hanging("  ", &Ink::Faint.on(&took), look.width);
    look.finish(&(text + "\n"))
}

/// The machine that all figures are of.
pub fn machine(machine: &Machine, look: Look) -> String {
    let look = look.usable();
    let text = |value: &Option<String>| plain(value.as_deref().unwrap_or(UNKNOWN));
    let number =
        |unit: &str, value: Option<f64>| value.map_or(UNKNOWN.to_owned(), |value| chosen_with_unit(unit, value));
    let logical = number("", machine.logical_cpus.map(|cpus| cpus as f64));
    let usable = number("", machine.usable_cpus);
    let memory = machine.memory_bytes.map_or(UNKNOWN.to_owned(), |bytes| with_unit("bytes", bytes as f64));
    let page = number("bytes", machine.page_bytes.map(|bytes| bytes as f64));
    let clock = number("ns", machine.clock_ns.map(|cost| cost as f64));
    let lines = [
        ("CPU", format!("{}; {logical} logical, {usable} usable", text(&machine.cpu))),
        ("memory", format!("{memory}, in pages of {page}; huge pages: {}", text(&machine.huge_pages))),
        ("kernel", format!("{}; in a virtual machine: {}", text(&machine.kernel), text(&machine.virtualized))),
        ("clock", format!("{}, {clock} a read", text(&machine.clock_source))),
        ("build", text(&machine.build)),
    ];
    let line = |(name, says): &(&str, String)| {
        hanging(&format!("  {}", Ink::Faint.on(&format!("{name:<8}"))), says, look.width)
    };
    look.finish(&format!("{}\n", lines.iter().map(line).collect::<String>()))
}

const UNKNOWN: &str = "unknown";

/// What the run left behind, and where nobody could look.
pub fn leftovers(leftovers: &Leftovers, look: Look) -> String {
    let look = look.usable();
    let (mut none, mut found, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (name, number) in leftovers.classes() {
        match number {
            Some(0) => none.push(name.to_owned()),
            Some(number) => found.push(format!("{name}: {}", count(number))),
            None => unknown.push(name.to_owned()),
        }
    }
    let mut text = String::new();
    let mut line = |words: String, names: &[String]| {
        text += &hanging("", &format!("{words} {}.", names.join(", ")), look.width);
    };
    if !found.is_empty() {
        line(Ink::Bad.on("LEFT BEHIND:"), &found);
    } else if !none.is_empty() {
        line(format!("{} no", Ink::Good.on("Nothing was left behind:")), &none);
    }
    if !unknown.is_empty() {
        line(Ink::Doubt.on("Not counted:"), &unknown);
    }
    look.finish(&text)
}

fn fact(fact: &Fact, look: Look) -> String {
    let tag = if fact.holds { Ink::Good.on("[ok]") } else { Ink::Bad.on("[FAILED]") };
    let says = plain(&fact.says);
    let text = match plain(&fact.got) {
        got if got.is_empty() => says,
        got => format!("{} (seen: {got})", says.trim_end_matches(['.', ':'])),
    };
    hanging(&format!("  {tag} "), &text, look.width)
}

fn trend(trend: &Trend, look: Look) -> String {
    let interval = match trend.low.zip(trend.high) {
        Some((low, high)) => format!("({} to {})", three_digits(low), three_digits(high)),
        None => "(of too few rounds for an interval)".to_owned(),
    };
    let ratio = format!("{} times as long", three_digits(trend.ratio));
    let says = plain(&trend.says);
    let text = if trend.clear {
        format!("{says}: {} {interval}", Ink::Strong.on(&ratio))
    } else {
        format!("{says}: {}, {ratio} {interval}", Ink::Doubt.on("too close to call"))
    };
    hanging("  - ", &text, look.width)
}

/// A verdict, the claim, and below it, further in, the sentence that decided.
fn claim(verdict: Verdict, says: &str, because: &str, indent: &str, look: Look) -> String {
    let start = format!("{indent}{}  ", verdict_word(verdict));
    let mut text = hanging(&start, &Ink::Strong.on(&plain(says)), look.width);
    if !because.trim().is_empty() {
        text += &hanging(&" ".repeat(width(&start) + 2), &plain(because), look.width);
    }
    text
}

/// A word that reads without its colour, as wide as the widest.
fn verdict_word(verdict: Verdict) -> String {
    let word = match verdict {
        Verdict::Holds => "holds",
        Verdict::Qualified => "qualified",
        Verdict::Refuted => "refuted",
        Verdict::Undecided => "undecided",
        Verdict::Skipped => "skipped",
        Verdict::Failed => "FAILED",
    };
    Ink::of(verdict).on(word) + &" ".repeat("undecided".len() - word.len())
}

/// A line across, with a name in it.
fn rule(line: char, name: &str, look: Look) -> String {
    let name = wrap::cut(name, look.width.saturating_sub(8));
    let rest = look.width.saturating_sub(width(&name) + 4);
    let (start, end) = (line.to_string().repeat(2), line.to_string().repeat(rest));
    format!("{} {} {}\n", Ink::Faint.on(&start), Ink::Strong.on(&name), Ink::Faint.on(&end))
}
