//! What does a message there and back cost, between threads and between processes?

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
mod overhead;
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
    question: "What does a message there and back cost, between threads and between processes?",
    claims: &[Claim::ProcessesNeedIpc, Claim::IpcAddsOverhead],
    rule: "Processes need these means: refuted if a child's change of an ordinary variable reaches its parent, or if \
           none of the means named does; qualified if a byte also gets across by one that is not named; else it \
           holds. It adds overhead: on two CPUs and on one, each way between processes is set against the same way \
           between threads, and the ring between processes against the fastest channel between threads; holds if the \
           processes are clearly slower in all of these, qualified if only in some, refuted if in none and clearly \
           faster in one, else undecided.",
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
        "First: can a process reach another one at all? Each child chooses a byte after the fork and sends it home.",
    );
    let ways = ways::try_all(&format!("/{}", stage.name("byte")), stage.directory())?;
    ways::tell(stage, &ways);

    let abilities = abilities::observe(stage.directory(), &stage.name("ability"))?; // It forks, so before any thread.
    stage.note(
        "Then: 64 bytes go to a peer and come back, different each time, checked by both sides, by each of these:",
    );
    stage.table(rows::legend());
    stage.note("CPU is what both sides compute for one round trip; all but one in a hundred took no longer than p99; ratio is to \
         the fastest row.");
    signal::block_first()?;
    let bench = Bench::new(stage);
    let mut measured: Vec<Placed> = Vec::new();
    if usable_cpus().len() < 2 {
        stage.note("There is one CPU for this program, so nothing can be said of two.");
    }
    for placement in pairs::placements(usable_cpus().len()) {
        measured.push((*placement, stage.compare(contests::all(*placement, &bench))?));
    }
    pairs::tell(stage, &measured);
    if let Some(break_even) = answer::break_even(&measured) {
        stage.note(break_even);
    }
    stage.note("The fastest is not the best for all: what else each way can do was tried out.");
    stage.table(abilities::table(&abilities));
    aside(stage, &bench)?;
    tally::tell(stage, &bench.rows.borrow());

    let (verdict, because) = ways::verdict(&ways);
    stage.verdict(Claim::ProcessesNeedIpc, verdict, because)?;
    let (verdict, because) = overhead::verdict(&overhead::pairings(&measured));
    match answer::price_of_the_border(&measured) {
        Some(price) => {
            stage.verdict_by(Claim::IpcAddsOverhead, verdict, because, price, "times a pipe between threads")?
        }
        None => stage.verdict(Claim::IpcAddsOverhead, verdict, because)?,
    }
    match answer::answer(&measured) {
        Some(answer) => stage.answer(answer),
        None => stage.skip("this machine refused the pipe, the ring or the channels, of which the answer is made"),
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
