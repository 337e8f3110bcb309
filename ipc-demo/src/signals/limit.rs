//! What happens when a process has as many signals pending as it may?

use std::fs::{self, File};
use std::io::{Read, Write, pipe};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use ipc_demo::queued_signal::{block, send};
use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use process_demo::child::{Exit, fork};
use shared::Stage;
use shared::number::count;

use super::sent::{decoded, kill, report};

const ROOM: u64 = 50; // For a limit that is soon reached.
const MOST: usize = 10_000; // If this many are accepted, there is no such limit here.

/// A child may have some more pending than its user has already.
pub fn show(stage: &mut Stage) -> Result<()> {
    let signals = [libc::SIGUSR1, libc::SIGRTMIN()];
    block(&signals)?;
    let (gate, opener) = pipe().context("a pipe")?;
    let (told, teller) = pipe().context("a pipe")?;
    let (gate, told) = (File::from(OwnedFd::from(gate)), File::from(OwnedFd::from(told)));
    let work = move || u8::from(be_full(&signals, &gate, &File::from(OwnedFd::from(teller))).is_err());
    // SAFETY: the child takes its signals and uses two pipes; nothing here is in shared memory.
    let child = unsafe { fork(work) }.context("starting a process")?;
    (&told).read_exact(&mut [0])?; // The limit is set.
    let mut results = (0..MOST).map(|value| send(child.pid(), libc::SIGRTMIN(), value));
    let mut accepted = 0;
    let error = results.find_map(|result| result.map(|()| accepted += 1).err());
    let standard = kill(child.pid(), libc::SIGUSR1);
    (&opener).write_all(&[0])?;
    let mut bytes = Vec::new();
    (&told).read_to_end(&mut bytes)?;
    ensure!(child.wait()? == Exit::Code(0), "the receiver failed");
    let (first, queued): (Vec<_>, Vec<_>) =
        decoded(&bytes).into_iter().partition(|(signal, _)| *signal == libc::SIGUSR1);

    let error = error.and_then(|error| error.raw_os_error()).map(Errno::from_raw);
    let then = error.map_or("no error".to_owned(), |errno| format!("{errno:?}"));
    let got = format!("{accepted} accepted, then {then}; {} arrived", queued.len());
    let intact = queued.iter().map(|(_, number)| *number).eq(0..accepted);
    let says = "At the limit the sender gets EAGAIN, and every signal accepted before arrives";
    stage.fact(says, error == Some(Errno::EAGAIN) && intact, got);
    let says = "A standard signal needs no room: it arrives at the limit too";
    stage.fact(says, standard.is_ok() && first.len() == 1, format!("{} arrived", first.len()));
    let (soft, _) = getrlimit(Resource::RLIMIT_SIGPENDING)?;
    stage.note(format!("On this machine the limit for all processes of this user together is {}.", count(soft)));
    Ok(())
}

/// In the child: lowers the limit, says so, waits until everything is sent, and reports.
fn be_full(signals: &[c_int], gate: &File, mut teller: &File) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_SIGPENDING)?;
    setrlimit(Resource::RLIMIT_SIGPENDING, (pending_of_user()? + ROOM).min(hard), hard)?;
    teller.write_all(&[0])?;
    (&*gate).read_exact(&mut [0])?;
    report(signals, &mut teller)
}

/// The limit counts all signals that are queued for this user's processes.
fn pending_of_user() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let queued = status.lines().find_map(|line| line.strip_prefix("SigQ:")?.split_once('/')?.0.trim().parse().ok());
    queued.context("/proc/self/status does not say how many signals are queued")
}
