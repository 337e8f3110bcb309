//! What do several demonstrations' verdicts on one claim say together?

use super::Claim;
use crate::report::{ClaimReport, Report, Ruling, Verdict};

/// A demonstration's verdict on a claim, with its place: `ipc-demo round-trip`.
pub struct Given<'a> {
    pub demo: String,
    pub ruling: &'a Ruling,
}

/// What several demonstrations' verdicts on one claim say together: the ruling, and who decided.
///
/// A failed one makes the claim failed. Those that decided (`holds`, `qualified`, `refuted`) give their verdict if they
/// agree. If they do not, it is true under a condition: one demonstration's, or, where another refutes it, in part.
/// Undecided and skipped ones count only where nothing decided; there, one that tried says more than one that could
/// not. Of several that say the same, the first one's sentence stands for all.
pub fn combine(given: &[Given<'_>]) -> (Ruling, Vec<String>) {
    let with = |wanted: &[Verdict]| -> Vec<&Given<'_>> {
        given.iter().filter(|one| wanted.contains(&one.ruling.verdict)).collect()
    };
    let decided = with(&[Verdict::Holds, Verdict::Qualified, Verdict::Refuted]);
    let ranks = [with(&[Verdict::Failed]), decided, with(&[Verdict::Undecided]), with(&[Verdict::Skipped])];
    let Some(deciding) = ranks.into_iter().find(|rank| !rank.is_empty()) else {
        return (Ruling::undecided("No demonstration answers it yet."), Vec::new());
    };
    let first_with = |verdict| deciding.iter().find(|one| one.ruling.verdict == verdict);
    let ruling =
        match (first_with(Verdict::Refuted), deciding.iter().find(|one| one.ruling.verdict != Verdict::Refuted)) {
            (Some(against), Some(_)) => {
                Ruling::in_part(format!("{} refutes it", against.demo), against.ruling.because.clone())
            }
            _ => first_with(Verdict::Qualified).unwrap_or(&deciding[0]).ruling.clone(),
        };
    (ruling, deciding.iter().map(|one| one.demo.clone()).collect())
}

/// Every claim that a demonstration answered, in the lecture's order, with what all of them say together.
pub fn scoreboard(topics: &[Report]) -> Vec<ClaimReport> {
    let all = || topics.iter().flat_map(|topic| topic.demos.iter().map(move |demo| (topic, demo)));
    let report = |&claim: &Claim| {
        let of_claim: Vec<Given<'_>> = all()
            .flat_map(|(topic, demo)| demo.verdicts.iter().map(move |one| (topic, demo, one)))
            .filter(|(_, _, one)| one.claim == claim)
            .map(|(topic, demo, one)| Given { demo: format!("{} {}", topic.topic, demo.name), ruling: &one.ruling })
            .collect();
        if of_claim.is_empty() {
            return None;
        }
        let (ruling, demos) = combine(&of_claim);
        let Ruling { verdict, condition, because, .. } = ruling;
        Some(ClaimReport { claim, says: claim.says().to_owned(), verdict, condition, because, demos })
    };
    Claim::ALL.iter().filter_map(report).collect()
}

/// The claims that no demonstration has answered yet.
pub fn due(answered: &[ClaimReport]) -> Vec<Claim> {
    let is_due = |claim: &Claim| answered.iter().all(|report| report.claim != *claim);
    Claim::ALL.iter().copied().filter(is_due).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::report::{ClaimVerdict, ConditionKind, DemoReport, Effort};
    use Verdict::{Failed, Holds, Qualified, Refuted, Skipped, Undecided};

    fn ruling(verdict: Verdict, because: &str) -> Ruling {
        match verdict {
            Qualified => Ruling::only_if(format!("if {because}"), because),
            plain => Ruling::plain(plain, because.to_owned()),
        }
    }

    fn combined(verdicts: &[(Verdict, &str)]) -> (Ruling, Vec<String>) {
        let all: Vec<Ruling> = verdicts.iter().map(|(verdict, because)| ruling(*verdict, because)).collect();
        let named = all.iter().enumerate().map(|(index, ruling)| Given { demo: format!("demo {index}"), ruling });
        combine(&named.collect::<Vec<_>>())
    }

    #[test]
    fn verdicts_that_agree_stay_what_they_are_and_the_first_sentence_stands_for_all() {
        for verdict in [Holds, Qualified, Refuted, Undecided, Skipped, Failed] {
            assert_eq!(combined(&[(verdict, "one")]), (ruling(verdict, "one"), vec!["demo 0".to_owned()]));
            let (both, demos) = combined(&[(verdict, "one"), (verdict, "two")]);
            assert_eq!((both, demos.len()), (ruling(verdict, "one"), 2));
        }
    }

    #[test]
    fn a_condition_that_one_demonstration_found_holds_for_the_claim() {
        for all in [[(Holds, "a"), (Qualified, "b")], [(Qualified, "b"), (Holds, "a")]] {
            assert_eq!(combined(&all).0, ruling(Qualified, "b"));
        }
    }

    #[test]
    fn where_one_refutes_it_and_another_does_not_it_holds_in_part_and_says_who_refutes_it() {
        for other in [Holds, Qualified] {
            let (both, demos) = combined(&[(other, "a"), (Refuted, "b")]);
            let condition = both.condition.unwrap();
            assert_eq!((both.verdict, condition.kind, both.because.as_str()), (Qualified, ConditionKind::InPart, "b"));
            assert_eq!((condition.says.as_str(), demos.len()), ("demo 1 refutes it", 2));
        }
    }

    #[test]
    fn undecided_and_skipped_count_only_where_nothing_decided() {
        for decided in [Holds, Qualified, Refuted] {
            let all = [(Undecided, "not seen"), (decided, "seen"), (Skipped, "no room")];
            assert_eq!(combined(&all), (ruling(decided, "seen"), vec!["demo 1".to_owned()]));
        }
        assert_eq!(combined(&[(Skipped, "no room"), (Undecided, "not seen")]).0, ruling(Undecided, "not seen"));
        assert_eq!(combined(&[]).0.verdict, Undecided);
    }

    #[test]
    fn one_failure_fails_the_claim() {
        for other in [Holds, Qualified, Refuted, Undecided, Skipped] {
            assert_eq!(combined(&[(other, "fine"), (Failed, "crashed")]).0, ruling(Failed, "crashed"));
        }
    }

    #[test]
    fn the_scoreboard_has_each_answered_claim_once_and_the_rest_are_due() {
        let demo = |name: &str, given: &[(Claim, Verdict)]| DemoReport {
            verdicts: given.iter().map(|&(claim, one)| ClaimVerdict { claim, ruling: ruling(one, name) }).collect(),
            ..DemoReport::new(name, "?", "")
        };
        let topic = Report {
            demos: vec![
                demo("a", &[(Claim::SharedVariablesRace, Holds), (Claim::OwnPid, Holds)]),
                demo("b", &[(Claim::SharedVariablesRace, Refuted)]),
            ],
            ..Report::new("race-demo", Effort::Quick, Machine::default())
        };
        let board = scoreboard(&[topic]);
        let short: Vec<_> = board.iter().map(|one| (one.claim, one.verdict, one.demos.join(", "))).collect();
        let both = "race-demo a, race-demo b".to_owned();
        assert_eq!(
            short,
            [(Claim::OwnPid, Holds, "race-demo a".to_owned()), (Claim::SharedVariablesRace, Qualified, both)]
        );
        let due = due(&board);
        assert_eq!(due.len(), Claim::ALL.len() - 2);
        assert!(!due.contains(&Claim::OwnPid) && due.contains(&Claim::OwnAddressSpace));
    }
}
