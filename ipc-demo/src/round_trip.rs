//! Does a message to another process cost more than one to another thread?

mod answer;
mod bench;
mod condvar;
mod contests;
mod crossbeam;
mod desk;
mod event;
mod exchange;
mod exit_status;
mod fifo;
mod futex;
mod ipc_channel;
mod message;
mod mpsc;
pub mod overhead;
mod pairs;
mod park;
mod pipe;
mod queue;
mod remote;
mod ring;
mod rows;
mod semaphore;
mod signal;
mod socket;
mod spin;
mod tally;
mod ways;

use anyhow::Result;
use shared::Placement::Free;
use shared::measure::usable_cpus;
use shared::{Claim, Demo, Extras, Snippet, Stage};

use crate::abilities;
use bench::Bench;
use pairs::Placed;

pub const DEMO: Demo = Demo {
    name: "round-trip",
    question: "Does a message to another process cost more than one to another thread?",
    claims: &[Claim::ProcessesNeedIpc, Claim::IpcAddsOverhead],
    rule: "Processes need these means: refuted if a child's change of an ordinary variable reaches its parent, or no named \
           mechanism brings its byte; holds except for others if they bring it too; else holds. Overhead: on two CPUs and \
           on one, each mechanism between processes is compared with itself between threads, the ring also with the \
           fastest channel; all comparisons together at 99 %. Holds if processes are clearly slower in all; refuted if \
           in none and one mechanism is clearly faster; undecided if neither. If in some: only if through the kernel (all those \
           are, and most of the kernel's), on one CPU, or beside a channel; else in part.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/fifo.rs", text: include_str!("../snippets/fifo.rs") },
        Snippet { path: "ipc-demo/snippets/socket_pair.rs", text: include_str!("../snippets/socket_pair.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
        Snippet { path: "ipc-demo/snippets/event.rs", text: include_str!("../snippets/event.rs") },
        Snippet { path: "ipc-demo/snippets/queued_signal.rs", text: include_str!("../snippets/queued_signal.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/typed.rs", text: include_str!("../snippets/typed.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "First: can a process reach another one at all? Each child chooses a byte after the fork and sends it to its parent; \
         the ending signal carries one bit of it.",
    );
    let ways = ways::try_all(&format!("/{}", stage.name("byte")), stage.directory())?;
    ways::tell(stage, &ways);

    let abilities = abilities::observe(stage.directory(), &stage.name("ability"))?; // It forks, so before any thread.
    stage.note(
        "Then: 64 bytes go to a peer and come back, different each time, checked by both sides, by each of these:",
    );
    stage.table(rows::legend());
    stage.note(
        "Of eventfd, signal, semaphore, futex, yield, spin, ring and park the bytes lie in memory that both sides see; the \
         mechanism only says when. CPU is what both sides compute for one round trip; all but one in a hundred took no \
         longer than p99; ratio is to the fastest row.",
    );
    signal::block_first()?;
    let bench = Bench::new(stage);
    let mut measured: Vec<Placed> = Vec::new();
    if usable_cpus().len() < 2 {
        stage.note("There is one CPU for this program, so nothing can be said of two.");
    }
    for placement in pairs::placements(usable_cpus().len()) {
        let contest = contests::all(*placement, &bench);
        let found = match measured.is_empty() {
            true => stage.show_comparison(contest.known_as("round-trip"))?,
            false => stage.compare(contest)?,
        };
        measured.push((*placement, found));
    }
    pairs::tell(stage, &measured);
    if let Some(break_even) = answer::break_even(&measured) {
        stage.note(break_even);
    }
    stage.note("The fastest is not the best for all: what else each mechanism can do was tried out.");
    stage.table(abilities::table(&abilities));
    aside(stage, &bench)?;
    tally::tell(stage, &bench.rows.borrow());

    stage.rule(Claim::ProcessesNeedIpc, ways::ruling(&ways))?;
    stage.rule(Claim::IpcAddsOverhead, overhead::ruling(&overhead::cases(&measured)))?;
    if answer::tell(stage, &measured).is_none() {
        stage.skip("this machine refused the pipe or the ring, of which the answer is made");
    }
    Ok(())
}

/// What would spoil the comparison above, or has no place in it.
fn aside(stage: &mut Stage, bench: &Bench) -> Result<()> {
    stage.note(
        "Four questions are left, each with a table of its own: where does the kernel put the two if nobody pins them, \
         what do the calls cost without the waiting, what does spinning do on one CPU, and what does a whole process \
         for each answer cost?",
    );
    stage.compare(contests::all(Free, bench))?;
    let beside_nobody = stage.compare(contests::beside_nobody(bench))?;
    if let Some(share) = answer::share_of_the_calls(&beside_nobody) {
        stage.note(share);
    }
    stage.compare(contests::spinning_on_one_cpu(bench))?;
    stage.note("Who spins on a CPU that both share keeps it from the one who would answer, for whole time slices.");
    stage.compare(exit_status::contest(bench))?;
    Ok(())
}
