//! Which run is this? A token that every process, name and file of it carries, so that what is left can be found.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};

/// One run of one program.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// `tvp-PID-RANDOM`.
    pub(super) token: String,
    pub(super) runner: Pid,
}

pub(super) const TOKEN: &str = "DEMO_RUN";

impl Run {
    pub(super) fn new() -> io::Result<Run> {
        let mut random = [0; 4];
        io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
        let runner = getpid();
        Ok(Run { token: format!("tvp-{runner}-{:08x}", u32::from_ne_bytes(random)), runner })
    }

    /// The run that started this process, if one did.
    pub(super) fn inherited() -> Option<Run> {
        let token = std::env::var(TOKEN).ok()?;
        let runner = token.strip_prefix("tvp-")?.split('-').next()?.parse().ok()?;
        Some(Run { token, runner: Pid::from_raw(runner) })
    }

    /// A command that starts this very program again, as part of the run.
    pub(super) fn this_program(&self) -> Command {
        // By the link, not by its path: the file may have been rebuilt since.
        let mut command = Command::new("/proc/self/exe");
        command.env(TOKEN, &self.token).env("TMPDIR", self.directory());
        command
    }

    /// The private temporary directory; it exists while a demonstration runs.
    pub(super) fn directory(&self) -> PathBuf {
        // A performer's TMPDIR is the directory itself.
        let base = std::env::temp_dir();
        if base.ends_with(&self.token) { base } else { base.join(&self.token) }
    }

    /// What names in the system begin with.
    pub(super) fn prefix(&self) -> String {
        format!("{}-", self.token)
    }

    /// Removes the temporary directory with all that is in it.
    pub(super) fn remove_directory(&self) {
        let _ = fs::remove_dir_all(self.directory()); // It may not exist: nothing ran yet.
    }
}

/// The variable by which the tour tells a program its own process identifier.
pub(crate) const TOUR: &str = "DEMO_TOUR";

/// A program that the tour started ends with it.
pub(super) fn die_with_tour() -> Result<()> {
    let Some(tour) = std::env::var(TOUR).ok().and_then(|pid| pid.parse().ok()) else { return Ok(()) };
    prctl::set_pdeathsig(Signal::SIGTERM).context("prctl(PR_SET_PDEATHSIG)")?;
    ensure!(getppid() == Pid::from_raw(tour), "the tour is gone");
    Ok(())
}
