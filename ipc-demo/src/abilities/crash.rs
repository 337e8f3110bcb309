//! One side is killed: does the other live on, is it told, and what is lost or left?

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, raise};
use process_demo::child::{Exit, fork};
use shared::{Cell, Mood, refused};
use std::thread;

use super::lines::{BYTES, Between, Mechanism, Patience};
use crate::peer_death::matrix::{lost, notices};
use crate::peer_death::scene::{Dies, OnSigpipe, play};
use crate::peer_death::ways::{Names, WAYS};

/// What the death of one side means to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The other side lives on. How many of the two sides are told of the other's death; what was sent and can never
    /// be read, in `unit`; and what is left in the system when both are gone.
    LivesOn {
        told: usize,
        lost: u64,
        unit: &'static str,
        left: Vec<String>,
    },
    /// Both sides are one process: it ends with its thread, and so is nothing left.
    DiesToo,
    Skipped(String),
}

pub fn observe(mechanism: &Mechanism, names: &Names) -> Result<Afterwards> {
    let seen = match mechanism.between {
        Between::Processes => of_a_process(mechanism.name, names),
        Between::Threads => of_a_thread(mechanism, names),
    };
    seen.or_else(|error| refused(&error).map(Afterwards::Skipped).ok_or(error))
}

fn of_a_process(name: &str, names: &Names) -> Result<Afterwards> {
    let way = WAYS.iter().find(|way| way.name == name).context("no such way to die")?;
    let writer_died = play(way, Dies::Writer, OnSigpipe::Ignores, names).context("the writer dies")?;
    let reader_died = play(way, Dies::Reader, OnSigpipe::Ignores, names).context("the reader dies")?;
    let told = [&writer_died, &reader_died].into_iter().filter(|sight| notices(&sight.answer)).count();
    let mut left: Vec<String> = [&writer_died, &reader_died].into_iter().flat_map(|sight| sight.left.clone()).collect();
    left.sort_unstable();
    left.dedup();
    Ok(Afterwards::LivesOn { told, lost: lost(&reader_died), unit: way.unit, left })
}

/// In a process of its own: a thread waits for another one's message, which is killed.
fn of_a_thread(mechanism: &Mechanism, names: &Names) -> Result<Afterwards> {
    let work = || {
        let Ok(line) = (mechanism.open)(names) else { return 2 };
        let Ok(mut receive) = (line.receiver)() else { return 2 };
        let doomed = thread::spawn(|| raise(Signal::SIGKILL));
        let _ = receive(&mut [0; BYTES], Patience::Waits);
        u8::from(doomed.join().is_err())
    };
    // SAFETY: the child has channels of its own; nothing here is in shared memory.
    match unsafe { fork(work) }.context("starting a process")?.wait()? {
        Exit::Signal(Signal::SIGKILL) => Ok(Afterwards::DiesToo),
        other => bail!("a thread was killed, and its process ended with {other}"),
    }
}

impl Afterwards {
    /// In words, for a table.
    pub fn cell(&self) -> Cell {
        let (says, mood) = match self {
            Afterwards::DiesToo => ("both die".to_owned(), Mood::Bad),
            Afterwards::Skipped(why) => return Cell::Skipped { skipped: why.clone() },
            Afterwards::LivesOn { told, lost, .. } => {
                let knows = ["none told", "one told", "both told"][*told];
                let lost = if *lost == 0 { String::new() } else { ", unread lost".to_owned() };
                (format!("{knows}{lost}"), if *told == 2 { Mood::Good } else { Mood::Bad })
            }
        };
        Cell::Word { says, mood }
    }
}
