//! Is what a run prints short and plain? Counts its words, for the programs' own tests.

use crate::report::{Content, DemoReport, Report, Status};
use crate::text::{self, Extent, Look};

/// Words at most: one stands between blanks; a number with its unit is one.
const HEADLINE: usize = 9;
const CONDITION: usize = 15;
const FACT: usize = 18;
const REASON: usize = 25;
const ANSWER: usize = 30;
const RULE: usize = 110;

/// Characters at most: with the sign and the name before it, the tour's line then has 60 columns.
const HEADLINE_COLUMNS: usize = 39;
/// The same of the advice, which stands on one line of 80.
const ADVICE_COLUMNS: usize = 70;
/// Lines at most of a demonstration at 80 columns, the machine above it and what is left below it included.
const LINES: usize = 40;

/// What is longer for a reason: the demonstration, the part, its words today. The list only ever shrinks.
const LONGER: &[(&str, &str, usize)] = &[];

/// Words of ours that the field has others for.
const OURS: [&str; 9] =
    ["way", "ways", "floor", "desk", "farewell", "seat", "seats", "message queue", "message queues"];

/// All that is too long or not plain, one sentence each.
pub fn complaints(report: &Report) -> Vec<String> {
    report.demos.iter().filter(|demo| demo.status == Status::Ran).flat_map(|demo| of_demo(demo, report)).collect()
}

fn of_demo(demo: &DemoReport, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut limit = |part: &str, most: usize, text: &str| {
        let (words, name) = (words(text), demo.name.as_str());
        let longer = LONGER.iter().find(|(demo, known, _)| *demo == name && *known == part);
        if words > longer.map_or(most, |(_, _, today)| *today) {
            wrong.push(format!("{name}: {part} has {words} words, {most} at most: {text}"));
        }
    };
    limit("headline", HEADLINE, &demo.headline);
    limit("answer", ANSWER, &demo.answer);
    limit("rule", RULE, &demo.rule);
    for fact in demo.all_facts() {
        limit("fact", FACT, &fact.says);
        limit("what was seen", FACT, &fact.got);
    }
    for one in &demo.verdicts {
        limit("reason", REASON, &one.ruling.because);
        limit("condition", CONDITION, one.ruling.condition.as_ref().map_or("", |condition| &condition.says));
    }
    let mut says = |what: String| wrong.push(format!("{}: {what}", demo.name));
    let columns = demo.headline.chars().count();
    if columns > HEADLINE_COLUMNS || !demo.headline.starts_with(|first: char| first.is_ascii_digit()) {
        says(format!("a headline starts with its number and has {HEADLINE_COLUMNS} characters: '{}'", demo.headline));
    }
    let names_one = |path: &String| path.rsplit(['/', '.']).nth(1).is_some_and(|stem| demo.advice.contains(stem));
    if demo.advice.chars().count() > ADVICE_COLUMNS || !demo.snippets.iter().any(names_one) {
        says(format!("advice names a snippet in one line of {ADVICE_COLUMNS} characters: '{}'", demo.advice));
    }
    if demo.facts().count() == 0 {
        says("it told no fact".to_owned());
    }
    if pictures(demo) != 1 {
        says(format!("{} tables, charts and timelines shown in short, one is to carry the answer", pictures(demo)));
    }
    let brief = Look { width: 80, color: false, extent: Extent::Brief };
    let whole = Report { demos: vec![demo.clone()], ..report.clone() };
    let lines = text::report(&whole, brief).lines().count();
    if lines > LINES {
        says(format!("{lines} lines at 80 columns, {LINES} at most"));
    }
    let full = text::demo(demo, Look { width: 80, color: false, extent: Extent::Full });
    wrong.extend(not_plain(&full.split_whitespace().collect::<Vec<_>>()).map(|says| format!("{}: {says}", demo.name)));
    wrong
}

/// Words of ours, and ratios below one: "0.0085 times", which people call "117 times faster".
fn not_plain<'a>(words: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    let bare = |word: &str| word.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase();
    (0..words.len()).filter_map(move |at| {
        let (one, next) = (bare(words[at]), words.get(at + 1).map(|word| bare(word)).unwrap_or_default());
        let context = words[at.saturating_sub(4)..words.len().min(at + 5)].join(" ");
        let ours = OURS.contains(&one.as_str()) || OURS.contains(&format!("{one} {next}").as_str());
        let below_one = one.starts_with("0.") && next == "times";
        (ours || below_one).then(|| format!("not plain, or not the field's word: '... {context} ...'"))
    })
}

/// How many words a reader meets.
pub fn words(text: &str) -> usize {
    const UNITS: [&str; 12] = ["ns", "us", "ms", "s", "B", "KiB", "MiB", "GiB", "%", "x", "times", "bytes"];
    let all: Vec<&str> = text.split_whitespace().collect();
    let is_number = |word: &str| word.trim_start_matches('(').starts_with(|first: char| first.is_ascii_digit());
    let is_unit = |word: &str| UNITS.contains(&word.trim_end_matches(|c: char| c.is_ascii_punctuation() && c != '%'));
    let units = all.windows(2).filter(|pair| is_number(pair[0]) && is_unit(pair[1])).count();
    all.len() - units
}

/// How many tables, charts, timelines and maps are shown in short.
fn pictures(demo: &DemoReport) -> usize {
    let is_picture = |content: &Content| !matches!(content, Content::Say { .. } | Content::Fact(_) | Content::Trend(_));
    demo.content.iter().filter(|item| !item.detail && is_picture(&item.content)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_its_unit_is_one_word() {
        assert_eq!(words("a ring takes 190 ns, a pipe 15.5 us (4 %)"), 8);
        assert_eq!(words("3 of 3 siblings"), 4);
        assert_eq!(words(""), 0);
    }

    #[test]
    fn words_of_ours_and_ratios_below_one_are_found() {
        let found = |text: &str| not_plain(&text.split_whitespace().collect::<Vec<_>>()).count();
        assert_eq!(found("The ring is 0.0085 times as long."), 1);
        assert_eq!(found("Of 5 ways, one by a message queue"), 2);
        assert_eq!(found("It is always 117 times faster by a POSIX queue."), 0);
    }
}
