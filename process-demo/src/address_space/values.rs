//! What does each process see at the same address when one of them writes?

use std::io::{self, PipeReader, PipeWriter, Read, Write};

use anyhow::{Context, Result};
use process_demo::child;
use process_demo::foreign_memory;
use shared::{Cell, Column, Stage, Table};

use super::sight::{Pages, Sight};

/// What was seen, in short.
pub struct Values {
    /// At the end, in ordinary memory: this process's value.
    pub here: u64,
    /// At the same time and address: the child's.
    pub there: u64,
    pub kept_apart: bool,
    pub seen_shared: bool,
    /// The child's value as the parent read it, or why it could not.
    pub read_from_outside: Result<u64, String>,
}

/// What both processes saw, in the order in which it was.
struct Course {
    before: Sight,
    /// This process and the child, after the child wrote 2.
    child_wrote: (Sight, Sight),
    /// The same after this process wrote 3.
    parent_wrote: (Sight, Sight),
    read_from_outside: Result<u64, String>,
}

pub fn show(stage: &mut Stage) -> Result<Values> {
    stage.note("Two pages hold 1 each. A forked child writes 2 into both; then its parent writes 3 into both.");
    let Course { before, child_wrote, parent_wrote, read_from_outside } = take_course()?;
    let rows = [
        ("before the fork", before, None),
        ("the child wrote 2", child_wrote.0, Some(child_wrote.1)),
        ("the parent wrote 3", parent_wrote.0, Some(parent_wrote.1)),
    ];
    stage.show(table(&rows));
    let at = [before, parent_wrote.0, child_wrote.1, parent_wrote.1].map(|sight| (sight.copied_at, sight.shared_at));
    let same_place = at.iter().all(|place| *place == at[0]);
    let got = format!("{:#x} and {:#x}", at[0].0, at[0].1);
    stage.fact("Both pages lie at the same addresses in parent and child", same_place, got);
    let copied = [child_wrote.0, child_wrote.1, parent_wrote.0, parent_wrote.1].map(|sight| sight.copied);
    let shared = [child_wrote.0, child_wrote.1, parent_wrote.0, parent_wrote.1].map(|sight| sight.shared);
    let [.., here, there] = copied;
    let says = "A fork copies ordinary memory: one address holds two values at once";
    let kept_apart = stage.fact(says, copied == [1, 2, 3, 2], format!("{here} in the parent, {there} in the child"));
    let says = "Memory mapped as shared holds one value: each process sees what the other wrote";
    let got = format!("{} after the child wrote 2, {} after the parent wrote 3", shared[0], shared[3]);
    let seen_shared = stage.fact(says, shared == [2, 2, 3, 3], got);
    stage.note(match &read_from_outside {
        Ok(value) => {
            format!("The kernel let the parent read the child's {value} from outside (process_vm_readv).")
        }
        Err(why) => format!("The kernel did not let the parent read the child's memory (process_vm_readv): {why}."),
    });
    Ok(Values { here, there, kept_apart, seen_shared, read_from_outside })
}

fn take_course() -> Result<Course> {
    let pages = Pages::new()?;
    pages.write(1);
    let before = pages.look();
    let (mut from_child, mut to_parent) = io::pipe().context("a pipe")?;
    let (mut from_parent, mut to_child) = io::pipe().context("a pipe")?;
    let work = || u8::from(live(&pages, &mut to_parent, &mut from_parent).is_err());
    // SAFETY: the child uses the pages by atomics, and pipes; neither owns anything in the shared page.
    let child = unsafe { child::fork(work) }.context("forking")?;
    let theirs = Sight::receive(&mut from_child)?; // Once it is here, the child has written.
    let child_wrote = (pages.look(), theirs);
    let address = child_wrote.0.copied_at as usize;
    let read_from_outside = foreign_memory::read_word(child.pid(), address).map_err(|error| error.to_string());
    pages.write(3);
    to_child.write_all(&[0])?; // The child looks again after this.
    let theirs = Sight::receive(&mut from_child)?;
    Ok(Course { before, child_wrote, parent_wrote: (pages.look(), theirs), read_from_outside })
}

/// The child's life: write and tell, then look and tell whenever it is asked to.
fn live(pages: &Pages, to_parent: &mut PipeWriter, from_parent: &mut PipeReader) -> io::Result<()> {
    pages.write(2);
    loop {
        pages.look().send(to_parent)?;
        from_parent.read_exact(&mut [0])?;
    }
}

fn table(moments: &[(&str, Sight, Option<Sight>)]) -> Table {
    let number = |seen: Option<u64>| seen.map_or(Cell::Nothing, |value| Cell::Number(value as f64));
    let row = |page: &str, moment: &str, at: u64, ours: u64, theirs: Option<u64>| {
        let [page, moment, at] = [page.to_owned(), moment.to_owned(), format!("{at:#x}")].map(Cell::Text);
        vec![page, moment, at, number(Some(ours)), number(theirs)]
    };
    let copied = moments.iter().map(|(moment, ours, theirs)| {
        row("copied by fork", moment, ours.copied_at, ours.copied, theirs.map(|sight| sight.copied))
    });
    let shared = moments.iter().map(|(moment, ours, theirs)| {
        row("mapped as shared", moment, ours.shared_at, ours.shared, theirs.map(|sight| sight.shared))
    });
    Table {
        title: "One address, two processes".to_owned(),
        columns: vec![
            Column::label("page"),
            Column::label("moment"),
            Column::label("address in both"),
            Column::value("parent", ""),
            Column::value("child", ""),
        ],
        rows: copied.chain(shared).collect(),
    }
}
