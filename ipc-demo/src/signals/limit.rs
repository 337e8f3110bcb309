//! What happens when a process has as many signals pending as it may?

use std::fs;

use anyhow::{Context, Result};
use ipc_demo::queued_signal::{block, send};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use process_demo::crew::{Crew, Kind, NOTHING};
use shared::Stage;
use shared::number::count;

use super::sent::{kill, taken_by};

const ROOM: u64 = 50; // For a limit that is soon reached.
const MOST: usize = 10_000; // If this many are accepted, there is no such limit here.

/// A child may have some more pending than its user has already.
pub fn show(stage: &mut Stage) -> Result<()> {
    let signals = [libc::SIGUSR1, libc::SIGRTMIN()];
    block(&signals)?;
    let mut child = Crew::of(Kind::Processes, 1, || Ok(&signals[..]))?;
    child.ask(0, |_, _| lower_the_limit(), NOTHING)?.value()?;
    let pid = child.pid(0).context("the receiver has ended")?;
    let mut results = (0..MOST).map(|value| send(pid, libc::SIGRTMIN(), value));
    let mut accepted = 0;
    let error = results.find_map(|result| result.map(|()| accepted += 1).err());
    let standard = kill(pid, libc::SIGUSR1);
    let (first, queued): (Vec<_>, Vec<_>) =
        taken_by(&mut child)?.into_iter().partition(|(signal, _)| *signal == libc::SIGUSR1);

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

fn lower_the_limit() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_SIGPENDING)?;
    let limit = (pending_of_user()? + ROOM).min(hard);
    Ok(setrlimit(Resource::RLIMIT_SIGPENDING, limit, hard).map(|()| limit)?)
}

/// The limit counts all signals that are queued for this user's processes.
fn pending_of_user() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let queued = status.lines().find_map(|line| line.strip_prefix("SigQ:")?.split_once('/')?.0.trim().parse().ok());
    queued.context("/proc/self/status does not say how many signals are queued")
}
