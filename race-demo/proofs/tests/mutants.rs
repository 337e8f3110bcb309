//! Does every mutant of a proved snippet fail one of the snippet's checks? Prints each with its killer.
//!
//! Each check runs in a process of its own, for a deadlock found by loom ends the whole process. The shipped checks run
//! in the same way first: a way of running them in which they fail too would kill every mutant.

use std::process::{Command, ExitCode};
use std::{env, panic, process};

use proofs::mutants::MUTANTS;
use proofs::{Check, Mutant, checks_of_futex_mutex, checks_of_ring};

const SHIPPED: &[&[Check]] = &[checks_of_ring::CHECKS, checks_of_futex_mutex::CHECKS];

fn main() -> ExitCode {
    let names: Vec<usize> = env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if let &[subject, check] = names.as_slice() {
        run_alone(&subjects()[subject][check]);
        return ExitCode::SUCCESS;
    }
    let mut as_expected = !MUTANTS.is_empty();
    for (index, checks) in subjects().into_iter().enumerate() {
        let failure = (0..checks.len()).find_map(|check| Some((checks[check].name, failure_of(index, check)?)));
        let mutant = index.checked_sub(SHIPPED.len()).map(|index| &MUTANTS[index]);
        as_expected &= failure.is_some() == mutant.is_some();
        let subject = mutant.map_or("the shipped file".to_owned(), |Mutant { file, line, change, .. }| {
            format!("{file}:{line}: {change}")
        });
        match failure {
            Some((check, why)) => println!("{subject}: killed by '{check}': {why}"),
            None => println!("{subject}: every check holds"),
        }
    }
    if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The checks of the shipped files, then those of each mutant.
fn subjects() -> Vec<&'static [Check]> {
    SHIPPED.iter().copied().chain(MUTANTS.iter().map(|mutant| mutant.checks)).collect()
}

/// Runs one check in a process of its own; says why it failed, if it did.
fn failure_of(subject: usize, check: usize) -> Option<String> {
    let program = env::current_exe().expect("this program has a path");
    let ended = Command::new(program)
        .args([subject, check].map(|number| number.to_string()))
        .output()
        .expect("it starts again");
    match ended.status.code() {
        Some(0) => None,
        Some(FAILED) => Some(String::from_utf8_lossy(&ended.stdout).into_owned()),
        _ => panic!("neither held nor failed: {ended:?}"),
    }
}

const FAILED: i32 = 101; // As of a Rust program that panics.

fn run_alone(check: &Check) {
    panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let literal = payload.downcast_ref::<&str>().copied();
        let message =
            literal.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words");
        let first_line = message.trim().lines().next().unwrap_or_default();
        print!("{}", first_line.split(';').next().unwrap_or_default()); // After it, loom lists its threads' states.
        process::exit(FAILED); // Before the panic unwinds: loom's own clean-up would panic again, and abort.
    }));
    (check.run)();
}
