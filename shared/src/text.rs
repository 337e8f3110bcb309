//! What does a report look like as text? Pure functions of report data, at a given width, with colour or without.

mod bars;
mod explained;
mod fact;
mod footer;
mod grid;
mod ink;
mod machine;
mod map;
mod table;
mod timeline;
mod tour;
mod verdict;
mod wrap;

use crate::number;
use crate::report::{Content, DemoReport, Effort, Item, Report, Trend};
pub use explained::{Rule, answered_by, claim, rules};
pub use footer::footer;
use ink::Ink;
pub use machine::{leftovers, machine};
pub use tour::{disturbed, guide, scoreboard, tour, tour_line};
pub(crate) use wrap::hanging;
use wrap::{plain, width};

/// How wide a line may be, whether words may have colour, and how much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub width: usize,
    pub color: bool,
    pub extent: Extent,
}

/// How much of a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The answer and what carries it; of the rest how much there is.
    Brief,
    /// Everything.
    Full,
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
    let contents = demo.content.iter().map(|one| item(one, look));
    header(&demo.name, &demo.question, look) + &contents.collect::<String>() + &footer(demo, look)
}

/// What stands above a demonstration before it runs.
pub fn header(name: &str, question: &str, look: Look) -> String {
    let look = look.usable();
    let question = hanging("", &Ink::Strong.on(&plain(question)), look.width);
    look.finish(&format!("{}{question}", rule('─', &plain(name), look)))
}

/// One thing that a demonstration tells; nothing where the look leaves it out.
pub fn item(item: &Item, look: Look) -> String {
    let always = matches!(item.content, Content::Fact(_)); // One that fails is never left out.
    if item.detail && look.extent == Extent::Brief && !always { String::new() } else { content(&item.content, look) }
}

/// The same of what is no detail.
pub fn content(content: &Content, look: Look) -> String {
    let look = look.usable();
    look.finish(&match (content, look.extent) {
        (Content::Say { text }, _) => hanging("  ", &plain(text), look.width),
        (Content::Fact(fact), Extent::Brief) => fact::brief(fact, look),
        (Content::Fact(fact), Extent::Full) => fact::full(fact, look),
        (Content::Table(table), _) => table::table(table, look),
        (Content::Comparison(comparison), Extent::Brief) => bars::comparison(comparison, look),
        (Content::Comparison(comparison), Extent::Full) => table::comparison(comparison, look),
        (Content::Timeline(timeline), _) => timeline::timeline(timeline, look),
        (Content::Map(map), _) => map::map(map, look),
        (Content::Trend(trend), _) => self::trend(trend, look),
    })
}

fn trend(trend: &Trend, look: Look) -> String {
    let interval = match trend.low.zip(trend.high) {
        Some((low, high)) => format!("({})", number::ratio_interval(trend.ratio, low, high)),
        None => "(of too few rounds for an interval)".to_owned(),
    };
    let ratio = number::ratio_in_words(trend.ratio);
    let says = plain(&trend.says);
    let text = if trend.clear {
        format!("{says}: {} {interval}", Ink::Strong.on(&ratio))
    } else {
        format!("{says}: {}, {ratio} {interval}", Ink::Doubt.on("too close to call"))
    };
    hanging("  - ", &text, look.width)
}

/// A line across, with a name in it.
fn rule(line: char, name: &str, look: Look) -> String {
    let rest = look.width.saturating_sub(width(name) + 4);
    let (start, end) = (line.to_string().repeat(2), line.to_string().repeat(rest));
    hanging("", &format!("{} {} {}", Ink::Faint.on(&start), Ink::Strong.on(name), Ink::Faint.on(&end)), look.width)
}
