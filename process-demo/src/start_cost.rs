//! What does it cost to start a process instead of a thread, and why?

mod given;
mod latency;
mod verdicts;

use std::ffi::{CStr, CString};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use nix::errno::Errno;
use process_demo::start;
use shared::measure::{Contest, Measured, Ready, Rival, Timing};
use shared::number::with_unit;
use shared::stats::Ratio;
use shared::{Claim, Demo, Extras, Placement, RowRole, Snippet, Stage};

pub const DEMO: Demo = Demo {
    name: "start-cost",
    question: "What does it cost to start a process instead of a thread, and why?",
    claims: &[Claim::ProcessCreationDearer, Claim::ProcessesAreHeavier, Claim::AllocationIsTheCost],
    rule: "Creation is dearer if fork or std Command takes clearly longer than a std thread, neither clearly less; \
           holds only if by the slower, if the other takes less; refuted if one takes less, none longer. Processes \
           are heavier if a fork takes clearly longer, more page faults and page tables; holds in part if only time \
           or only counts say so; refuted if neither. Allocation is the cause if a fork is given more and each GiB \
           of the parent adds a tenth to both starts; holds only if by the one that clearly grows more; refuted if \
           neither grows or nothing more is given. Else undecided or skipped.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/start.rs", text: include_str!("../snippets/start.rs") },
        Snippet { path: "process-demo/snippets/resident.rs", text: include_str!("../snippets/resident.rs") },
        Snippet { path: "process-demo/snippets/system_calls.rs", text: include_str!("../snippets/system_calls.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let times = compare(stage)?;
    let against_thread = |label| times.ratio(label, THREAD, Placement::Free);
    let (Some(fork_ratio), Some(fork_ns)) = (against_thread(FORK), median_ns(&times, FORK)) else {
        stage.skip("a thread or a fork was refused: nothing can be compared");
        return Ok(());
    };
    let pools = latency::of_pools(stage)?;
    let worth = |measured, label| Some(format!("{} by {label}", with_unit("ns", median_ns(measured, label)? / LITTLE)));
    let new = [THREAD, FORK, COMMAND].into_iter().filter_map(|label| worth(&times, label));
    let waiting = [latency::POOL_THREAD, latency::POOL_PROCESS].into_iter().filter_map(|label| worth(&pools, label));
    let tasks = new.chain(waiting).collect::<Vec<_>>().join(", ");
    stage.note(format!("To begin a task costs under 5 % of it if it takes at least: {tasks}."));
    latency::of_the_first_line(stage)?;
    let given = given::count(stage)?;
    let growth = given::by_larger_parents(stage)?;

    let cost = |label: &str| median_ns(&times, label).map_or("an unknown time".to_owned(), |ns| with_unit("ns", ns));
    let command_ratio = against_thread(COMMAND).map(|ratio| (COMMAND, ratio));
    let ratios: Vec<(&str, Ratio)> = [(FORK, fork_ratio)].into_iter().chain(command_ratio).collect();
    stage.rule(Claim::ProcessCreationDearer, verdicts::dearer(&ratios, &cost))?;
    stage.rule(Claim::ProcessesAreHeavier, verdicts::heavier(&fork_ratio, given, &cost))?;
    stage.rule(Claim::AllocationIsTheCost, verdicts::allocation(given, &growth))?;
    let [thread, fork, command] = [THREAD, FORK, COMMAND].map(cost);
    stage.headline(format!("{fork} to fork, {thread} for a thread"));
    let [to_fork, to_command] = growth.map(|growth| growth.map_or("an unknown time".to_owned(), |one| one.in_words()));
    stage.answer(format!(
        "A thread takes {thread}, a fork {fork}, std Command {command}. Each GiB of the parent adds {to_fork} to a fork, \
         {to_command} to Command."
    ));
    let task = with_unit("ns", fork_ns / LITTLE);
    stage.advise(format!("Fork for a task of {task} or more: copy `start`. Below, keep a pool."));
    Ok(())
}

/// To begin a task costs little when it takes less than this part of the task.
const LITTLE: f64 = 0.05;

const THREAD: &str = "std thread";
const FORK: &str = "fork";
const SPAWN: &str = "posix_spawn";
const COMMAND: &str = "std Command";

/// Starts something, waits for its end, and returns the value that it ended with.
struct Mechanism {
    label: &'static str,
    start: fn() -> Result<u8>,
    ends_with: u8,
}

const VALUE: u8 = 42; // Any that a failure does not give: not 0, 1, 101 or 127.

const MECHANISMS: [Mechanism; 7] = [
    Mechanism { label: THREAD, start: || Ok(start::thread(VALUE)?), ends_with: VALUE },
    Mechanism { label: "pthread", start: || Ok(start::pthread(VALUE)?), ends_with: VALUE },
    Mechanism { label: FORK, start: || Ok(start::fork(VALUE)?), ends_with: VALUE },
    Mechanism { label: SPAWN, start: || Ok(start::posix_spawn(program()?)?), ends_with: 0 },
    // SAFETY: no signal handler is installed here but the runtime's own, for faults that the child does not have.
    Mechanism { label: "vfork and exec", start: || Ok(unsafe { start::vfork_and_exec(program()?) }?), ends_with: 0 },
    Mechanism { label: "fork and exec", start: || Ok(start::fork_and_exec(program()?)?), ends_with: 0 },
    Mechanism { label: COMMAND, start: || Ok(start::command(program()?)?), ends_with: 0 },
];

/// Does nothing, and exits with 0.
fn program() -> Result<&'static CStr> {
    static PATH: LazyLock<Option<CString>> = LazyLock::new(|| start::find("true"));
    PATH.as_deref().ok_or(Errno::ENOSYS).context("there is no program 'true' in PATH")
}

impl Mechanism {
    /// Starts so many, one after the other, and returns how many ended with the right value.
    fn start(&self, how_many: u64) -> Result<u64> {
        (0..how_many).map(|_| Ok(u64::from((self.start)()? == self.ends_with))).sum()
    }
}

fn compare(stage: &mut Stage) -> Result<Measured> {
    let differs_in = "what starts it (a program is 'true', which does nothing)";
    let mut contest = Contest::new("Start one, wait for its end", differs_in, Timing::Events).known_as("start");
    for mechanism in &MECHANISMS {
        let rival = Rival::of_processes(mechanism.label, Placement::Free, |_| {
            mechanism.start(1)?; // A refusal shows here, and becomes the row's reason.
            Ok(Ready::new(|steps| mechanism.start(steps).context("starting")))
        });
        // A role is for what a program would start its workers by; the others show where the time goes.
        contest.add(match mechanism.label {
            THREAD => rival.known_as(THREAD, RowRole::Threads),
            FORK | COMMAND => rival.known_as(mechanism.label, RowRole::Processes),
            SPAWN => rival.known_as(SPAWN, RowRole::Processes).in_detail(), // Command calls it where it can.
            _ => rival.in_detail(),
        });
    }
    let times = stage.show_comparison(contest)?;
    for label in ["pthread", FORK, COMMAND] {
        if let Some(ratio) = times.ratio(label, THREAD, Placement::Free) {
            stage.trend(format!("{label} against {THREAD}"), &ratio);
        }
    }
    Ok(times)
}

fn median_ns(measured: &Measured, label: &str) -> Option<f64> {
    Some(measured.figures(label, Placement::Free)?.median().value)
}
