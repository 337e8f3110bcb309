//! What does each way ask of who uses it, and is that more than a channel between threads asks?

use shared::Verdict::{self, Holds, Qualified, Refuted, Undecided};

use crate::abilities::Afterwards;

/// The counts of one way; none of what could not be counted here.
#[derive(Clone, Debug, Default)]
pub struct Burden {
    pub name: &'static str,
    pub lines: Option<usize>,
    pub can_fail: Option<usize>,
    /// For set-up and one message.
    pub system_calls: Option<usize>,
    pub duties: Option<usize>,
}

const COUNTS: [&str; 4] = ["lines", "places to fail", "system calls", "duties after a crash"];

impl Burden {
    fn counts(&self) -> [Option<usize>; 4] {
        [self.lines, self.can_fail, self.system_calls, self.duties]
    }

    /// On which counts it asks for more; none where one of the two was not counted.
    fn beyond(&self, other: &Burden) -> [Option<bool>; 4] {
        let (ours, theirs) = (self.counts(), other.counts());
        std::array::from_fn(|index| Some(ours[index]? > theirs[index]?))
    }
}

/// What is left to do for who lives on, or comes after, when one side was killed; none if that was not seen.
pub fn duties(crash: &Afterwards) -> Option<Vec<String>> {
    let (told, left) = match crash {
        Afterwards::Skipped(_) => return None,
        Afterwards::DiesToo => return Some(Vec::new()),
        Afterwards::LivesOn { told, left, .. } => (*told, left),
    };
    let sides = ["both sides", "one side"];
    let watch = sides.get(told).map(|who| format!("watch the other ({who})"));
    let remove = left.iter().map(|what| match what.starts_with("port") {
        true => "reuse the port".to_owned(), // The kernel keeps it for a minute; SO_REUSEADDR binds it all the same.
        false => format!("remove the {what}"),
    });
    Some(watch.into_iter().chain(remove).collect())
}

/// By the rule that the demonstration declares.
pub fn verdict(ways: &[Burden], threads: &Burden) -> (Verdict, String) {
    let compared: Vec<(&Burden, [Option<bool>; 4])> = ways.iter().map(|way| (way, way.beyond(threads))).collect();
    let tried: Vec<_> = compared.iter().filter(|(_, beyond)| beyond.iter().any(Option::is_some)).collect();
    if tried.is_empty() {
        return (Undecided, "no way between processes could be set beside a channel between threads".to_owned());
    }
    let simple: Vec<&str> =
        tried.iter().filter(|(_, beyond)| *beyond == [Some(false); 4]).map(|(way, _)| way.name).collect();
    let everywhere = tried.iter().all(|(_, beyond)| !beyond.contains(&Some(false)));
    let more = |index: usize| {
        let counted = tried.iter().filter_map(|(_, beyond)| beyond[index]);
        let (more, all) = (counted.clone().filter(|more| *more).count(), counted.count());
        (all > 0).then(|| format!("more {} in {more} of {all}", COUNTS[index]))
    };
    let seen: Vec<String> = (0..COUNTS.len()).filter_map(more).collect();
    let seen = format!("beside '{}' the ways between processes need {}", threads.name, seen.join(", "));
    match (simple.is_empty(), everywhere) {
        (false, _) => (Refuted, format!("{seen}; as simple on every count: {}", simple.join(", "))),
        (true, true) => (Holds, seen),
        (true, false) => (Qualified, seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(counts: [Option<usize>; 4]) -> Burden {
        let [lines, can_fail, system_calls, duties] = counts;
        Burden { name: "it", lines, can_fail, system_calls, duties }
    }

    #[test]
    fn the_verdict_follows_from_the_counts() {
        let threads = way([Some(6), Some(3), Some(0), Some(0)]);
        let worse = way([Some(9), Some(6), Some(2), Some(1)]);
        let clean = way([Some(9), Some(6), Some(2), Some(0)]);
        let alike = way([Some(6), Some(3), Some(0), Some(0)]);
        assert_eq!(verdict(std::slice::from_ref(&worse), &threads).0, Holds);
        assert_eq!(verdict(&[worse.clone(), clean.clone()], &threads).0, Qualified);
        assert_eq!(verdict(&[worse.clone(), clean, alike], &threads).0, Refuted);
        assert_eq!(verdict(&[way([None; 4])], &threads).0, Undecided);
        assert_eq!(verdict(&[worse, way([None; 4])], &threads).0, Holds);
        let hardly_counted = way([None, None, None, Some(0)]); // Nobody knows whether it is as simple.
        assert_eq!(verdict(&[hardly_counted], &threads).0, Qualified);
        assert_eq!(verdict(&[], &threads).0, Undecided);
    }

    #[test]
    fn what_could_not_be_counted_has_no_say() {
        let threads = way([Some(6), None, Some(0), Some(0)]);
        let (verdict, because) = verdict(&[way([Some(9), Some(1), None, Some(1)])], &threads);
        assert_eq!(verdict, Holds);
        assert!(because.contains("more lines in 1 of 1, more duties"), "{because}");
    }

    #[test]
    fn who_is_not_told_must_watch_and_what_has_a_name_must_go() {
        let lives_on = |told, left: &[&str]| Afterwards::LivesOn {
            told,
            lost: 0,
            left: left.iter().map(|what| (*what).to_owned()).collect(),
        };
        assert_eq!(duties(&lives_on(2, &[])), Some(vec![]));
        assert_eq!(duties(&lives_on(0, &["queue"])).unwrap(), ["watch the other (both sides)", "remove the queue"]);
        assert_eq!(duties(&lives_on(2, &["port in TIME-WAIT"])).unwrap(), ["reuse the port"]);
        assert_eq!(duties(&Afterwards::DiesToo), Some(vec![]));
        assert_eq!(duties(&Afterwards::Skipped("refused".to_owned())), None);
    }
}
