//! The claims of two introductory articles on threads and processes, and the rules that combine verdicts on them.

use serde::{Deserialize, Serialize};

use crate::report::{ClaimReport, ClaimVerdict, DemoReport, Verdict};

/// One claim, in the order in which a lecture would meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    OwnPid,
    OwnAddressSpace,
    ManyThreadsInAProcess,
    OwnStackAndCounter,
    ThreadsRunConcurrently,
    ThreadsShareMemory,
    ThreadsShareResources,
    ProcessOwnsResources,
    ThreadIsALightProcess,
    ProcessesNeedMemory,
    ThreadsNeedNoMemory,
    ProcessesAreHeavier,
    ProcessCreationDearer,
    AllocationIsTheCost,
    NewMemorySpace,
    RunsIndependently,
    ProcessesNeedIpc,
    IpcAddsOverhead,
    IpcIsComplex,
    NoDirectSharing,
    ThreadsCommunicateEasier,
    ProcessesSynchronizeEasier,
    ProcessesNeedComplexSync,
    ThreadsUseLocks,
    ComplexPatternsEasier,
    OneAtATime,
    SynchronizationPreventsInterference,
    SharedVariablesRace,
    OtherSyncProblems,
    RacesAreUnpredictable,
    ImmediatelyVisible,
    GoesOnWhileWaiting,
    BetterResponsiveness,
    RendersReadsUpdates,
    DividingIsMoreEfficient,
    MoreThanAThreadCanHave,
    ProcessesSuitIndependentTasks,
    ManagementDiffers,
    PreforkServer,
    BackgroundExample,
    WorkersExample,
    EssentialForDesign,
}

impl Claim {
    /// Every claim, each once.
    pub const ALL: &[Claim] = &[
        Claim::OwnPid,
        Claim::OwnAddressSpace,
        Claim::ManyThreadsInAProcess,
        Claim::OwnStackAndCounter,
        Claim::ThreadsRunConcurrently,
        Claim::ThreadsShareMemory,
        Claim::ThreadsShareResources,
        Claim::ProcessOwnsResources,
        Claim::ThreadIsALightProcess,
        Claim::ProcessesNeedMemory,
        Claim::ThreadsNeedNoMemory,
        Claim::ProcessesAreHeavier,
        Claim::ProcessCreationDearer,
        Claim::AllocationIsTheCost,
        Claim::NewMemorySpace,
        Claim::RunsIndependently,
        Claim::ProcessesNeedIpc,
        Claim::IpcAddsOverhead,
        Claim::IpcIsComplex,
        Claim::NoDirectSharing,
        Claim::ThreadsCommunicateEasier,
        Claim::ProcessesSynchronizeEasier,
        Claim::ProcessesNeedComplexSync,
        Claim::ThreadsUseLocks,
        Claim::ComplexPatternsEasier,
        Claim::OneAtATime,
        Claim::SynchronizationPreventsInterference,
        Claim::SharedVariablesRace,
        Claim::OtherSyncProblems,
        Claim::RacesAreUnpredictable,
        Claim::ImmediatelyVisible,
        Claim::GoesOnWhileWaiting,
        Claim::BetterResponsiveness,
        Claim::RendersReadsUpdates,
        Claim::DividingIsMoreEfficient,
        Claim::MoreThanAThreadCanHave,
        Claim::ProcessesSuitIndependentTasks,
        Claim::ManagementDiffers,
        Claim::PreforkServer,
        Claim::BackgroundExample,
        Claim::WorkersExample,
        Claim::EssentialForDesign,
    ];

    /// The claim in our own words.
    pub fn says(self) -> &'static str {
        match self {
            Claim::OwnPid => "A process is a running program with an identifier of its own",
            Claim::OwnAddressSpace => {
                "Each process has its own memory and changes its variables without affecting others"
            }
            Claim::ManyThreadsInAProcess => "A thread is a unit of execution inside a process; a process holds many",
            Claim::OwnStackAndCounter => "Each thread has its own stack, program counter and local variables",
            Claim::ThreadsRunConcurrently => "Threads execute concurrently",
            Claim::ThreadsShareMemory => "Threads share memory and talk through shared variables",
            Claim::ThreadsShareResources => "Threads share system resources (open files, connections)",
            Claim::ProcessOwnsResources => {
                "A process owns its memory, program counter, stack, open files and connections"
            }
            Claim::ThreadIsALightProcess => "A thread is a lightweight process (or a sub-process)",
            Claim::ProcessesNeedMemory => "Each process needs its own allocation, so many are resource-intensive",
            Claim::ThreadsNeedNoMemory => "Threads need no memory allocation of their own",
            Claim::ProcessesAreHeavier => "Processes are heavier than threads",
            Claim::ProcessCreationDearer => "Creating a process costs more than creating a thread",
            Claim::AllocationIsTheCost => {
                "Creating a process costs more because new memory and resources must be allocated"
            }
            Claim::NewMemorySpace => "A new process gets a new memory space",
            Claim::RunsIndependently => "A process runs on independently of the others",
            Claim::ProcessesNeedIpc => "Processes must communicate by pipes, sockets, queues or shared memory",
            Claim::IpcAddsOverhead => "Inter-process communication adds overhead",
            Claim::IpcIsComplex => "Inter-process communication is complex to implement",
            Claim::NoDirectSharing => "Processes cannot directly share data",
            Claim::ThreadsCommunicateEasier => "Threads communicate and synchronize more easily",
            Claim::ProcessesSynchronizeEasier => "Processes are easier to synchronize, with less risk of races",
            Claim::ProcessesNeedComplexSync => "Processes need more complex synchronization: semaphores, monitors",
            Claim::ThreadsUseLocks => "Threads use locks and condition variables",
            Claim::ComplexPatternsEasier => "Shared variables make complex synchronization patterns easier",
            Claim::OneAtATime => "Locks, mutexes, semaphores and monitors admit only one at a time",
            Claim::SynchronizationPreventsInterference => "Synchronization keeps threads or processes from interfering",
            Claim::SharedVariablesRace => "Shared variables lead to race conditions if not used properly",
            Claim::OtherSyncProblems => "Shared variables lead to other synchronization problems too",
            Claim::RacesAreUnpredictable => "Races give unpredictable results",
            Claim::ImmediatelyVisible => "A thread's change is immediately visible to all other threads",
            Claim::GoesOnWhileWaiting => "With threads a program goes on while a long task runs (network, computation)",
            Claim::BetterResponsiveness => "Threads improve responsiveness",
            Claim::RendersReadsUpdates => "A threaded program renders, reads input and updates its display at once",
            Claim::DividingIsMoreEfficient => "A large task divided into concurrent pieces is done more efficiently",
            Claim::MoreThanAThreadCanHave => {
                "Processes suit tasks that need more resources than one thread can provide"
            }
            Claim::ProcessesSuitIndependentTasks => "Processes suit independent tasks, threads interactive programs",
            Claim::ManagementDiffers => "Threads and processes differ in creation, management and resource allocation",
            Claim::PreforkServer => "A web server handles requests in several processes at once",
            Claim::BackgroundExample => "A five-second task runs in a background thread while the main thread goes on",
            Claim::WorkersExample => {
                "Five threads and five processes run the same worker: started, two seconds, finished"
            }
            Claim::EssentialForDesign => "Knowing the difference is essential for designing concurrent systems",
        }
    }
}

/// What several demonstrations' verdicts on one claim say together, with the sentences that decided.
///
/// A failed one makes the claim failed. Those that decided (`holds`, `qualified`, `refuted`) give their verdict if they
/// agree; if they do not, the claim is true under a condition: `qualified`, with all their sentences. Undecided and
/// skipped ones count only where nothing decided; there, one that tried says more than one that could not.
pub fn combine(verdicts: &[&ClaimVerdict]) -> (Verdict, String) {
    let with = |wanted: &[Verdict]| -> Vec<&ClaimVerdict> {
        verdicts.iter().copied().filter(|given| wanted.contains(&given.verdict)).collect()
    };
    let decided = with(&[Verdict::Holds, Verdict::Qualified, Verdict::Refuted]);
    let ways = [with(&[Verdict::Failed]), decided, with(&[Verdict::Undecided]), with(&[Verdict::Skipped])];
    let Some(deciding) = ways.iter().find(|given| !given.is_empty()) else {
        return (Verdict::Undecided, "no demonstration answers it yet".to_owned());
    };
    let first = deciding[0].verdict;
    let agree = deciding.iter().all(|given| given.verdict == first);
    (if agree { first } else { Verdict::Qualified }, sentences(deciding))
}

/// Every claim that a demonstration answered, in the lecture's order, with what all of them say together.
pub fn scoreboard<'a>(demos: impl Iterator<Item = &'a DemoReport>) -> Vec<ClaimReport> {
    let given: Vec<&ClaimVerdict> = demos.flat_map(|demo| &demo.verdicts).collect();
    let report = |&claim: &Claim| {
        let of_claim: Vec<&ClaimVerdict> = given.iter().copied().filter(|verdict| verdict.claim == claim).collect();
        if of_claim.is_empty() {
            return None;
        }
        let (verdict, because) = combine(&of_claim);
        Some(ClaimReport { claim, says: claim.says().to_owned(), verdict, because })
    };
    Claim::ALL.iter().filter_map(report).collect()
}

/// The claims that no demonstration has answered yet.
pub fn due(answered: &[ClaimReport]) -> Vec<Claim> {
    let is_due = |claim: &Claim| answered.iter().all(|report| report.claim != *claim);
    Claim::ALL.iter().copied().filter(is_due).collect()
}

/// A lone sentence as it is; several, each said once, with the stops that keep them apart.
fn sentences(verdicts: &[&ClaimVerdict]) -> String {
    let mut different: Vec<&str> = Vec::new();
    for verdict in verdicts {
        let sentence = verdict.because.trim();
        if !sentence.is_empty() && !different.contains(&sentence) {
            different.push(sentence);
        }
    }
    match different.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        several => several.iter().map(|text| full(text)).collect::<Vec<_>>().join(" "),
    }
}

/// With a capital at its start and a stop at its end.
fn full(sentence: &str) -> String {
    let mut rest = sentence.trim_end_matches('.').chars();
    let first = rest.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(rest).chain(['.']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Status;
    use Verdict::{Failed, Holds, Qualified, Refuted, Skipped, Undecided};

    fn given(claim: Claim, verdict: Verdict, because: &str) -> ClaimVerdict {
        ClaimVerdict { claim, verdict, because: because.to_owned(), value: None, unit: None }
    }

    fn combined(verdicts: &[(Verdict, &str)]) -> (Verdict, String) {
        let all: Vec<_> = verdicts.iter().map(|(verdict, text)| given(Claim::OwnPid, *verdict, text)).collect();
        combine(&all.iter().collect::<Vec<_>>())
    }

    fn demo(verdicts: Vec<ClaimVerdict>) -> DemoReport {
        DemoReport {
            name: "x".to_owned(),
            question: "x?".to_owned(),
            answer: String::new(),
            rule: String::new(),
            spoiled: vec![],
            seconds: 0.0,
            status: Status::Ran,
            why: None,
            verdicts,
            content: vec![],
            snippets: vec![],
        }
    }

    #[test]
    fn every_claim_is_listed_once_in_its_order() {
        assert!(Claim::ALL.is_sorted_by(|one, next| one < next));
        assert_eq!(Claim::ALL.len(), Claim::EssentialForDesign as usize + 1);
    }

    #[test]
    fn every_claim_is_a_sentence_of_its_own() {
        for claim in Claim::ALL {
            let says = claim.says();
            assert!(says.starts_with(char::is_uppercase) && !says.ends_with('.'), "{says}");
            assert_eq!(Claim::ALL.iter().filter(|other| other.says() == says).count(), 1, "{says}");
        }
    }

    #[test]
    fn verdicts_that_agree_stay_what_they_are() {
        for verdict in [Holds, Qualified, Refuted, Undecided, Skipped, Failed] {
            assert_eq!(combined(&[(verdict, "one")]), (verdict, "one".to_owned()));
            assert_eq!(combined(&[(verdict, "One."), (verdict, "two")]), (verdict, "One. Two.".to_owned()));
            assert_eq!(combined(&[(verdict, "one"), (verdict, "one")]), (verdict, "one".to_owned()));
        }
    }

    #[test]
    fn those_that_decided_and_differ_make_it_qualified_with_every_sentence() {
        for (one, other) in [(Holds, Refuted), (Refuted, Holds), (Holds, Qualified), (Qualified, Refuted)] {
            assert_eq!(combined(&[(one, "A"), (other, "B")]), (Qualified, "A. B.".to_owned()));
        }
    }

    #[test]
    fn undecided_and_skipped_count_only_where_nothing_decided() {
        for decided in [Holds, Qualified, Refuted] {
            let all = [(Undecided, "not seen"), (decided, "seen"), (Skipped, "no room")];
            assert_eq!(combined(&all), (decided, "seen".to_owned()));
        }
        assert_eq!(combined(&[(Skipped, "no room"), (Undecided, "not seen")]), (Undecided, "not seen".to_owned()));
        assert_eq!(combined(&[]).0, Undecided);
    }

    #[test]
    fn one_failure_fails_the_claim() {
        for other in [Holds, Qualified, Refuted, Undecided, Skipped] {
            assert_eq!(combined(&[(other, "fine"), (Failed, "crashed")]), (Failed, "crashed".to_owned()));
        }
    }

    #[test]
    fn the_scoreboard_has_each_answered_claim_once_and_the_rest_are_due() {
        let demos = [
            demo(vec![given(Claim::SharedVariablesRace, Holds, "a"), given(Claim::OwnPid, Holds, "b")]),
            demo(vec![given(Claim::SharedVariablesRace, Refuted, "c")]),
        ];
        let board = scoreboard(demos.iter());
        let short: Vec<_> = board.iter().map(|one| (one.claim, one.verdict, one.because.as_str())).collect();
        assert_eq!(short, [(Claim::OwnPid, Holds, "b"), (Claim::SharedVariablesRace, Qualified, "A. C.")]);
        let due = due(&board);
        assert_eq!(due.len(), Claim::ALL.len() - 2);
        assert!(!due.contains(&Claim::OwnPid) && due.contains(&Claim::OwnAddressSpace));
    }
}
