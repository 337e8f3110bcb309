//! Which demonstrations answer a claim? A test holds this list against what the demonstrations declare.

use super::Claim;

impl Claim {
    /// The demonstrations that answer it, with their programs, in reading order; none where it is still due.
    pub fn answered_by(self) -> &'static [&'static str] {
        match self {
            Claim::OwnPid => &["process-demo address-space", "process-demo zombies"],
            Claim::OwnAddressSpace => &["process-demo address-space"],
            Claim::ManyThreadsInAProcess => &["threads-demo address-space"],
            Claim::OwnStackAndCounter => &["threads-demo address-space"],
            Claim::ThreadsRunConcurrently => &["threads-demo workers"],
            Claim::ThreadsShareMemory => &["threads-demo address-space"],
            Claim::ThreadsShareResources => &["threads-demo address-space", "process-demo inherit"],
            Claim::ProcessOwnsResources => &["process-demo inherit"],
            Claim::ThreadIsALightProcess => &["process-demo clone"],
            Claim::ProcessesNeedMemory => &["process-demo memory"],
            Claim::ProcessesAreHeavier => &["process-demo start-cost", "process-demo memory"],
            Claim::ProcessCreationDearer => &["process-demo start-cost"],
            Claim::AllocationIsTheCost => &["process-demo start-cost"],
            Claim::NewMemorySpace => &["process-demo copy-on-write"],
            Claim::RunsIndependently => &["process-demo supervise", "process-demo orphans"],
            Claim::ProcessesNeedIpc => &["ipc-demo round-trip"],
            Claim::IpcAddsOverhead => &["ipc-demo round-trip"],
            Claim::IpcIsComplex => &["ipc-demo complexity"],
            Claim::NoDirectSharing => &["ipc-demo shared-memory", "ipc-demo pass-fd"],
            Claim::ProcessesSynchronizeEasier => &["race-demo between-processes"],
            Claim::ThreadsUseLocks => &["sync-demo mutex", "sync-demo monitor"],
            Claim::OneAtATime => &["sync-demo mutex", "sync-demo semaphore"],
            Claim::SynchronizationPreventsInterference => &["race-demo lost-update", "race-demo between-processes"],
            Claim::SharedVariablesRace => &["race-demo lost-update"],
            Claim::OtherSyncProblems => &["sync-demo monitor"],
            Claim::GoesOnWhileWaiting => &["threads-demo background"],
            Claim::DividingIsMoreEfficient => &["process-demo split"],
            Claim::MoreThanAThreadCanHave => &["process-demo resources"],
            Claim::ProcessesSuitIndependentTasks => &["process-demo crash", "process-demo supervise"],
            Claim::ManagementDiffers => &["process-demo management", "process-demo limits"],
            Claim::PreforkServer => &["process-demo web-server"],
            Claim::BackgroundExample => &["threads-demo background"],
            Claim::WorkersExample => &["threads-demo workers", "process-demo workers"],
            Claim::ThreadsNeedNoMemory
            | Claim::ThreadsCommunicateEasier
            | Claim::ProcessesNeedComplexSync
            | Claim::ComplexPatternsEasier
            | Claim::RacesAreUnpredictable
            | Claim::ImmediatelyVisible
            | Claim::BetterResponsiveness
            | Claim::RendersReadsUpdates
            | Claim::EssentialForDesign => &[],
        }
    }
}
