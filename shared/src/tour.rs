//! The whole tour: every demonstration of the five programs in turn, one document, one scoreboard.

mod document;
mod program;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ColorChoice, Parser, Subcommand};
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::claims::Claim;
use crate::cli;
use crate::machine::Machine;
use crate::measure::{Calibration, SystemClock};
use crate::report::{DemoReport, Effort, Report, Status};
use crate::runner::{self, Output, Signals, Stop};
use crate::text::{self, Extent, Look};
use document::Document;
use program::{PROGRAMS, Program};

#[derive(Parser)]
#[command(name = "tour", version, max_term_width = 80, disable_help_subcommand = true)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every demonstration and write DIR/report.json and DIR/report.txt
    Run(Run),
    /// Print a claim and the rules by which the five programs answer it
    Explain(Explain),
}

#[derive(clap::Args)]
struct Explain {
    /// As report.json spells it: ipc-adds-overhead
    #[arg(value_parser = cli::claim(), hide_possible_values = true)]
    claim: Claim,

    /// Colour; auto honours NO_COLOR, CLICOLOR_FORCE and a non-terminal
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
}

#[derive(clap::Args)]
struct Run {
    /// How long to measure: quick shows the shapes in seconds, thorough takes large sizes and long series
    #[arg(long, value_enum, default_value = "normal")]
    effort: Effort,

    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "target/tour")]
    out: PathBuf,

    /// Print everything, not one line per demonstration
    #[arg(long)]
    full: bool,

    /// Run only what DIR lacks
    #[arg(long)]
    resume: bool,

    /// Colour; auto honours NO_COLOR, CLICOLOR_FORCE and a non-terminal
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
}

/// The tour's program.
pub fn main() -> ExitCode {
    let done = match Options::try_parse() {
        Ok(Options { command: Command::Run(options) }) => Tour::start(&options).and_then(Tour::run),
        Ok(Options { command: Command::Explain(options) }) => explain(&options),
        Err(error) => {
            let _ = error.print(); // Its reader may be gone: nothing is left to do then.
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "tour: {error:#}"); // Without a stderr there is nobody to tell.
        ExitCode::from(2)
    })
}

/// The claim, and the rules of every program that answers it.
fn explain(options: &Explain) -> Result<ExitCode> {
    let stdout = Output::Stdout(io::stdout());
    let look = stdout.look(options.color, Extent::Brief);
    let mut text = text::claim(options.claim, look);
    let answering = |name: &&&str| options.claim.answered_by().iter().any(|demo| demo.starts_with(&format!("{name} ")));
    for name in PROGRAMS.iter().filter(answering) {
        text += &Program::find(name)?.rules(options.claim, look)?;
    }
    if options.claim.answered_by().is_empty() {
        text += "No demonstration answers it yet.\n";
    }
    runner::print(&text)
}

struct Tour<'o> {
    options: &'o Run,
    signals: Signals,
    stdout: Output,
    look: Look,
    document: Document,
    /// The program whose name was shown last.
    shown: &'static str,
    from_ns: u64,
}

impl<'o> Tour<'o> {
    fn start(options: &'o Run) -> Result<Tour<'o>> {
        let document = Document::open(&options.out, options.effort, options.resume)?;
        let stdout = Output::Stdout(io::stdout());
        let extent = if options.full { Extent::Full } else { Extent::Brief };
        let look = stdout.look(options.color, extent);
        let from_ns = SystemClock.now_ns();
        Ok(Tour { options, signals: Signals::block()?, stdout, look, document, shown: "", from_ns })
    }

    fn run(mut self) -> Result<ExitCode> {
        let due = self.due()?;
        let bar = progress_bar(due.len());
        let machine = Machine::read(Some(Calibration::of(&SystemClock).cost_ns));
        let mut stop = self.say(&bar, &text::machine(&machine, self.look)).err();
        for (program, name) in due {
            if stop.is_some() {
                break;
            }
            bar.set_message(format!("{} {name}", program.name));
            stop = self.visit(&program, &name, &bar)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.close(stop)
    }

    /// Every demonstration that the document lacks, in reading order.
    fn due(&self) -> Result<Vec<(Program, String)>> {
        let mut due = Vec::new();
        for name in PROGRAMS {
            let program = Program::find(name)?;
            let names = program.list()?;
            due.extend(
                names.into_iter().filter(|demo| !self.document.has(name, demo)).map(|demo| (program.clone(), demo)),
            );
        }
        Ok(due)
    }

    /// Runs one demonstration, keeps its report and shows it.
    fn visit(&mut self, program: &Program, name: &str, bar: &ProgressBar) -> Result<Option<Stop>> {
        let report = match program.run(name, self.options.effort, &self.signals, bar) {
            Ok(report) => report,
            Err(stop) => return Ok(Some(stop)), // Cut short: it is still due.
        };
        let mut text = String::new();
        if self.shown != program.name {
            self.shown = program.name;
            text = text::topic(&report.topic, &report.version, report.effort, self.look);
        }
        text.extend(report.demos.iter().map(|demo| self.show(demo)));
        self.document.add(report);
        self.document.save()?;
        Ok(self.say(bar, &text).err())
    }

    fn show(&self, demo: &DemoReport) -> String {
        if self.options.full { text::demo(demo, self.look) } else { text::tour_line(demo, self.look) }
    }

    fn say(&mut self, bar: &ProgressBar, text: &str) -> Result<(), Stop> {
        bar.suspend(|| self.stdout.write(text, &self.signals))
    }

    /// Writes the text, shows the scoreboard and says how it went.
    fn close(mut self, mut stop: Option<Stop>) -> Result<ExitCode> {
        let report = self.document.merged();
        let plain = Look { width: 100, color: false, extent: Extent::Full };
        self.document.save_text(&text::tour(&report, plain))?;
        let seconds = (SystemClock.now_ns() - self.from_ns) as f64 / 1e9;
        if stop.is_none() {
            let mut end = text::disturbed(&report.topics, self.look);
            end.push_str(&text::scoreboard(&report.claims, self.look));
            end.push_str(&text::guide(&report.topics, self.look));
            end.push_str(&text::leftovers(&report.leftovers, self.look));
            end.push_str(&format!("{seconds:.1} s; the full report is in {}\n", self.options.out.display()));
            stop = self.stdout.write(&end, &self.signals).err();
        }
        let failed = |topic: &Report| topic.demos.iter().any(|demo| demo.status == Status::Failed);
        Ok(match stop {
            None if report.topics.iter().any(failed) => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
            Some(stop) => {
                stop.tell("tour", "; --resume goes on from here", &self.signals);
                stop.exit_code()
            }
        })
    }
}

/// Shows what runs and how much remains, on a terminal alone; redrawn by this thread, there is no other.
fn progress_bar(demonstrations: usize) -> ProgressBar {
    // By a descriptor that never waits: a terminal that was stopped must not make the tour deaf to signals.
    let terminal = Output::Stderr(io::stderr()).opened_again().filter(|again| again.is_terminal());
    let target = terminal.map_or_else(ProgressDrawTarget::hidden, |again| {
        ProgressDrawTarget::term(Term::read_write_pair(io::stdin(), again), 10)
    });
    let bar = ProgressBar::with_draw_target(Some(demonstrations as u64), target);
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len}  {msg}  {elapsed}").expect("a template of ours");
    bar.set_style(style.progress_chars("━━─"));
    bar
}
