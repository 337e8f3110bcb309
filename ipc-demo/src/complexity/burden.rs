//! What does each mechanism ask of who uses it, and is that more than a channel between threads asks?

use shared::Ruling;

use crate::abilities::Deaths;

/// The counts of one mechanism, in the order of `COUNTS`; none of what could not be counted here.
#[derive(Clone, Debug)]
pub struct Burden {
    pub name: &'static str,
    pub counts: [Option<usize>; 4],
}

const COUNTS: [&str; 4] = ["lines", "places to fail", "system calls", "duties after crashes"];

/// What is left to do for who lives on, or comes after, when one side was killed.
pub fn duties(deaths: &Deaths) -> Vec<String> {
    let Deaths::OneSide { told, left, .. } = deaths else { return Vec::new() };
    let watch = ["both sides", "one side"].get(*told).map(|who| format!("watch the other ({who})"));
    let remove = left.iter().map(|what| match what.starts_with("port") {
        true => "reuse the port".to_owned(), // The kernel keeps it for a minute; SO_REUSEADDR binds it all the same.
        false => format!("remove the {what}"),
    });
    watch.into_iter().chain(remove).collect()
}

/// From the least to the most of each count, in words.
pub fn ranges(all: &[Burden]) -> [String; 4] {
    std::array::from_fn(|index| {
        let counts = || all.iter().filter_map(|one| one.counts[index]);
        match (counts().min(), counts().max()) {
            (Some(least), Some(most)) if least == most => least.to_string(),
            (Some(least), Some(most)) => format!("{least} to {most}"),
            _ => "uncounted".to_owned(),
        }
    })
}

/// By the rule that the demonstration declares.
pub fn ruling(processes: &[Burden], threads: &Burden) -> Ruling {
    // On which counts each asks for more; none where one of the two was not counted.
    let beyond = |one: &Burden| -> [Option<bool>; 4] {
        std::array::from_fn(|index| Some(one.counts[index]? > threads.counts[index]?))
    };
    let compared = processes.iter().map(|one| (one.name, beyond(one)));
    let tried: Vec<_> = compared.filter(|(_, beyond)| beyond.iter().any(Option::is_some)).collect();
    if tried.is_empty() {
        return Ruling::undecided("No mechanism between processes could be set beside a channel between threads");
    }
    let all = tried.len();
    let simple: Vec<&str> = tried.iter().filter(|(_, beyond)| *beyond == [Some(false); 4]).map(|one| one.0).collect();
    if let Some(one) = simple.first() {
        let number = simple.len();
        return Ruling::refuted(format!(
            "{number} of {all} mechanisms need no more than a channel on all counts, like {one}"
        ));
    }
    let more_in = |index: usize| {
        let counted = tried.iter().filter_map(move |(_, beyond)| beyond[index]);
        let (more, counted) = (counted.clone().filter(|more| *more).count(), counted.count());
        (counted > 0).then_some((COUNTS[index], more, counted))
    };
    let (always, not): (Vec<_>, Vec<_>) = (0..COUNTS.len()).filter_map(more_in).partition(|(_, more, all)| more == all);
    let Some((count, more, counted)) = not.iter().min_by_key(|(_, more, _)| more) else {
        return Ruling::holds(format!(
            "All {all} mechanisms need more {} than a channel between threads",
            named(&always)
        ));
    };
    let condition = match always.is_empty() {
        true => "true of no count for all mechanisms".to_owned(),
        false => format!("true of {}, not of {}", named(&always), named(&not)),
    };
    let because = format!("Only {more} of {counted} mechanisms ask for more {count} than a channel between threads");
    Ruling::in_part(condition, because)
}

fn named(counts: &[(&str, usize, usize)]) -> String {
    let names: Vec<&str> = counts.iter().map(|one| one.0).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// What the text of one smallest program says of the work that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    pub lines: usize,
    /// Where its writer says what happens if a call fails.
    pub can_fail: usize,
}

/// How a line says that a call can fail: it passes the error on, or asks.
const FAILURES: [&str; 5] = ["?", ".is_err()", ".is_ok_and(", ".unwrap()", "ensure!("];

/// Of the function of that name in the text: all from its first line to its closing brace; none if there is none.
pub fn used<'t>(text: &'t str, function: &str) -> Option<Used> {
    let head = format!("fn {function}(");
    let body: Vec<&str> = text.lines().skip_while(|line| !line.starts_with(&head)).collect();
    let end = body.iter().position(|line| *line == "}")?;
    let is_code = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let without_comment = |line: &&'t str| line.split(" // ").next().unwrap_or(line);
    let code: Vec<&str> = body[..=end].iter().filter(is_code).map(without_comment).collect();
    let failures = |line: &&str| FAILURES.iter().map(|sign| line.matches(sign).count()).sum::<usize>();
    Some(Used { lines: code.len(), can_fail: code.iter().map(failures).sum() })
}

#[cfg(test)]
mod tests {
    use shared::Verdict::{Holds, Qualified, Refuted, Undecided};

    use super::*;

    fn burden(counts: [Option<usize>; 4]) -> Burden {
        Burden { name: "it", counts }
    }

    #[test]
    fn the_verdict_follows_from_the_counts() {
        let threads = burden([Some(6), Some(3), Some(0), Some(0)]);
        let worse = burden([Some(9), Some(6), Some(2), Some(1)]);
        let clean = burden([Some(9), Some(6), Some(2), Some(0)]);
        let alike = burden([Some(6), Some(3), Some(0), Some(0)]);
        let verdict = |processes: &[Burden]| ruling(processes, &threads).verdict;
        assert_eq!(verdict(std::slice::from_ref(&worse)), Holds);
        assert_eq!(verdict(&[worse.clone(), clean.clone()]), Qualified);
        assert_eq!(verdict(&[worse.clone(), clean, alike]), Refuted);
        assert_eq!(verdict(&[burden([None; 4])]), Undecided);
        assert_eq!(verdict(&[worse, burden([None; 4])]), Holds);
        let hardly_counted = burden([None, None, None, Some(0)]); // Nobody knows whether it is as simple.
        assert_eq!(verdict(&[hardly_counted]), Qualified);
        assert_eq!(verdict(&[]), Undecided);
    }

    #[test]
    fn what_could_not_be_counted_has_no_say() {
        let threads = burden([Some(6), None, Some(0), Some(0)]);
        let ruling = ruling(&[burden([Some(9), Some(1), None, Some(1)])], &threads);
        assert_eq!(ruling.verdict, Holds);
        assert!(ruling.because.contains("more lines and duties"), "{}", ruling.because);
    }

    #[test]
    fn the_condition_names_what_is_true_and_what_is_not() {
        let threads = burden([Some(6), Some(3), Some(0), Some(0)]);
        let in_part = |counts| ruling(&[burden(counts)], &threads).condition.unwrap().says;
        assert_eq!(
            in_part([Some(9), None, Some(0), Some(0)]),
            "true of lines, not of system calls and duties after crashes"
        );
        assert_eq!(in_part([None, None, None, Some(0)]), "true of no count for all mechanisms");
    }

    #[test]
    fn who_is_not_told_must_watch_and_what_has_a_name_must_go() {
        let one_side =
            |told, left: &[&'static str]| Deaths::OneSide { told, lost: false, left: left.iter().copied().collect() };
        assert!(duties(&one_side(2, &[])).is_empty() && duties(&Deaths::BothSides).is_empty());
        assert_eq!(duties(&one_side(0, &["queue"])), ["watch the other (both sides)", "remove the queue"]);
        assert_eq!(duties(&one_side(1, &[])), ["watch the other (one side)"]);
        assert_eq!(duties(&one_side(2, &["port in TIME-WAIT"])), ["reuse the port"]);
    }

    #[test]
    fn a_program_ends_with_its_brace() {
        let text = "fn a(x: u8) -> R {\n    one()?;\n    // Two.\n    let b = two().is_err();\n}\n\nfn b() {\n}\n";
        assert_eq!(used(text, "a"), Some(Used { lines: 4, can_fail: 2 }));
        assert_eq!(used(text, "b"), Some(Used { lines: 2, can_fail: 0 }));
        assert_eq!(used(text, "c"), None);
    }
}
