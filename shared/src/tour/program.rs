//! One of the five programs: where it is, what it can show, and one demonstration of it run to its end.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::claims::Claim;
use crate::machine::Machine;
use crate::measure::SystemClock;
use crate::report::{DemoReport, Effort, Report};
use crate::runner::{Signals, Stop, TOUR};
use crate::text::Look;

/// In the order of a lecture.
pub(super) const PROGRAMS: [&str; 5] = ["threads-demo", "process-demo", "ipc-demo", "sync-demo", "race-demo"];

#[derive(Clone)]
pub(super) struct Program {
    pub(super) name: &'static str,
    path: PathBuf,
}

impl Program {
    /// It was built beside the tour.
    pub(super) fn find(name: &'static str) -> Result<Program> {
        let path = std::env::current_exe().context("finding the programs")?.with_file_name(name);
        ensure!(path.exists(), "{name} is not built: scripts/tour.sh builds it beside the tour");
        Ok(Program { name, path })
    }

    /// The names of its demonstrations, in reading order.
    pub(super) fn list(&self) -> Result<Vec<String>> {
        let output =
            Command::new(&self.path).arg("--list").output().with_context(|| format!("starting {}", self.name))?;
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(listed.lines().filter_map(|line| Some(line.split_once('\t')?.0.to_owned())).collect())
    }

    /// Its rules for a claim, as it prints them.
    pub(super) fn rules(&self, claim: Claim, look: Look) -> Result<String> {
        let mut command = Command::new(&self.path);
        command.args([
            "--explain",
            &claim.name(),
            "--rules-only",
            "--color",
            if look.color { "always" } else { "never" },
        ]);
        let output = command.output().with_context(|| format!("starting {}", self.name))?;
        ensure!(output.status.success(), "{} ended with {}", self.name, output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs one demonstration. A signal that ends the tour ends it too; a stop stops both.
    pub(super) fn run(&self, demo: &str, effort: Effort, signals: &Signals, bar: &ProgressBar) -> Result<Report, Stop> {
        let effort_name = clap::ValueEnum::to_possible_value(&effort).expect("every effort has a name");
        let mut command = Command::new(&self.path);
        command.args([demo, "--json", "-", "--color", "never", "--effort", effort_name.get_name()]);
        // In a group of its own: the terminal's signals come to the tour, which passes them on once.
        command.env(TOUR, std::process::id().to_string()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Guard(command.spawn().map_err(Stop::CannotWatch)?);
        let mut stdout = child.0.stdout.take().expect("it is piped");
        fcntl(&stdout, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|error| Stop::CannotWatch(error.into()))?;
        let mut document = Vec::new();
        while !read(&mut stdout, &mut document)? {
            child.wait_for(&stdout, signals, bar)?;
        }
        let status = child.0.wait().map_err(Stop::CannotWatch)?;
        Ok(serde_json::from_slice(&document).unwrap_or_else(|error| {
            // Its runner was killed, say: that fails the demonstration, and the tour goes on.
            let mut failed = DemoReport::new(demo, "", "");
            failed.fail(format!("{} ended with {status} and without a report ({error})", self.name));
            Report { demos: vec![failed], ..Report::new(self.name, effort, Machine::default()) }
        }))
    }
}

/// Takes what has come; true at the end.
fn read(stdout: &mut ChildStdout, document: &mut Vec<u8>) -> Result<bool, Stop> {
    match stdout.read_to_end(document) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(Stop::CannotWatch(error)),
    }
}

/// A running program; dropped before its end, it is told to end and waited for: it cleans up by itself.
struct Guard(Child);

impl Guard {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    /// Sleeps until something comes, a second at most: the bar shows the time.
    fn wait_for(&mut self, stdout: &ChildStdout, signals: &Signals, bar: &ProgressBar) -> Result<(), Stop> {
        let second = PollTimeout::from(1000u16);
        let mut watched =
            [PollFd::new(stdout.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        // Interrupted is as good as woken: the caller looks at everything.
        if poll(&mut watched, second) == Ok(0) {
            bar.tick();
        }
        while let Some(signal) = signals.next() {
            match signal {
                Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP => return Err(Stop::Signal(signal)),
                Signal::SIGTSTP => {
                    let _ = kill(self.pid(), Signal::SIGTSTP); // It may have ended a moment ago.
                    // First it, or it may come to stop itself only after it was told to go on, and stay so.
                    let stopped = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
                    let _ = waitid(Id::Pid(self.pid()), stopped);
                    signals.stop();
                    let _ = kill(self.pid(), Signal::SIGCONT);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        const PATIENCE_NS: u64 = 900_000_000; // The interrupt's promise is one second in all.
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill(self.pid(), Signal::SIGTERM);
        let _ = kill(self.pid(), Signal::SIGCONT); // Stopped, it would not notice.
        drop(self.0.stdout.take());
        let from_ns = SystemClock.now_ns();
        while matches!(self.0.try_wait(), Ok(None)) && SystemClock.now_ns() - from_ns < PATIENCE_NS {
            let _ = poll(&mut [], PollTimeout::from(5u8)); // Its end comes as a signal that nobody reads any more.
        }
        let _ = self.0.kill(); // Its janitor cleans up after it.
        let _ = self.0.wait();
    }
}
