//! How many of a hundred signals arrive, and what can a signal carry?

mod sent;

use std::fs;

use anyhow::{Context, Result};
use ipc_demo::queued_signal::{block, send};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use process_demo::crew::{Crew, Kind, NOTHING};
use shared::number::count;
use shared::{Demo, Extras, Snippet, Stage};

use sent::{kill, taken_by};

pub const DEMO: Demo = Demo {
    name: "signals",
    question: "How many of a hundred signals arrive, and what can a signal carry?",
    claims: &[],
    rule: "It gives no verdict. A child has the signals blocked, so that none can be taken before all are sent. What it \
           then finds pending is counted, each with its value.",
    extras: Extras::NONE,
    snippets: &[Snippet {
        path: "ipc-demo/snippets/queued_signal.rs",
        text: include_str!("../snippets/queued_signal.rs"),
    }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(format!(
        "A child blocks its signals, and its parent sends it {} of each kind. Then the child takes whatever is pending.",
        sent::COUNT
    ));
    let kinds = sent::show(stage)?;
    stage.note("Real-time signals are kept one by one, and that takes room, which has a limit:");
    show_limit(stage)?;
    let [standard, real_time] = [1, 3].map(|kind: usize| kinds[kind].values.len());
    let sent = sent::COUNT;
    stage.headline(format!("{standard} of {sent} arrived, {real_time} if real-time"));
    stage.answer(format!(
        "{standard} of {sent} standard signals arrived, and {real_time} of {sent} real-time ones. A signal carries its \
         number and, sent by sigqueue, one integer."
    ));
    stage.advise("To count events by signals, send real-time ones: copy `queued_signal`.");
    Ok(())
}

const ROOM: u64 = 50; // For a limit that is soon reached.
const MOST: usize = 10_000; // If this many are accepted, there is no such limit here.

/// What happens when a process has as many signals pending as it may? A child may have some more than its user has already.
fn show_limit(stage: &mut Stage) -> Result<()> {
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
