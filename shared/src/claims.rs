//! The claims of two introductory articles on threads and processes.

mod answers;
mod board;

use serde::{Deserialize, Serialize};

pub use board::{Given, combine, due, scoreboard};

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

    /// As the document and the command line spell it: `ipc-adds-overhead`.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The claim of that name.
    pub fn named(name: &str) -> Option<Claim> {
        serde_json::from_value(name.into()).ok()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_claim_has_the_name_that_the_document_gives_it() {
        assert_eq!(Claim::IpcAddsOverhead.name(), "ipc-adds-overhead");
        assert_eq!(Claim::named("ipc-adds-overhead"), Some(Claim::IpcAddsOverhead));
        assert_eq!(Claim::named("no-such-claim"), None);
    }
}
