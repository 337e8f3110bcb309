//! Which run is this? A token that every process, name and file of it carries, so that what is left can be found.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};
use procfs::process::{LimitValue, Process};

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

    /// Marks this process and all its descendants to come as the run's.
    ///
    /// A resource limit stays through fork, exec and setsid, whatever becomes of the environment. This one is for threads
    /// of a real-time class, which are ended after so many microseconds of CPU time without a break: days of it, so that
    /// it limits nobody. Its number is the run's.
    pub(super) fn mark(&self) -> Result<()> {
        let mark = self.marking_limit()?;
        setrlimit(Resource::RLIMIT_RTTIME, mark, mark).context("marking the demonstration's processes")
    }

    /// Whether that process carries the mark; a dead one does too, until it is reaped.
    pub(super) fn has_marked(&self, process: &Process) -> bool {
        let limit = process.limits().map(|limits| limits.max_realtime_timeout.hard_limit);
        matches!((limit, self.marking_limit()), (Ok(LimitValue::Value(limit)), Ok(mark)) if limit == mark)
    }

    /// Below what this process may have, which is the runner's own limit in the runner and in its janitor.
    fn marking_limit(&self) -> Result<u64> {
        const HALF_A_MONTH_US: u64 = 1 << 40;
        let (_, allowed) = getrlimit(Resource::RLIMIT_RTTIME)?;
        let most = allowed.min(HALF_A_MONTH_US);
        let number = self.token.rsplit('-').next().and_then(|random| u64::from_str_radix(random, 16).ok());
        Ok(most - number.context("a token without a number")? % (most / 2 + 1))
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
