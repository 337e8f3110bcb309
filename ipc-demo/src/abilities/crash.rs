//! One side is killed: does the other live on, is it told, and what is lost or left?

mod scene;

use std::thread;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, raise};
use process_demo::child::{Exit, fork};
use shared::{Cell, Mood, refused};

use super::lines::{BYTES, Between, MECHANISMS, Mechanism, Patience};
use crate::names::Names;
use scene::Scene;

/// What the death of one side means to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The other side lives on. How many of the two sides are told of the other's death; how much was sent and can
    /// never be read, in the mechanism's own unit; and what is left in the system when both are gone.
    LivesOn {
        told: usize,
        lost: u64,
        left: Vec<String>,
    },
    /// Both sides are one process: it ends with its thread, and so is nothing left.
    DiesToo,
    Skipped(String),
}

/// Every mechanism's deaths, begun: most of them take a while, in which nobody computes.
pub struct Deaths(Vec<Begun>);

enum Begun {
    Scenes([Scene; 2]),
    Threads(&'static Mechanism),
    Refused(String),
}

impl Deaths {
    pub fn begin(names: &Names) -> Result<Deaths> {
        let begin = |mechanism: &'static Mechanism| match mechanism.between {
            Between::Processes => match scene::both(mechanism.name, names) {
                Ok(scenes) => Ok(Begun::Scenes(scenes)),
                Err(error) => refused(&error).map(Begun::Refused).ok_or(error),
            },
            Between::Threads => Ok(Begun::Threads(mechanism)),
        };
        MECHANISMS.iter().map(begin).collect::<Result<_>>().map(Deaths)
    }

    /// In the order of the mechanisms.
    pub fn see(self, names: &Names) -> Result<Vec<Afterwards>> {
        let see = |begun| match begun {
            Begun::Scenes([writer, reader]) => of_processes(writer, reader),
            Begun::Threads(mechanism) => of_a_thread(mechanism, names),
            Begun::Refused(why) => Ok(Afterwards::Skipped(why)),
        };
        let seen = self
            .0
            .into_iter()
            .map(|begun| see(begun).or_else(|error| refused(&error).map(Afterwards::Skipped).ok_or(error)));
        seen.collect()
    }
}

fn of_processes(writer: Scene, reader: Scene) -> Result<Afterwards> {
    let (writer, reader) = match (writer.see()?, reader.see()?) {
        (Ok(writer), Ok(reader)) => (writer, reader),
        (Err(why), _) | (_, Err(why)) => return Ok(Afterwards::Skipped(why)),
    };
    let told = [&writer, &reader].into_iter().filter(|seen| seen.told).count();
    let mut left = [writer.left, reader.left].concat();
    left.sort_unstable();
    left.dedup();
    Ok(Afterwards::LivesOn { told, lost: reader.lost, left })
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
    /// In words, for a table: who is told of the other's death, and whether what was unread is lost.
    pub fn cells(&self) -> [Cell; 2] {
        let word = |says: &str, mood| Cell::Word { says: says.to_owned(), mood };
        match self {
            Afterwards::DiesToo => [word("both die", Mood::Bad), word("yes", Mood::Bad)],
            Afterwards::Skipped(why) => [Cell::Skipped { skipped: why.clone() }, Cell::Nothing],
            Afterwards::LivesOn { told, lost, .. } => {
                let told = word(["none", "one", "both"][*told], if *told == 2 { Mood::Good } else { Mood::Bad });
                [told, if *lost == 0 { word("no", Mood::Good) } else { word("yes", Mood::Bad) }]
            }
        }
    }
}
