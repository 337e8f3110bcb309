//! What does the whole tour say? One line for each demonstration, one entry for each claim.

use super::wrap::{cut, hanging, plain, width};
use super::{Look, leftovers, machine, rule, verdict_word};
use crate::claims;
use crate::guide;
use crate::report::{ClaimReport, ClaimVerdict, DemoReport, Report, Status, TourReport, Verdict};

/// Everything: each program in full, then the scoreboard.
pub fn tour(tour: &TourReport, look: Look) -> String {
    let topics = tour.topics.iter().map(|topic| body(topic, look)).collect::<String>();
    let end = scoreboard(&tour.claims, look) + &guide(&tour.topics, look) + &leftovers(&tour.leftovers, look);
    machine(&tour.machine, look) + &topics + &end
}

/// One line: the verdict that decides most, the demonstration's name, the sentence that decided.
pub fn tour_line(demo: &DemoReport, look: Look) -> String {
    let look = look.usable();
    let (verdict, says) = deciding(demo);
    // One that answers no claim has no verdict, but an answer.
    let word = verdict.map_or(format!("{:width$}", "shown", width = NO_VERDICT), verdict_word);
    let start = format!("{word}  {:<18}  ", plain(&demo.name).replace('\n', " "));
    let room = look.width.saturating_sub(width(&start));
    look.finish(&format!("{}\n", format!("{start}{}", cut(&plain(says), room)).trim_end()))
}

/// Every claim that was answered: where the articles are wrong or half right on top; then how many of each.
pub fn scoreboard(claims: &[ClaimReport], look: Look) -> String {
    let look = look.usable();
    let mut text = format!("\n{}\n", rule('━', "The claims", look));
    for verdict in ORDER {
        for claim in claims.iter().filter(|claim| claim.verdict == verdict) {
            text += &super::claim(verdict, &claim.says, &claim.because, "", look);
        }
    }
    text += "\n";
    text += &hanging("", &counts(claims), look.width);
    look.finish(&(text + "\n"))
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

const NO_VERDICT: usize = "undecided".len(); // As wide as the widest verdict.

/// What tells a reader most comes first.
const ORDER: [Verdict; 6] =
    [Verdict::Refuted, Verdict::Qualified, Verdict::Failed, Verdict::Holds, Verdict::Undecided, Verdict::Skipped];

fn counts(claims: &[ClaimReport]) -> String {
    let counted = ORDER.iter().filter_map(|&verdict| {
        let count = claims.iter().filter(|claim| claim.verdict == verdict).count();
        let word = verdict_word(verdict);
        (count > 0).then(|| format!("{count} {}", word.trim_end()))
    });
    let counted: Vec<String> = counted.collect();
    let of = format!("{} of {} claims answered", claims.len(), claims::Claim::ALL.len());
    let due = claims::due(claims).len();
    let due = if due > 0 { format!("; {due} are still due") } else { String::new() };
    let colon = if counted.is_empty() { "" } else { ": " };
    format!("{of}{colon}{}{due}.", counted.join(", "))
}

fn deciding(demo: &DemoReport) -> (Option<Verdict>, &str) {
    let why = demo.why.as_deref().unwrap_or_default();
    match demo.status {
        Status::Failed => return (Some(Verdict::Failed), why),
        Status::Skipped => return (Some(Verdict::Skipped), why),
        Status::Ran => {}
    }
    let rank = |verdict: &&ClaimVerdict| ORDER.iter().position(|&one| one == verdict.verdict);
    demo.verdicts
        .iter()
        .min_by_key(rank)
        .map_or((None, demo.answer.as_str()), |verdict| (Some(verdict.verdict), verdict.because.as_str()))
}

/// A program's report without the machine and the leftovers, which the tour tells once.
fn body(report: &Report, look: Look) -> String {
    let demos = report.demos.iter().map(|demo| super::demo(demo, look));
    super::topic(&report.topic, &report.version, report.effort, look) + "\n" + &demos.collect::<String>()
}
