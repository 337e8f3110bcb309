//! What does one maker see of one thing that it passes on, in one way?

use std::path::Path;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result, ensure};
use process_demo::crew::{Arguments, Crew, Kind, Reply};
use shared::refused;

use super::create::{LATER, SET, Way, create, receive, send};
use super::thing::{How, InTurn, NOWHERE, Seen, Site};
use super::things::THINGS;

/// Runs the thing's course in a process of its own, so that no row changes another; or says why this machine refuses it.
pub fn observe(directory: &Path, way: Way, thing: usize) -> Result<Result<Seen, String>> {
    type Maker<'d> = (&'d Path, Way, [Option<u64>; 7]);
    let mut maker = Crew::of(Kind::Processes, 1, || Ok((directory, way, [None; 7])))?;
    let run_it = |(directory, way, seen): &mut Maker<'_>, [thing, ..]: Arguments| {
        *seen = run(directory, *way, thing as usize)?.to_array();
        Ok(0)
    };
    if let Err(error) = maker.ask(0, run_it, [thing as u64, 0, 0])?.value() {
        let why = refused(&error).ok_or_else(|| error.context(format!("{}, {}", THINGS[thing].name, way.name())))?;
        return Ok(Err(why));
    }
    let value = |(.., seen): &mut Maker<'_>, [at, ..]: Arguments| seen[at as usize].context("nothing");
    let values = [0, 1, 2, 3, 4, 5, 6].map(|at| maker.ask(0, value, [at, 0, 0]).and_then(Reply::value).ok());
    Ok(Ok(Seen::from_array(values)))
}

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
