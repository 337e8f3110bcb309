//! Where do forks from a process with threads happen? In a process that exists for that alone.

use std::io;

use anyhow::{Context, Result};
use process_demo::crew::{Crew, Kind, NOTHING};

/// How often it was tried, and what became of the children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub tried: u32,
    /// Slept for ever, each with one thread only.
    pub asleep: u32,
    /// Did what they were to do, and ended.
    pub done: u32,
    /// Of those asleep: still so when, in the process that forked them, what they wait for was free again.
    pub still_asleep: u32,
}

impl Tally {
    fn words(self) -> [u32; 4] {
        [self.tried, self.asleep, self.done, self.still_asleep]
    }
}

/// Performs the scene in a process of its own, which may start threads and fork beside them; its tally comes back.
pub fn perform<S: Fn() -> io::Result<Tally> + Sync>(scene: S) -> Result<Tally> {
    let mut victim = Crew::of(Kind::Processes, 1, || Ok((&scene, [0; 4])))?;
    let run = |(scene, words): &mut (&S, [u32; 4]), _| {
        *words = scene()?.words();
        Ok(0)
    };
    victim.ask(0, run, NOTHING)?.value().context("a process that forks beside threads")?;
    let mut word = |at| victim.ask(0, |(_, words), [at, ..]| Ok(words[at as usize].into()), [at, 0, 0])?.value();
    let [tried, asleep, done, still_asleep] = [word(0)?, word(1)?, word(2)?, word(3)?].map(|word| word as u32);
    Ok(Tally { tried, asleep, done, still_asleep })
}
