//! Can two processes share memory as threads do, and as cheaply?

mod additions;
mod danger;
mod exchange;
mod file;
mod kernel;
mod memory;
mod message;
mod overhead;
mod pointers;
mod seen;
mod series;
mod sharing;
mod told;
mod toll;
mod torn;
mod touch;
mod ways;

use anyhow::Result;
use shared::{Claim, Demo, Extras, Snippet, Stage};

use exchange::{Tally, Traffic};
use overhead::Pairing;

use crate::round_trip::overhead::{Against, Case, ruling};
use crate::version;

pub const DEMO: Demo = Demo {
    name: "shared-memory",
    question: "Can two processes share memory as threads do, and as cheaply?",
    claims: &[Claim::NoDirectSharing, Claim::IpcAddsOverhead],
    rule: "Data is shared if one process's change of a word is there when another looks. The claim holds \
           if no kind of memory shows that, is refuted if every kind does, ordinary variables too, and holds except for \
           those that do if some do. Overhead: the ring between processes is compared with itself between threads and with \
           the faster of two channels, there and back and one-way, on two CPUs and on one; all comparisons together at 99 %. Holds if clearly slower in all; \
           refuted if in none and clearly faster in one; undecided if neither. If in some: holds only if on one CPU, or \
           beside a channel (all those are); else in part.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let tally = Tally::default();
    let (shared, kinds) = sharing::tell(stage)?;
    toll::tell(stage, &tally)?;
    stage.note(format!(
        "Now the race: the same ring between two threads and between two processes, beside two channels between threads: \
         bounded({slots}) of crossbeam-channel {} and sync_channel({slots}) of std. On one CPU the sides take turns, and \
         each switch between processes changes the address space too.",
        version::of("crossbeam-channel"),
        slots = ways::SLOTS,
    ));
    let pairings = race(stage, &tally)?;
    exchange::tell(stage, &tally);
    danger::tell(stage)?;
    let cases = overhead::cases(&pairings);
    stage.rule(Claim::IpcAddsOverhead, ruling(&cases))?;
    let alike: Vec<&Case> = cases.iter().filter(|case| case.against == Against::ItselfByMemory).collect();
    let slower = alike.iter().filter(|case| case.ratio.is_slower()).count();
    let as_cheaply = match slower {
        _ if shared == 0 => "No",
        0 if alike.is_empty() => "Yes, at a cost unknown here",
        0 => "Yes",
        _ => "Yes, but not everywhere as cheaply",
    };
    stage.headline(format!("{shared} of {kinds} kinds of memory are shared"));
    stage.answer(format!(
        "{as_cheaply}: {shared} of {kinds} kinds of memory show every change, and in {slower} of {} comparisons a ring is \
         clearly slower than between threads.",
        alike.len()
    ));
    stage.advise("To share memory copy `shared_region`; for messages in it, `ring`.");
    Ok(())
}

/// The ring between processes against the ring between threads, and against their channels.
fn race(stage: &mut Stage, tally: &Tally) -> Result<Vec<Pairing>> {
    let mut pairings = Vec::new();
    for traffic in [Traffic::RoundTrip, Traffic::OneWay] {
        let measured = stage.compare(overhead::contest(traffic, tally))?;
        pairings.extend(overhead::borders(&measured, traffic));
        pairings.extend(overhead::channels(&measured, traffic));
    }
    for pairing in &pairings {
        stage.trend(pairing.says(), &pairing.ratio);
    }
    Ok(pairings)
}
