//! When is a number given again, and what does a signal to it hit then?

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use process_demo::child::{self, Child, Exit};
use process_demo::pidfd::PidFd;
use shared::Stage;

use super::namespace;

/// What was seen, in short.
pub enum Reuse {
    /// The kernel was told to go on with that number.
    Forced { kept_from_the_living: bool, given_again: bool },
    /// It was not; after so many forks the number had come again, or not.
    ByLuck { forks: usize, given_again: bool },
}

pub fn show(stage: &mut Stage) -> Result<Reuse> {
    match namespace::perform(force)? {
        Ok([number, kept, again, by_descriptor, unhurt, by_number]) => {
            stage.note(format!(
                "In a pid namespace of its own, this program can tell the kernel after which pid to go on: so the next \
                 child gets pid {number} again, if it may."
            ));
            let (kept_from_the_living, given_again) = (kept != number, again == number);
            let got = format!("{number} was taken, the next child got {kept}; after the wait, the next got {again}");
            let says = "Another process can get a zombie's pid, but only after the zombie has been waited for";
            stage.fact(says, kept_from_the_living && given_again, got);
            let refusal = Errno::from_raw(by_descriptor);
            let got = format!(
                "by descriptor {refusal:?}, and the stranger {}; by pid {}",
                if unhurt == 1 { "lived" } else { "was dead" },
                if by_number == 1 { "it was ended" } else { "it was not ended" },
            );
            let says = "A signal to the dead process's descriptor hits nobody; one to its pid hits a stranger";
            stage.fact(says, refusal == Errno::ESRCH && unhurt == 1 && by_number == 1, got);
            Ok(Reuse::Forced { kept_from_the_living, given_again })
        }
        Err(why) => {
            let most = stage.by_effort(100, 2_000, 40_000);
            let (forks, given_again) = wait_for_it(most)?;
            let seen = if given_again { "came again after" } else { "did not come again in" };
            stage.note(format!("A pid's reuse could not be forced: {why}. By luck it {seen} {forks} forks."));
            Ok(Reuse::ByLuck { forks, given_again })
        }
    }
}

/// Runs as process 1 of a namespace; returns the number, the one given beside the zombie, the one given after it, the
/// error that the descriptor gave, whether the stranger was alive then, and whether the signal by number ended it.
fn force() -> Result<[i32; 6]> {
    let first = child_that(|| 0)?;
    let pidfd = PidFd::open(first.pid())?;
    waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    let number = first.pid();
    go_on_after(number)?;
    let beside = child_that(|| 0)?;
    let kept = beside.pid();
    ensure!(beside.wait()? == Exit::Code(0) && first.wait()? == Exit::Code(0), "a child that does nothing failed");
    go_on_after(number)?;
    let (mut told, teller) = io::pipe()?;
    let (gate, mut asker) = io::pipe()?;
    let stranger = child_that(move || echo(gate, teller))?;
    let by_descriptor = pidfd.signal(Signal::SIGTERM).err().and_then(|error| error.raw_os_error()).unwrap_or(0);
    // One who has got a signal that ends it answers no more.
    let unhurt = asker.write_all(&[1]).and_then(|()| told.read_exact(&mut [0])).is_ok();
    let again = stranger.pid();
    let sent = again == number && kill(number, Signal::SIGTERM).is_ok();
    let by_number = sent && stranger.wait()? == Exit::Signal(Signal::SIGTERM);
    Ok([number.as_raw(), kept.as_raw(), again.as_raw(), by_descriptor, unhurt.into(), by_number.into()])
}

/// The stranger's life.
fn echo(mut gate: PipeReader, mut teller: PipeWriter) -> u8 {
    let mut byte = [0];
    while gate.read_exact(&mut byte).is_ok() && teller.write_all(&byte).is_ok() {}
    0
}

/// The next process of this namespace gets the number, or the next one that is free.
fn go_on_after(number: Pid) -> Result<()> {
    fs::write("/proc/sys/kernel/ns_last_pid", (number.as_raw() - 1).to_string()).context("ns_last_pid")
}

/// Forks until the first child's number comes again, at most so often.
fn wait_for_it(most: usize) -> Result<(usize, bool)> {
    let end = |child: Child| -> Result<Pid> {
        let number = child.pid();
        ensure!(child.wait()? == Exit::Code(0), "a child that does nothing failed");
        Ok(number)
    };
    let number = end(child_that(|| 0)?)?;
    for forks in 1..=most {
        if end(child_that(|| 0)?)? == number {
            return Ok((forks, true));
        }
    }
    Ok((most, false))
}

fn child_that(work: impl FnOnce() -> u8) -> Result<Child> {
    // SAFETY: the child only exits, or answers by two pipes; nothing here is in shared memory.
    unsafe { child::fork(work) }.context("forking")
}
