//! Tells who sees whose change, and what of shared memory does not mean the same to both.

use std::path::Path;

use anyhow::Result;
use shared::{Claim, Stage, refused};

use super::{file, pointers, seen};

/// How many kinds of memory showed each of two processes every change, of how many.
pub fn tell(stage: &mut Stage) -> Result<(usize, usize)> {
    stage.note(
        "A word is changed in turn: by the parent, by its forked child (in the last row by a second thread) and by the \
         parent again; after each change the other of the two looks. A socket says whose turn it is; it does not carry the \
         word.",
    );
    let path = stage.directory().join("mapped");
    let rows = seen::observe(&path)?;
    stage.show(seen::table(&rows));
    seen::tell(stage, &rows);
    tell_file(stage, &path)?;
    tell_pointers(stage)?;
    stage.rule(Claim::NoDirectSharing, seen::ruling(&rows))?;
    let between_processes = seen::between_processes(&rows);
    Ok((between_processes.iter().filter(|(_, seen)| *seen == [true; 3]).count(), between_processes.len()))
}

fn tell_file(stage: &mut Stage, path: &Path) -> Result<()> {
    let read = match file::store_and_read(path) {
        Ok(read) => read,
        Err(error) => {
            let why = refused(&error).ok_or(error)?;
            stage.note(format!("A file could not be mapped here: {why}."));
            return Ok(());
        }
    };
    let says = "A third process that only calls read(2) on the file gets what was stored in the mapping";
    stage.fact(says, read.read == read.stored && read.stored != 0, format!("{:#x}", read.read));
    Ok(())
}

fn tell_pointers(stage: &mut Stage) -> Result<()> {
    let found = pointers::follow()?;
    let all = pointers::NODES as u64;
    let (here, there) = (found.inherited, found.mapped_again);
    stage.note(format!(
        "A list of {all} nodes lies in such memory, each joined to the next by a pointer and by an offset. One child \
         inherits the mapping; another maps it elsewhere, and lets go of what it inherited."
    ));
    let says =
        "Inherited pointers lead to their nodes; mapped elsewhere only offsets do, and a pointer ends in SIGSEGV";
    let led = here.by_pointer == all && there.by_pointer == 0 && there.by_offset == all;
    let got = format!("by pointer {} and {}, by offset {}", here.by_pointer, there.by_pointer, there.by_offset);
    stage.fact(says, led && found.end == pointers::CRASHED, format!("{got}; {}", found.end));
    Ok(())
}
