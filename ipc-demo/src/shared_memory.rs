//! Once memory is shared, is the border between two processes free?

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
use shared::number::count;
use shared::{Claim, Demo, Extras, Snippet, Stage};

use exchange::{Tally, Traffic};
use overhead::Pairing;
use toll::Toll;

use crate::version;

pub const DEMO: Demo = Demo {
    name: "shared-memory",
    question: "Once memory is shared, is the border between two processes free?",
    claims: &[Claim::NoDirectSharing, Claim::IpcAddsOverhead],
    rule: "Processes share data directly if a change that one of them makes to a word is there when the other looks: \
           the claim holds if that is so of no kind of memory, is refuted if of every kind, ordinary variables too, and \
           is qualified if of some. Communication adds overhead: the ring between processes is set against the same \
           ring between threads and against the faster of two channels between threads, there and back and one way, \
           on two CPUs and on one; holds if it is clearly slower in all of these, qualified if only in some, refuted \
           if in none and clearly faster in one, else undecided.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let tally = Tally::default();
    sharing::tell(stage)?;
    let toll = toll::tell(stage, &tally)?;
    stage.note(format!(
        "Now the race: the same ring between two threads and between two processes, beside two channels between threads: \
         bounded({slots}) of crossbeam-channel {} and sync_channel({slots}) of std. On one CPU the sides take turns, and \
         each switch between processes changes the address space too.",
        version::of("crossbeam-channel"),
        slots = ways::SLOTS,
    ));
    let (borders, channels) = race(stage, &tally)?;
    exchange::tell(stage, &tally);
    danger::tell(stage)?;
    let pairings: Vec<&Pairing> = borders.iter().chain(&channels).collect();
    let (verdict, because) = overhead::verdict(&pairings);
    match borders.first() {
        Some(first) => {
            let times = "times the same ring between threads";
            stage.verdict_by(Claim::IpcAddsOverhead, verdict, because, first.ratio.ratio, times)?;
        }
        None => stage.verdict(Claim::IpcAddsOverhead, verdict, because)?,
    }
    stage.answer(answer(&borders, &toll));
    Ok(())
}

/// The ring between processes against the ring between threads, and against their channels.
fn race(stage: &mut Stage, tally: &Tally) -> Result<(Vec<Pairing>, Vec<Pairing>)> {
    let (mut borders, mut channels) = (Vec::new(), Vec::new());
    for traffic in [Traffic::RoundTrip, Traffic::OneWay] {
        let measured = stage.compare(overhead::contest(traffic, tally))?;
        borders.extend(overhead::borders(&measured, traffic));
        channels.extend(overhead::channels(&measured, traffic));
    }
    for pairing in borders.iter().chain(&channels) {
        stage.trend(pairing.says(), &pairing.ratio);
    }
    Ok((borders, channels))
}

fn answer(borders: &[Pairing], toll: &Toll) -> String {
    let faults = toll.faults.map_or(String::new(), |faults| {
        format!("; each process pays {} page faults to touch {} pages", count(faults), count(toll.pages as u64))
    });
    let calls = toll.calls.map_or(String::new(), |[ring, pipe]| {
        format!("; {} messages that nobody waits for take {ring} system calls, through a pipe {pipe}", told::MESSAGES)
    });
    let border = overhead::border_told(borders);
    format!("{border}{faults}{calls}; but lost updates and half-written records are shared too.")
}
