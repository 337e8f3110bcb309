//! Who is the other process? A child that adds when it is told to, and sleeps in a read otherwise.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use process_demo::child::{self, Child};
use shared::measure::PinTo;

/// A child process with a line to it; dropping it kills and reaps it.
pub struct Peer {
    line: UnixStream,
    child: Child,
}

impl Peer {
    /// Forks a child that answers each number that it is told with what `work` makes of it.
    ///
    /// Only from a process with one thread, which `fork` checks. Later children inherit the line, so its end tells
    /// nothing: a peer ends because it is killed.
    pub fn start(pin_to: PinTo, mut work: impl FnMut(&UnixStream, u64) -> Result<u64>) -> Result<Peer> {
        let (line, theirs) = UnixStream::pair().context("making a socket pair")?;
        let serve = move || {
            let mut serve = || -> Result<()> {
                let _pinned = pin_to.pin()?;
                loop {
                    let told = receive(&theirs)?;
                    send(&theirs, work(&theirs, told)?)?;
                }
            };
            u8::from(serve().is_err()) // The line ends with this process, and the parent then says in what.
        };
        // SAFETY: nothing alive owns a lock or other state in shared memory; counts there are only added to.
        let child = unsafe { child::fork(serve) }.context("forking the other process")?;
        Ok(Peer { line, child })
    }

    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    pub fn tell(&self, number: u64) -> Result<()> {
        send(&self.line, number).context("telling the other process")
    }

    /// Waits for what the child makes of the number that it was told.
    pub fn answer(&self) -> Result<u64> {
        receive(&self.line).context("waiting for the other process")
    }

    /// The parent's side of `meet`.
    pub fn meet(&self) -> Result<()> {
        meet(&self.line)
    }
}

/// Returns when the other side has come here too: nobody passes before both have sent their byte.
pub fn meet(mut line: &UnixStream) -> Result<()> {
    line.write_all(&[1]).and_then(|()| line.read_exact(&mut [0])).context("meeting the other process")
}

/// What both sides do with a number that is told: returns how many additions were made.
pub fn add_so_often(times: u64, add: impl Fn() -> Result<()>) -> Result<u64> {
    let mut added = 0;
    while added < times {
        add()?;
        added += 1;
    }
    Ok(added)
}

fn send(mut line: &UnixStream, number: u64) -> Result<()> {
    Ok(line.write_all(&number.to_le_bytes())?)
}

fn receive(mut line: &UnixStream) -> Result<u64> {
    let mut bytes = [0; 8];
    line.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
