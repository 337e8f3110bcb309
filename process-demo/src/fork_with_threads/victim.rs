//! Where do forks from a process with threads happen? In a process that exists for that alone.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail};
use nix::libc;
use process_demo::child::{self, Exit};

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
pub fn perform(scene: impl FnOnce() -> io::Result<Tally>) -> Result<Tally> {
    let (mut told, mut teller) = io::pipe().context("a pipe")?;
    let work = move || match scene() {
        Ok(tally) => u8::from(teller.write_all(tally.words().map(u32::to_ne_bytes).as_flattened()).is_err()),
        Err(error) => {
            let _ = teller.write_all(error.to_string().as_bytes()); // Without it, the number has to do.
            error.raw_os_error().unwrap_or(libc::EIO) as u8
        }
    };
    // SAFETY: the child uses a pipe and what it makes itself; nothing here is in shared memory.
    let victim = unsafe { child::fork(work) }.context("forking")?;
    let mut heard = Vec::new();
    told.read_to_end(&mut heard)?; // Until it has ended: its children hold the pipe too, and end before it.
    let exit = victim.wait()?;
    if let (Exit::Code(0), ([a, b, c, d], [])) = (exit, heard.as_chunks::<4>()) {
        let [tried, asleep, done, still_asleep] = [a, b, c, d].map(|word| u32::from_ne_bytes(*word));
        return Ok(Tally { tried, asleep, done, still_asleep });
    }
    let why = format!("a process that forks beside threads: {}", String::from_utf8_lossy(&heard));
    match exit {
        Exit::Code(number @ 1..) => Err(io::Error::from_raw_os_error(number)).context(why),
        exit => bail!("{why} ({exit})"),
    }
}
