//! Runs each demonstration in a process of its own, shows what it tells, and proves that nothing of it is left.

mod janitor;
mod leftovers;
mod output;
mod performance;
mod performer;
mod run;
mod signals;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::{Signal, raise};

use crate::cli::Options;
use crate::demo::{Demo, Snippet};
use crate::machine::Machine;
use crate::measure::{Calibration, SystemClock};
use crate::report::{DemoReport, Event, Leftovers, Report, Status};
use crate::text::{self, Look};
use janitor::Janitor;
use leftovers::{Before, end_strays};
pub(crate) use output::Output;
use performance::{Next, Performance};
use run::Run;
pub(crate) use signals::Signals;

/// The whole program: reads the command line, runs what it names, shows it, and says how it went by its exit code.
pub fn main(demos: &'static [Demo]) -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let program = program_name(arguments.first());
    if arguments.is_empty() {
        arguments.push(program.clone().into());
    }
    let options = match Options::parse_from(demos, &program, arguments) {
        Ok(options) => options,
        Err(error) => return usage(&error),
    };
    if options.janitor {
        return janitor::wait_and_clean();
    }
    if options.perform {
        return performer::perform(demos, &options);
    }
    let done = match &options {
        Options { list: true, .. } => print(&list(demos)),
        Options { source: Some(name), .. } => print(&source(demos, name)),
        _ => Session::start(&program, &options).and_then(|session| session.play(&options.selected(demos))),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "{program}: {error:#}"); // Without a stderr there is nobody to tell.
        ExitCode::from(2)
    })
}

/// Why a run ends before its end.
pub(crate) enum Stop {
    Signal(Signal),
    ReaderGone,
    CannotWrite(io::Error),
    CannotWatch(io::Error),
}

impl Stop {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Stop::Signal(signal) => ExitCode::from(128 + *signal as u8),
            Stop::ReaderGone => ExitCode::from(128 + Signal::SIGPIPE as u8),
            Stop::CannotWrite(_) | Stop::CannotWatch(_) => ExitCode::FAILURE,
        }
    }

    pub(crate) fn says(&self) -> String {
        match self {
            Stop::Signal(signal) => format!("ended by {signal}"),
            Stop::ReaderGone => "the reader of the output went away".to_owned(),
            Stop::CannotWrite(error) => format!("cannot write: {error}"),
            Stop::CannotWatch(error) => format!("cannot watch the demonstration: {error}"),
        }
    }
}

/// Stops this process until somebody continues it.
pub(crate) fn stop_here() {
    let _ = raise(Signal::SIGSTOP); // Cannot be refused.
}

/// One run of some demonstrations.
struct Session<'o> {
    options: &'o Options,
    signals: Signals,
    run: Run,
    before: Before,
    janitor: Janitor,
    narration: Output,
    look: Look,
    document: Option<Document>,
    report: Report,
}

/// Where the report document goes; the file is opened first, so that a wrong path costs no run.
enum Document {
    Stdout,
    File(File),
}

impl<'o> Session<'o> {
    fn start(program: &str, options: &'o Options) -> Result<Session<'o>> {
        let document = match options.json.as_deref() {
            None => None,
            Some(path) if path == Path::new("-") => Some(Document::Stdout),
            Some(path) => {
                let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
                Some(Document::File(file))
            }
        };
        let narration = match document {
            Some(Document::Stdout) => Output::Stderr(io::stderr()),
            _ => Output::Stdout(io::stdout()),
        };
        let signals = Signals::block()?;
        die_with_tour()?;
        prctl::set_child_subreaper(true).context("becoming the subreaper")?;
        let run = Run::new().context("naming this run")?;
        let janitor = Janitor::start(&run)?;
        let look = narration.look(options.color);
        let machine = Machine::read(Some(Calibration::of(&SystemClock).cost_ns));
        let report = Report::new(program, options.effort, machine);
        let before = Before::look();
        Ok(Session { options, signals, run, before, janitor, narration, look, document, report })
    }

    fn play(mut self, demos: &[&'static Demo]) -> Result<ExitCode> {
        let mut leftovers: Option<Leftovers> = None;
        let mut stop = self.narrate(&text::machine(&self.report.machine, self.look)).err();
        for demo in demos {
            if stop.is_some() {
                break;
            }
            let (mut report, left, stopped) = self.perform(demo)?;
            stop = stopped;
            if left.found() > 0 {
                report.fail(format!("left behind: {}", left.in_words()));
            }
            report.settle(demo.claims);
            if stop.is_none() {
                stop = self.narrate(&text::footer(&report, self.look)).err();
            }
            leftovers = Some(leftovers.map_or(left, |sum| sum.and(&left)));
            self.report.demos.push(report);
        }
        self.report.leftovers = leftovers.unwrap_or_default();
        if stop.is_none() {
            stop = self.narrate(&text::leftovers(&self.report.leftovers, self.look)).err();
        }
        // The document is written also when the run was cut short: what was found is not lost.
        stop = self.write_document()?.or(stop);
        let failed = self.report.demos.iter().any(|demo| demo.status == Status::Failed);
        Ok(match stop {
            None if failed => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
            Some(stop) => {
                if !matches!(stop, Stop::ReaderGone) {
                    let _ = writeln!(io::stderr(), "{}: {}", self.report.topic, stop.says());
                }
                stop.exit_code()
            }
        })
    }

    /// Runs one demonstration to its end, showing what it tells, then ends and counts what it left.
    fn perform(&mut self, demo: &'static Demo) -> Result<(DemoReport, Leftovers, Option<Stop>)> {
        let directory = self.run.directory();
        std::fs::create_dir(&directory)
            .with_context(|| format!("cannot make the temporary directory {}", directory.display()))?;
        let mut report = DemoReport::new(demo.name, demo.question, demo.rule);
        report.snippets = demo.snippets.iter().map(Snippet::to_text).collect();
        let from_ns = SystemClock.now_ns();
        let mut stop = self.narrate(&text::header(demo.name, demo.question, self.look)).err();
        if stop.is_none() {
            let mut performance = Performance::start(&self.run, demo, self.options)?;
            stop = self.watch(&mut performance, &mut report).err();
        }
        report.seconds = (SystemClock.now_ns() - from_ns) as f64 / 1e9;
        if let Some(stop) = &stop {
            report.fail(stop.says());
        }
        let mut left = self.before.objects(&self.run);
        (left.processes, left.zombies) = end_strays(Some(self.janitor.pid()));
        if report.status == Status::Failed {
            left.zombies = left.zombies.and(Some(0)); // It had no chance to reap those that died with it.
        }
        self.run.remove_directory();
        Ok((report, left, stop))
    }

    fn watch(&mut self, performance: &mut Performance, report: &mut DemoReport) -> Result<(), Stop> {
        loop {
            match performance.next(&self.signals)? {
                Next::Told(event) => {
                    if let Event::Tell(content) = &event {
                        let text = text::content(content, self.look);
                        self.narration.write(&text, &self.signals)?;
                    }
                    report.take(event);
                }
                Next::Over(None) => return Ok(()),
                Next::Over(Some(why)) => {
                    report.fail(why);
                    return Ok(());
                }
            }
        }
    }

    fn narrate(&mut self, text: &str) -> Result<(), Stop> {
        self.narration.write(text, &self.signals)
    }

    fn write_document(&mut self) -> Result<Option<Stop>> {
        let mut text = serde_json::to_string(&self.report).context("writing the report")?;
        text.push('\n');
        match &mut self.document {
            None => Ok(None),
            Some(Document::Stdout) => Ok(Output::Stdout(io::stdout()).write(&text, &self.signals).err()),
            Some(Document::File(file)) => {
                file.write_all(text.as_bytes()).context("writing the report")?;
                Ok(None)
            }
        }
    }
}

impl Drop for Session<'_> {
    /// Also when the session ends by an error.
    fn drop(&mut self) {
        end_strays(Some(self.janitor.pid()));
        self.run.remove_directory();
    }
}

/// The variable by which the tour tells a program its own process identifier.
pub(crate) const TOUR: &str = "DEMO_TOUR";

/// A program that the tour started ends with it.
fn die_with_tour() -> Result<()> {
    let Some(tour) = std::env::var(TOUR).ok().and_then(|pid| pid.parse().ok()) else { return Ok(()) };
    prctl::set_pdeathsig(Signal::SIGTERM).context("prctl(PR_SET_PDEATHSIG)")?;
    anyhow::ensure!(nix::unistd::getppid() == nix::unistd::Pid::from_raw(tour), "the tour is gone");
    Ok(())
}

fn program_name(first: Option<&OsString>) -> String {
    let path = first.map(Path::new).and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match path {
        Some(name) if name != "exe" => name,
        _ => env!("CARGO_PKG_NAME").to_owned(), // Started by /proc/self/exe, as the runner does, or without a name.
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print(); // Its reader may be gone: nothing is left to do then.
    ExitCode::from(error.exit_code() as u8)
}

fn list(demos: &[Demo]) -> String {
    demos.iter().map(|demo| format!("{}\t{}\n", demo.name, demo.question)).collect()
}

fn source(demos: &[Demo], name: &str) -> String {
    let snippets = demos.iter().filter(|demo| demo.name == name).flat_map(|demo| demo.snippets);
    let texts: Vec<String> =
        snippets.map(|snippet| format!("// ---- {} ----\n{}", snippet.path, snippet.text)).collect();
    texts.join("\n")
}

/// Prints to stdout; a reader that is gone ends the program quietly.
fn print(text: &str) -> Result<ExitCode> {
    let written = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Stop::ReaderGone.exit_code()),
        other => other.map(|()| ExitCode::SUCCESS).context("cannot write"),
    }
}
