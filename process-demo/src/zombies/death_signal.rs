//! Whose end is it that a parent-death signal follows: the process's that made the child, or the thread's?

use std::io::{self, PipeWriter, Read, Write};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::bounded;
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, pause};
use process_demo::pidfd::PidFd;
use shared::Stage;

const PATIENCE: Duration = Duration::from_secs(10); // Only a bound: the signal is sent by the kernel as the thread ends.

/// Says whether the child that asked for the signal ended with its thread, while its process and its sibling went on.
pub fn show(stage: &mut Stage) -> Result<bool> {
    stage.note(
        "A thread of this process makes two children. One has asked to get SIGTERM when its parent dies; the other has \
         not. Then the thread ends. The process does not.",
    );
    let (mut told, teller) = io::pipe().context("a pipe")?;
    let (send, receive) = bounded(2);
    let (stay, leave) = bounded::<()>(0);
    let (asked, other) = thread::scope(|scope| {
        let make_two = move || {
            for signal in [Some(Signal::SIGTERM), None] {
                let _ = send.send(make(signal, &teller)); // Unheard only if the first thread has given up already.
            }
            let _ = leave.recv(); // Until the other end is dropped.
        };
        let maker = thread::Builder::new().spawn_scoped(scope, make_two).context("starting a thread")?;
        let made = (|| anyhow::Ok((receive.recv()?.context("forking")?, receive.recv()?.context("forking")?)))();
        let ready = made.map(|made| (made, told.read_exact(&mut [0; 2])));
        let both_alive = ready.as_ref().is_ok_and(|((one, other), _)| is_alive(one) && is_alive(other));
        drop(stay);
        maker.join().unwrap();
        let ((asked, other), heard) = ready?;
        heard.context("the children's sign of life")?;
        anyhow::Ok(both_alive.then_some((asked, other)).context("a child ended before its thread did")?)
    })?;
    let ended = asked.0.wait_for(PATIENCE)?;
    let goes_on = is_alive(&other);
    let by_signal = matches!(ended, Some(WaitStatus::Signaled(_, Signal::SIGTERM, _)));
    let got = format!(
        "the one that asked {}, the other {}",
        if by_signal { "was ended by SIGTERM" } else { "was not ended by it" },
        if goes_on { "lives" } else { "is dead" }
    );
    let says = "A parent-death signal comes when the thread that forked ends, though its process goes on";
    let holds = stage.fact(says, by_signal && goes_on, got);
    if holds {
        stage.note("So a program that forks such children from a pool's thread loses them when the pool shrinks.");
    }
    Ok(holds)
}

/// A child of the calling thread; killed and waited for when dropped.
struct Kept(PidFd);

impl Drop for Kept {
    fn drop(&mut self) {
        // It fails if the child has been waited for: then nobody is left to be hit or waited for.
        if self.0.signal(Signal::SIGKILL).is_ok() {
            let _ = self.0.wait();
        }
    }
}

fn is_alive(child: &Kept) -> bool {
    child.0.ends_within(Duration::ZERO).is_ok_and(|ended| !ended)
}

/// Forks a child that asks for the signal, says that it is there, and sleeps.
fn make(signal: Option<Signal>, mut teller: &PipeWriter) -> Result<Kept> {
    // SAFETY: this process has two threads, so the child keeps to calls that are async-signal-safe: prctl, write,
    // pause and _exit. That is also why process_demo::child is not used: it refuses a process with two threads.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => {
            let opened = PidFd::open(child).map(Kept).context("pidfd_open");
            if opened.is_err() {
                let _ = kill(child, Signal::SIGKILL); // Not waited for yet, so the number is its own.
                let _ = waitpid(child, None);
            }
            opened
        }
        ForkResult::Child => {
            if set_pdeathsig(signal).is_ok() && teller.write_all(&[1]).is_ok() {
                loop {
                    pause(); // Until a signal ends it.
                }
            }
            // SAFETY: it ends the child without running anything of it.
            unsafe { libc::_exit(1) }
        }
    }
}
