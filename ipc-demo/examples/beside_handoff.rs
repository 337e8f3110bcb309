//! How near does the ring come to the least that this machine can do? Run it in release, on a quiet machine.
//!
//! ```text
//! cargo run --release -p ipc-demo --example beside_handoff -- [--rounds N]
//! ```
//!
//! Each row sets the ring beside a bare hand-off, a pipe, a channel between threads, a memcpy or a bare futex, in the
//! same run, in alternating rounds. 'Copying' is the pair of ends that trusts nobody; 'in place' lends the bytes of its
//! slots to a peer that is trusted. Every message is filled by one side and checked by the other; of the timed 64 KiB
//! only number and length, at both ends, for their whole contents were checked before. Exits with 1 if a ratio was not
//! reached.

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use figures::{Figures, table};
use shared::Placement::{OtherCpu, SameCpu};
use shared::report::Content;
use shared::text::{self, Extent, Look};

#[path = "beside_handoff/figures.rs"]
mod figures;
#[path = "beside_handoff/idle.rs"]
mod idle;
#[path = "beside_handoff/one_way.rs"]
mod one_way;
#[path = "beside_handoff/peer.rs"]
mod peer;
#[path = "beside_handoff/round_trip.rs"]
mod round_trip;

const ROUNDS: usize = 41;
const LOOK: Look = Look { width: 120, color: false, extent: Extent::Full };

fn main() -> Result<ExitCode> {
    let rounds = rounds()?;
    let mut figures = Figures::default();
    figures.of(round_trip::contest(OtherCpu), rounds, round_trip::ON_TWO_CPUS)?;
    figures.of(round_trip::contest(SameCpu), rounds, round_trip::ON_ONE_CPU)?;
    figures.of(one_way::of_small(), rounds.div_ceil(2), one_way::SMALL)?; // 21 of 41.
    figures.of(one_way::of_large(), rounds.div_ceil(2), one_way::LARGE)?;
    idle::waiting(&mut figures)?;
    idle::waking(&mut figures, rounds)?;
    print!("{}", text::content(&Content::Table(table(&figures)), LOOK));
    figures.spoiled.iter().for_each(|what| println!("  disturbed: {what}"));
    Ok(if figures.all_reached() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn rounds() -> Result<usize> {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(ROUNDS),
        ["--rounds", rounds] => rounds.parse().ok().filter(|rounds| *rounds > 0).context("--rounds takes a number"),
        _ => bail!("usage: beside_handoff [--rounds N]"),
    }
}
