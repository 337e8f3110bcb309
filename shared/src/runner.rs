//! Runs each demonstration in a process of its own, shows what it tells, and proves that nothing of it is left.

mod janitor;
mod leftovers;
mod looked_up;
mod output;
mod performance;
mod performer;
mod run;
mod signals;

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::cli::Options;
use crate::demo::Demo;
use crate::machine::Machine;
use crate::measure::{Calibration, SystemClock};
use crate::report::{DemoReport, Event, Leftovers, Report, Status};
use crate::text::{self, Look};
use janitor::Janitor;
use leftovers::{SystemV, end_strays};
pub(crate) use looked_up::print;
pub(crate) use output::Output;
pub(crate) use performance::most_bytes;
use performance::{Next, Performance};
pub(crate) use run::TOUR;
use run::{Run, die_with_tour};
pub(crate) use signals::Signals;

/// The whole program: reads the command line, runs what it names, shows it, and says how it went by its exit code.
pub fn main(demos: &'static [Demo]) -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let program = program_name(arguments.first());
    if arguments.is_empty() {
        arguments.push(program.clone().into());
    }
    if arguments.get(1).is_some_and(|first| first == ROLE) {
        return performer::play(demos, &arguments[2..]);
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
        Options { list: true, .. } => print(&looked_up::list(demos)),
        Options { source: Some(name), .. } => print(&looked_up::source(demos, name)),
        Options { explain: Some(claim), .. } => print(&looked_up::explain(demos, &program, *claim, &options)),
        _ => Session::start(&program, &options).map(|session| session.play(&options.selected(demos))),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "{program}: {error:#}"); // Without a stderr there is nobody to tell.
        ExitCode::from(2)
    })
}

/// The first argument of a program that a demonstration has started again; see `Role`.
const ROLE: &str = "--role";

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

    /// Says on stderr why it ended, and what can be done; a reader that went away is no news.
    pub(crate) fn tell(&self, who: &str, advice: &str, signals: &Signals) {
        if !matches!(self, Stop::ReaderGone) {
            let says = format!("{who}: {}{advice}\n", self.says());
            let _ = Output::Stderr(io::stderr()).write_last(&says, signals); // Without a reader there is nobody to tell.
        }
    }
}

/// One run of some demonstrations.
struct Session<'o> {
    options: &'o Options,
    signals: Signals,
    run: Run,
    system_v: SystemV,
    _janitor: Janitor,
    narration: Output,
    look: Look,
    document: Option<Output>,
    report: Report,
}

impl<'o> Session<'o> {
    fn start(program: &str, options: &'o Options) -> Result<Session<'o>> {
        let document = match options.json.as_deref() {
            None => None,
            Some(path) if path == Path::new("-") => Some(Output::Stdout(io::stdout())),
            Some(path) => {
                // Opened first: a wrong path costs no run.
                let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
                Some(Output::File(file))
            }
        };
        let narration = match document {
            Some(Output::Stdout(_)) => Output::Stderr(io::stderr()),
            _ => Output::Stdout(io::stdout()),
        };
        let signals = Signals::block()?;
        die_with_tour()?;
        prctl::set_child_subreaper(true).context("becoming the subreaper")?;
        let run = Run::new().context("naming this run")?;
        let _janitor = Janitor::start(&run)?;
        let look = narration.look(options.color, options.extent());
        let machine = Machine::read(Some(Calibration::of(&SystemClock).cost_ns));
        let report = Report::new(program, options.effort, machine);
        let system_v = SystemV::look();
        Ok(Session { options, signals, run, system_v, _janitor, narration, look, document, report })
    }

    fn play(mut self, demos: &[&'static Demo]) -> ExitCode {
        let mut leftovers: Option<Leftovers> = None;
        let mut stop = self.narrate(&text::machine(&self.report.machine, self.look)).err();
        for demo in demos {
            if stop.is_some() {
                break;
            }
            let (mut report, left, stopped) = self.perform(demo);
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
        // What ended it says how it went: an interrupt may have ended the document's reader too.
        let write = if stop.is_some() { Output::write_last } else { Output::write };
        let written = self.write_document(write);
        let failed = self.report.demos.iter().any(|demo| demo.status == Status::Failed);
        match stop.or(written.err()) {
            None if failed => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
            Some(stop) => {
                stop.tell(&self.report.topic, "", &self.signals);
                stop.exit_code()
            }
        }
    }

    /// Runs one demonstration to its end, showing what it tells, then ends and counts what it left.
    fn perform(&mut self, demo: &'static Demo) -> (DemoReport, Leftovers, Option<Stop>) {
        let mut report = DemoReport::new(demo.name, demo.question, demo.rule);
        report.snippets = demo.snippets.iter().map(|snippet| snippet.path.to_owned()).collect();
        self.report.snippets.extend(demo.snippets.iter().map(|snippet| (snippet.path.to_owned(), snippet.to_text())));
        let from_ns = SystemClock.now_ns();
        let mut stop = self.narrate(&text::header(demo.name, demo.question, self.look)).err();
        if stop.is_none() {
            match self.begin(demo) {
                Ok(mut performance) => {
                    self.signals.take_along(Some(performance.group()));
                    stop = self.watch(&mut performance, &mut report).err();
                    self.signals.take_along(None); // Its number may soon be another's.
                }
                Err(error) => report.fail(format!("{error:#}")),
            }
        }
        report.seconds = (SystemClock.now_ns() - from_ns) as f64 / 1e9;
        if let Some(stop) = &stop {
            report.fail(stop.says());
        }
        let mut left = leftovers::seen(&self.run);
        (left.processes, left.zombies) = end_strays(&self.run);
        let named = leftovers::remove_named(&self.run); // Now that nobody is left who could make more.
        (left.shared_memory, left.queues, left.semaphores) = (named.shared_memory, named.queues, named.semaphores);
        left.system_v = self.system_v.new_system_v();
        if report.status == Status::Failed {
            left.zombies = left.zombies.and(Some(0)); // It had no chance to reap those that died with it.
        }
        self.run.remove_directory();
        (report, left, stop)
    }

    fn begin(&self, demo: &'static Demo) -> Result<Performance> {
        const PRIVATE: u32 = 0o700;
        let directory = self.run.directory();
        DirBuilder::new()
            .mode(PRIVATE)
            .create(&directory)
            .with_context(|| format!("cannot make the temporary directory {}", directory.display()))?;
        Performance::start(&self.run, demo, self.options)
    }

    fn watch(&mut self, performance: &mut Performance, report: &mut DemoReport) -> Result<(), Stop> {
        loop {
            match performance.next(&self.signals)? {
                Next::Told(event) => {
                    if let Event::Tell(item) = &event {
                        let from_ns = SystemClock.now_ns();
                        let text = text::item(item, self.look);
                        self.narration.write(&text, &self.signals)?;
                        performance.put_off(SystemClock.now_ns() - from_ns); // The runner's time and the reader's are not its own.
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

    fn write_document(&mut self, write: fn(&mut Output, &str, &Signals) -> Result<(), Stop>) -> Result<(), Stop> {
        let Some(document) = &mut self.document else { return Ok(()) };
        let mut text = serde_json::to_string(&self.report).expect("a report is plain data");
        text.push('\n');
        write(document, &text, &self.signals)
    }
}

impl Drop for Session<'_> {
    /// Also when the session ends by an error.
    fn drop(&mut self) {
        end_strays(&self.run);
        self.run.remove_directory();
    }
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
