//! What does one maker see of one thing that it passes on, in one way?

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result, bail, ensure};
use process_demo::child::{self, Exit};
use shared::refused;

use super::create::{LATER, SET, Way, create, receive, send};
use super::thing::{How, InTurn, NOWHERE, Seen, Site};
use super::things::THINGS;

/// Runs the thing's course in a process of its own, so that no row changes another; or says why this machine refuses it.
pub fn observe(directory: &Path, way: Way, thing: usize) -> Result<Result<Seen, String>> {
    let (told, mut teller) = io::pipe().context("a pipe")?;
    let work = move || {
        let report = match run(directory, way, thing) {
            Ok(seen) => seen.to_array().map(|value| value.map_or("-".to_owned(), |value| value.to_string())).join(" "),
            Err(error) => match refused(&error) {
                Some(why) => format!("{REFUSED}{why}"),
                None => format!("{FAILED}{error:#}"),
            },
        };
        u8::from(teller.write_all(report.as_bytes()).is_err())
    };
    // SAFETY: what the two share are pipes.
    let maker = unsafe { child::fork(work) }.context("forking")?;
    let told = io::read_to_string(told)?;
    let exit = maker.wait()?;
    ensure!(exit == Exit::Code(0), "the parent of a task ended with {exit}");
    if let Some(why) = told.strip_prefix(REFUSED) {
        return Ok(Err(why.to_owned()));
    }
    let values = told.split(' ').map(|word| word.parse().ok()).collect::<Vec<_>>();
    match <[Option<u64>; 7]>::try_from(values) {
        Ok(values) if !told.starts_with(FAILED) => Ok(Ok(Seen::from_array(values))),
        _ => bail!("{}, {}: {}", THINGS[thing].name, way.name(), told.trim_start_matches(FAILED)),
    }
}

const REFUSED: &str = "refused ";
const FAILED: &str = "failed ";

fn run(directory: &Path, way: Way, thing: usize) -> Result<Seen> {
    match THINGS[thing].how {
        How::InTurn(steps) => in_turn(directory, way, thing, steps),
        How::FromOutside(look) => create(way, thing, NOWHERE, |_, task| {
            let [maker, created] = look(task)?.map(Some);
            let (before, set) = (None, maker);
            // Nobody changes it: each sees its own to the end.
            Ok(Seen { before, set, first: created, changed: created, reached: set, later: set, came: created })
        }),
    }
}

fn in_turn(directory: &Path, way: Way, thing: usize, steps: InTurn) -> Result<Seen> {
    let InTurn { set_up, look, change } = steps;
    let on_the_stack = AtomicU64::new(0);
    let before = look(&NOWHERE);
    let places = set_up(&Site { directory, stack_word: (&raw const on_the_stack).addr() })?;
    change(&places, SET)?;
    let set = look(&places);
    ensure!(set.is_some(), "it could not be set up");
    create(way, thing, places, |line, _| {
        let first = receive(line)?;
        send(line, set)?; // If this is what it saw, the created task changes it.
        let changed = receive(line)?;
        let reached = look(&places);
        change(&places, LATER)?;
        let later = look(&places);
        send(line, later)?;
        Ok(Seen { before, set, first, changed, reached, later, came: receive(line)? })
    })
}
