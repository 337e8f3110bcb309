//! One demonstration from its start to its last trace: in a process of its own, watched, and ended whatever it does.

use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::Stop;
use super::run::Run;
use super::signals::Signals;
use crate::cli::Options;
use crate::demo::Demo;
use crate::measure::{Budget, SystemClock};
use crate::report::{Effort, Event};

/// A running demonstration, as its runner sees it.
pub(super) struct Performance {
    child: Child,
    events: UnixStream,
    output: PipeReader,
    /// What has come: parsed up to here, searched for the end of a line up to there.
    unparsed: Vec<u8>,
    parsed: usize,
    searched: usize,
    printed: Vec<u8>,
    told_bytes: usize,
    told_events: usize,
    last_word: bool,
    events_open: bool,
    most_bytes: usize,
    deadline_ns: u64,
    deadline_s: u64,
}

/// What came next.
pub(super) enum Next {
    Told(Event),
    /// It is over; the reason if it did not end as it should.
    Over(Option<String>),
}

// No demonstration tells a quarter of these; who does is flooding, and the runner's memory is not theirs.
const MOST_EVENTS: usize = 10_000;

/// Samples make most of what is told, and the effort decides how many: four times those of two contests of 64 rows each.
pub(crate) fn most_bytes(effort: Effort) -> usize {
    const BYTES_OF_A_SAMPLE: usize = 10; // Six digits, a point, a comma, and what may stand around them.
    const ROWS: usize = 2 * 64;
    let Budget { rounds, events, .. } = Budget::of(effort);
    (4 << 20) + 4 * ROWS * rounds * events as usize * BYTES_OF_A_SAMPLE
}

const MOST_PRINTED: usize = 64 << 10;
const GRACE_NS: u64 = 1_000_000_000; // For a process that has closed its channel to end.

impl Performance {
    pub(super) fn start(run: &Run, demo: &Demo, options: &Options) -> Result<Performance> {
        let (events, theirs) = UnixStream::pair().context("the event channel")?;
        let (output, printed) = io::pipe().context("the output pipe")?;
        events.set_nonblocking(true).context("the event channel")?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("the output pipe")?;
        let effort = clap::ValueEnum::to_possible_value(&options.effort).expect("every effort has a name");
        let mut command = run.this_program();
        command.args([demo.name, "--perform", "--effort", effort.get_name()]);
        for (key, value) in options.settings(demo) {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        if let (Some(file), Some(_)) = (&options.input, demo.extras.input) {
            command.arg("--input").arg(file);
        }
        command.process_group(0).stdin(std::os::fd::OwnedFd::from(theirs));
        command.stdout(printed.try_clone().context("the output pipe")?).stderr(printed);
        let child = command.spawn().context("starting the demonstration's process")?;
        let deadline_s = options.deadline_s();
        Ok(Performance {
            child,
            events,
            output,
            unparsed: Vec::new(),
            parsed: 0,
            searched: 0,
            printed: Vec::new(),
            told_bytes: 0,
            told_events: 0,
            last_word: false,
            events_open: true,
            most_bytes: most_bytes(options.effort),
            deadline_ns: SystemClock.now_ns() + deadline_s * 1_000_000_000,
            deadline_s,
        })
    }

    /// The process group that it leads.
    pub(super) fn group(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Waits for the next event, or for the end.
    pub(super) fn next(&mut self, signals: &Signals) -> Result<Next, Stop> {
        loop {
            if let Some(event) = self.parse() {
                match event {
                    Ok(event) => return Ok(Next::Told(event)),
                    Err(why) => return Ok(Next::Over(Some(why))),
                }
            }
            // First the status, then the rest of what was told: nothing comes after the end. Asked for before the wait,
            // since whoever wrote in the meantime may have taken the signal that told of it.
            let ended = self.child.try_wait().map_err(Stop::CannotWatch)?;
            let now_ns = SystemClock.now_ns();
            if ended.is_none() && now_ns < self.deadline_ns {
                self.wait(signals, self.deadline_ns - now_ns)?;
            }
            if let Some(flooded) = self.read() {
                return Ok(Next::Over(Some(flooded)));
            }
            if self.unparsed[self.searched..].contains(&b'\n') {
                continue; // Also after the deadline: it was told before this process looked, which may have been stopped.
            }
            if let Some(status) = ended {
                return Ok(Next::Over(self.judge(status)));
            }
            if now_ns >= self.deadline_ns {
                let why = if self.events_open {
                    format!("no answer in {} s", self.deadline_s)
                } else {
                    "closed its event channel and lived on".to_owned()
                };
                return Ok(Next::Over(Some(self.with_print(why))));
            }
        }
    }

    /// Sleeps until something comes; answers signals.
    fn wait(&mut self, signals: &Signals, time_ns: u64) -> Result<(), Stop> {
        let timeout_ms = i32::try_from(time_ns / 1_000_000 + 1).unwrap_or(i32::MAX);
        let mut watched =
            vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
        if self.events_open {
            watched.push(PollFd::new(self.events.as_fd(), PollFlags::POLLIN));
        }
        // Interrupted is as good as woken: the caller looks at everything.
        let _ = poll(&mut watched, PollTimeout::try_from(timeout_ms).unwrap_or(PollTimeout::MAX));
        while let Some(signal) = signals.next() {
            match signal {
                Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP => return Err(Stop::Signal(signal)),
                Signal::SIGTSTP => {
                    let from_ns = SystemClock.now_ns();
                    signals.stop();
                    self.put_off(SystemClock.now_ns() - from_ns);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Moves the deadline by a time in which the demonstration could not go on, or was not listened to.
    pub(super) fn put_off(&mut self, time_ns: u64) {
        self.deadline_ns += time_ns;
    }

    /// Takes all that has come; says if it was too much.
    fn read(&mut self) -> Option<String> {
        let mut buffer = [0; 16 << 10];
        while self.events_open {
            match self.events.read(&mut buffer) {
                Ok(0) => self.close_events(),
                Ok(count) => {
                    self.unparsed.extend_from_slice(&buffer[..count]);
                    self.told_bytes += count;
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.close_events(), // Reset by the other side: as closed.
            }
            if self.told_bytes >= self.most_bytes {
                return Some(format!("flooded its event channel with over {} MiB", self.most_bytes >> 20));
            }
        }
        while let Ok(count @ 1..) = self.output.read(&mut buffer) {
            self.printed.extend_from_slice(&buffer[..count]);
            if self.printed.len() > MOST_PRINTED {
                return Some(self.with_print(format!("flooded its output with over {} KiB", MOST_PRINTED >> 10)));
            }
        }
        None
    }

    fn close_events(&mut self) {
        self.events_open = false;
        self.deadline_ns = self.deadline_ns.min(SystemClock.now_ns() + GRACE_NS);
    }

    /// The next whole event of those that have come; no byte is looked at twice, however long the line.
    fn parse(&mut self) -> Option<Result<Event, String>> {
        let Some(length) = self.unparsed[self.searched..].iter().position(|&byte| byte == b'\n') else {
            self.unparsed.drain(..self.parsed);
            (self.parsed, self.searched) = (0, self.unparsed.len());
            return None;
        };
        let end = self.searched + length;
        let event = serde_json::from_slice(&self.unparsed[self.parsed..end]);
        (self.parsed, self.searched) = (end + 1, end + 1);
        self.told_events += 1;
        if self.told_events > MOST_EVENTS {
            return Some(Err(format!("flooded its event channel with over {MOST_EVENTS} events")));
        }
        self.last_word |= matches!(event, Ok(Event::End { .. }));
        Some(event.map_err(|error| format!("told something that is no event: {error}")))
    }

    /// Did it end as it should: with a last word, by itself, and without having printed?
    fn judge(&self, status: ExitStatus) -> Option<String> {
        let how = match (status.signal().map(Signal::try_from), status.code()) {
            (Some(Ok(signal)), _) => format!("killed by {signal}"),
            (Some(Err(_)), _) => "killed by a real-time signal".to_owned(),
            (None, Some(101)) => "panicked (exit code 101)".to_owned(),
            (None, code) => format!("ended early with exit code {}", code.unwrap_or_default()),
        };
        match (self.last_word, status.code()) {
            (true, Some(0 | 1)) if self.printed.is_empty() => None,
            (true, Some(0 | 1)) => Some(self.with_print("printed by itself".to_owned())),
            _ => Some(self.with_print(how)),
        }
    }

    /// The reason with the first lines of what it printed: a panic's message, say.
    fn with_print(&self, why: String) -> String {
        let printed = String::from_utf8_lossy(&self.printed);
        let lines: Vec<&str> = printed.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
        let shown: String = lines.join(" / ").chars().filter(|char| !char.is_control()).take(300).collect();
        if shown.is_empty() { why } else { format!("{why}: {shown}") }
    }
}

impl Drop for Performance {
    /// Ends the demonstration itself; its children become the runner's, who counts and ends them.
    fn drop(&mut self) {
        let _ = self.child.kill(); // It may have ended by itself.
        let _ = self.child.wait();
    }
}
