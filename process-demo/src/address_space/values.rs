//! What does each process see at the same address when one of them writes?

use anyhow::{Context, Result};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Task};
use process_demo::foreign_memory;
use process_demo::page::Page;
use shared::{Cell, Column, Stage, Table};

use super::sight::{Sight, Words};

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
    let copied = Page::copied_by_fork().context("mapping a page")?;
    let shared = Page::shared_by_fork().context("mapping a shared page")?;
    let words = Words { copied: copied.word(), shared: shared.word() };
    words.write(1);
    let before = words.look();
    let mut child = Crew::of(Kind::Processes, 1, || Ok(words))?;
    let write = |words: &mut Words<'_>, [value, ..]: Arguments| {
        words.write(value);
        Ok(0)
    };
    child.ask(0, write, [2, 0, 0])?.value()?;
    let child_wrote = (words.look(), sight_of(&mut child)?);
    let address = child_wrote.0.copied_at as usize;
    let pid = child.pid(0).context("the child has ended")?;
    let read_from_outside = foreign_memory::read_word(pid, address).map_err(|error| error.to_string());
    words.write(3);
    let parent_wrote = (words.look(), sight_of(&mut child)?);
    Ok(Course { before, child_wrote, parent_wrote, read_from_outside })
}

fn sight_of<'p>(child: &mut Crew<Words<'p>>) -> Result<Sight> {
    let mut ask = |what: Task<Words<'p>>| child.ask(0, what, NOTHING)?.value();
    Ok(Sight {
        copied_at: ask(|words, _| Ok(words.look().copied_at))?,
        copied: ask(|words, _| Ok(words.look().copied))?,
        shared_at: ask(|words, _| Ok(words.look().shared_at))?,
        shared: ask(|words, _| Ok(words.look().shared))?,
    })
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
