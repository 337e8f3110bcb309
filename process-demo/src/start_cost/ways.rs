//! How long does each way to start something take, until its end is known?

use std::ffi::CString;
use std::io;

use anyhow::{Context, Result};
use process_demo::start;
use shared::measure::{Contest, Figures, Measured, Ready, Rival, Timing};
use shared::stats::Ratio;
use shared::{Placement, RowRole, Stage, refused};

pub const THREAD: &str = "std thread";
pub const PTHREAD: &str = "pthread";
pub const FORK: &str = "fork";
pub const SPAWN: &str = "posix_spawn";
pub const COMMAND: &str = "std Command";

/// One way to start something that ends with a known value.
pub struct Way {
    pub label: &'static str,
    makes: Makes,
    start: Box<dyn Fn() -> io::Result<u8>>,
    /// What comes back if it ran.
    value: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Makes {
    Thread,
    Process,
}

impl Way {
    /// Starts so many, one after the other, and returns how many came back as they should.
    pub fn start(&self, how_many: u64) -> io::Result<u64> {
        let mut right = 0;
        for _ in 0..how_many {
            right += u64::from((self.start)()? == self.value);
        }
        Ok(right)
    }
}

/// The seven ways; without a small program to run, those three that need none.
pub fn all() -> Vec<Way> {
    const VALUE: u8 = 42; // Any that a failure does not give: not 0, 1, 101 or 127.
    let way = |label, makes, value, start| Way { label, makes, start, value };
    let mut ways = vec![
        way(THREAD, Makes::Thread, VALUE, Box::new(|| start::thread(VALUE)) as Box<dyn Fn() -> io::Result<u8>>),
        way(PTHREAD, Makes::Thread, VALUE, Box::new(|| start::pthread(VALUE))),
        way(FORK, Makes::Process, VALUE, Box::new(|| start::fork(VALUE))),
    ];
    if let Some(program) = small_program() {
        let [one, two, three, four] = [program.clone(), program.clone(), program.clone(), program];
        ways.push(way(SPAWN, Makes::Process, 0, Box::new(move || start::posix_spawn(&one))));
        // SAFETY: no signal handler is installed here but the runtime's own, for faults that the child does not have.
        ways.push(way("vfork and exec", Makes::Process, 0, Box::new(move || unsafe { start::vfork_and_exec(&two) })));
        ways.push(way("fork and exec", Makes::Process, 0, Box::new(move || start::fork_and_exec(&three))));
        ways.push(way(COMMAND, Makes::Process, 0, Box::new(move || start::command(&four))));
    }
    ways
}

/// A program that does nothing and says that it succeeded.
pub fn small_program() -> Option<CString> {
    start::find("true")
}

/// Each way is tried once before anything is measured.
pub fn prove(stage: &mut Stage, ways: &[Way]) -> Result<()> {
    if let Some(program) = small_program() {
        stage.note(format!("A program that is started is {}, which does nothing.", program.to_string_lossy()));
    } else {
        stage.note("There is no program 'true' in PATH, so what runs a program is left out.");
    }
    let (mut right, mut tried, mut refusal) = (0, 0, None);
    for way in ways {
        match way.start(1).context(way.label) {
            Ok(one) => (right, tried) = (right + one, tried + 1),
            Err(error) if refused(&error).is_some() => refusal = Some(error), // Its row will say so.
            Err(error) => return Err(error),
        }
    }
    if let (0, Some(error)) = (tried, refusal) {
        return Err(error); // Nothing at all can be started here.
    }
    stage.check("Whatever was started ended with its value", right == tried, format!("{right} of {tried}"));
    Ok(())
}

/// The ways' times.
pub struct Times(Measured);

impl Times {
    pub fn median_ns(&self, label: &str) -> Option<f64> {
        Some(self.figures(label)?.median().value)
    }

    pub fn figures(&self, label: &str) -> Option<&Figures> {
        self.0.figures(label, Placement::Free)
    }

    /// How many times as long as std's thread it takes.
    pub fn against_thread(&self, label: &str) -> Option<Ratio> {
        self.0.ratio(label, THREAD, Placement::Free)
    }
}

pub fn compare(stage: &mut Stage, ways: &[Way]) -> Result<Times> {
    let title = "Start one, wait for its end";
    let mut contest = Contest::new(title, "what starts it", Timing::Events).known_as("start");
    for way in ways {
        let prepare = |_| {
            way.start(1)?; // A refusal shows here, and becomes the row's reason.
            Ok(Ready::new(|steps| way.start(steps).context("starting")))
        };
        let rival = match way.makes {
            Makes::Thread => Rival::of_threads(way.label, Placement::Free, prepare),
            Makes::Process => Rival::of_processes(way.label, Placement::Free, prepare),
        };
        // A role is for what a program would start its workers by; the others show where the time goes.
        contest.add(match way.label {
            THREAD => rival.known_as(way.label, RowRole::Threads),
            FORK | COMMAND => rival.known_as(way.label, RowRole::Processes),
            SPAWN => rival.known_as(way.label, RowRole::Processes).in_detail(), // Command calls it where it can.
            _ => rival.in_detail(),
        });
    }
    let times = Times(stage.show_comparison(contest)?);
    for label in [PTHREAD, FORK, COMMAND] {
        if let Some(ratio) = times.against_thread(label) {
            stage.trend(format!("{label} against {THREAD}"), &ratio);
        }
    }
    Ok(times)
}
