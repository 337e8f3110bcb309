//! What does the whole tour say? One line for each demonstration, one entry for each claim.

use super::ink::Ink;
use super::verdict::{self, Finding};
use super::wrap::{hanging, plain, width};
use super::{Look, leftovers, machine, rule};
use crate::claims;
use crate::guide;
use crate::number::counted;
use crate::report::{ClaimReport, ClaimVerdict, Condition, DemoReport, Report, Status, TourReport, Verdict};

/// Everything: each program in full, then the scoreboard.
pub fn tour(tour: &TourReport, look: Look) -> String {
    let topics = tour.topics.iter().map(|topic| body(topic, look)).collect::<String>();
    let end = scoreboard(&tour.claims, look) + &guide(&tour.topics, look) + &leftovers(&tour.leftovers, look);
    machine(&tour.machine, look) + &topics + &end
}

/// One line: the verdict that decides most, the demonstration's name, its headline. Nothing is cut: who failed or was
/// skipped says why in as many lines as that takes.
pub fn tour_line(demo: &DemoReport, look: Look) -> String {
    let look = look.usable();
    let (verdict, condition, says) = deciding(demo);
    let (ink, word, sign) = match verdict {
        Some(verdict) => (Ink::of(verdict), verdict::word(verdict, condition), verdict::sign(verdict)),
        None => (Ink::Faint, "no claim", "."),
    };
    let gap = |used: usize, wanted: usize| " ".repeat(wanted.saturating_sub(used));
    let name = plain(&demo.name).replace('\n', " ");
    let name = format!("{name}{}", gap(width(&name), LONGEST_NAME));
    let start = if look.width >= ROOM_FOR_WORDS {
        format!("{}{}  {name}  ", ink.on(word), gap(word.len(), LONGEST_WORD))
    } else {
        format!("{} {name}  ", ink.on(sign))
    };
    look.finish(&hanging(&start, &plain(says), look.width))
}

const LONGEST_NAME: usize = "fork-with-threads".len();
const LONGEST_WORD: usize = "undecided".len();
/// Below it a sign stands for the verdict: that leaves a headline of 39 characters its line of 60 columns.
const ROOM_FOR_WORDS: usize = 70;

/// Every claim that was answered: where the articles are wrong or half right on top; then how many of each.
pub fn scoreboard(claims: &[ClaimReport], look: Look) -> String {
    let look = look.usable();
    let mut text = format!("\n{}\n", rule('━', "The claims", look));
    for verdict in ORDER {
        for claim in claims.iter().filter(|claim| claim.verdict == verdict) {
            let ClaimReport { says, condition, because, demos, .. } = claim;
            let (condition, by) = (condition.as_ref(), by_program(demos));
            text += &Finding { says, verdict, condition, because, by: &by }.lines("", look);
        }
    }
    text += "\n";
    text += &hanging("", &counts(claims), look.width);
    look.finish(&(text + "\n"))
}

/// One line on what disturbed the runs; nothing if nothing did.
pub fn disturbed(topics: &[Report], look: Look) -> String {
    let look = look.usable();
    let notices: Vec<usize> =
        topics.iter().flat_map(|topic| &topic.demos).map(|demo| demo.spoiled.len()).filter(|&some| some > 0).collect();
    if notices.is_empty() {
        return String::new();
    }
    let (all, demos) = (counted(notices.iter().sum(), "notice"), counted(notices.len(), "demonstration"));
    let says = format!("{all} of what disturbed {demos}: report.txt lists them.");
    look.finish(&format!("\n{}", hanging("", &format!("{} {says}", Ink::Doubt.on("Disturbed:")), look.width)))
}

/// "ipc-demo round-trip, shared-memory; race-demo append": each program once.
fn by_program(demos: &[String]) -> String {
    let named = |demo: &String| demo.split_once(' ').map(|(program, name)| (program.to_owned(), name.to_owned()));
    let named: Vec<(String, String)> = demos.iter().filter_map(named).collect();
    let of_one = |some: &[(String, String)]| {
        let names: Vec<&str> = some.iter().map(|(_, name)| name.as_str()).collect();
        format!("{} {}", some[0].0, names.join(", "))
    };
    named.chunk_by(|one, next| one.0 == next.0).map(of_one).collect::<Vec<_>>().join("; ")
}

/// How long work must be for a worker, or a message to it, to be cheap here; nothing without figures.
pub fn guide(topics: &[Report], look: Look) -> String {
    let look = look.usable();
    let sentences = guide::sentences(topics);
    if sentences.is_empty() {
        return String::new();
    }
    let lines = sentences.iter().map(|sentence| hanging("- ", &plain(sentence), look.width));
    look.finish(&format!("{}\n{}\n", rule('━', "Thread or process, on this machine", look), lines.collect::<String>()))
}

/// What tells a reader most comes first.
const ORDER: [Verdict; 6] =
    [Verdict::Refuted, Verdict::Qualified, Verdict::Failed, Verdict::Holds, Verdict::Undecided, Verdict::Skipped];

fn named(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "hold",
        Verdict::Qualified => "hold under a condition",
        Verdict::Refuted => "refuted",
        Verdict::Undecided => "undecided",
        Verdict::Skipped => "skipped",
        Verdict::Failed => "FAILED",
    }
}

fn counts(claims: &[ClaimReport]) -> String {
    let counted = ORDER.iter().filter_map(|&verdict| {
        let count = claims.iter().filter(|claim| claim.verdict == verdict).count();
        (count > 0).then(|| format!("{count} {}", Ink::of(verdict).on(named(verdict))))
    });
    let counted: Vec<String> = counted.collect();
    let of = format!("{} of {} claims answered", claims.len(), claims::Claim::ALL.len());
    let due = claims::due(claims).len();
    let due = if due > 0 { format!("; {due} are still due") } else { String::new() };
    let colon = if counted.is_empty() { "" } else { ": " };
    format!("{of}{colon}{}{due}.", counted.join(", "))
}

fn deciding(demo: &DemoReport) -> (Option<Verdict>, Option<&Condition>, &str) {
    let why = demo.why.as_deref().unwrap_or_default();
    match demo.status {
        Status::Failed => return (Some(Verdict::Failed), None, why),
        Status::Skipped => return (Some(Verdict::Skipped), None, why),
        Status::Ran => {}
    }
    let rank = |one: &&ClaimVerdict| ORDER.iter().position(|&verdict| verdict == one.ruling.verdict);
    let most = demo.verdicts.iter().min_by_key(rank).map(|one| &one.ruling);
    (most.map(|ruling| ruling.verdict), most.and_then(|ruling| ruling.condition.as_ref()), &demo.headline)
}

/// A program's report without the machine and the leftovers, which the tour tells once.
fn body(report: &Report, look: Look) -> String {
    let demos = report.demos.iter().map(|demo| super::demo(demo, look));
    super::topic(&report.topic, &report.version, report.effort, look) + "\n" + &demos.collect::<String>()
}
