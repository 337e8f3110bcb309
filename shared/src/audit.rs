//! Does every demonstration of a program hold, in short and plain words, and does it leave nothing? For the programs' own tests.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::report::{DemoReport, Effort, Report, Status};
use crate::runner::most_bytes;
use crate::wording;

/// Runs every demonstration of the program in quick effort, as a user would, and returns all that is wrong.
///
/// A skipped demonstration is not wrong: the machine may refuse what it needs; its reason is printed.
///
/// # Panics
/// When the program cannot be started or its document cannot be read.
pub fn failures(program: &str) -> Vec<String> {
    let mut command = Command::new(program);
    command.args(["--effort", "quick", "--json", "-"]).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let report: Report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{program}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut wrong = Vec::new();
    if report.demos.is_empty() {
        wrong.push("no demonstration ran".to_owned());
    }
    for demo in &report.demos {
        let why = demo.why.as_deref().unwrap_or("no reason given");
        match demo.status {
            Status::Ran => {}
            Status::Skipped => println!("{} was skipped: {why}", demo.name),
            Status::Failed => wrong.push(format!("{}: {why}", demo.name)),
        }
    }
    wrong.extend(report.demos.iter().filter_map(tells_too_much));
    wrong.extend(wording::complaints(&report));
    if report.leftovers.found() > 0 {
        wrong.push(format!("left behind: {}", report.leftovers.in_words()));
    }
    if wrong.is_empty() && !output.status.success() {
        wrong.push(format!("{} ended with {}", Path::new(program).display(), output.status));
    }
    wrong
}

/// Nobody who is honest may come near the limit at which a demonstration is taken for one that floods its channel.
fn tells_too_much(demo: &DemoReport) -> Option<String> {
    let (told, most) = (serde_json::to_vec(demo).map_or(0, |text| text.len()), most_bytes(Effort::Quick));
    (told > most / 4).then(|| format!("{}: {told} bytes told, of {most} that are allowed", demo.name))
}
