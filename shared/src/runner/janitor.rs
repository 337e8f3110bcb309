//! Who cleans up after a runner that was killed? A process that only waits for the runner's end.

use std::io::{self, ErrorKind, PipeWriter, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitCode, Stdio};

use anyhow::{Context, Result};

use super::leftovers::{kill_marked, remove_named};
use super::run::Run;
use super::signals::Signals;

/// The runner's end: while it lives, the janitor waits.
pub(super) struct Janitor {
    process: Child,
    _life_line: PipeWriter,
}

impl Janitor {
    pub(super) fn start(run: &Run) -> Result<Janitor> {
        let (theirs, life_line) = io::pipe().context("the janitor's pipe")?;
        let mut command = run.this_program();
        // Out of the terminal's group: an interrupt is for the runner, which then needs no janitor.
        command.arg("--janitor").process_group(0).stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().context("starting the janitor")?;
        Ok(Janitor { process, _life_line: life_line })
    }
}

impl Drop for Janitor {
    /// The run has cleaned up by itself.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The janitor's own life: waits for the end of the runner, then ends and removes all that carries the run's token.
pub(super) fn wait_and_clean() -> ExitCode {
    let Some(run) = Run::inherited() else { return ExitCode::from(2) };
    let _deaf = Signals::block(); // Whoever stops the runner's group must not stop its janitor.
    // Nobody writes: it returns when the last copy of the other end is closed, or early.
    while io::stdin().read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::Interrupted) {}
    kill_marked(&run);
    remove_named(&run);
    run.remove_directory();
    ExitCode::SUCCESS
}
