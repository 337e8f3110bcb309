//! Can two processes share memory as threads do?

mod first_touch;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use process_demo::crew::{Arguments, Crew, Kind, NOTHING};
use process_demo::page::Page;
use shared::{Cell, Claim, Demo, Extras, Ruling, Snippet, Stage, Table, Tried, tried};

use crate::mapped::{Mapping, WORD_BYTES, words_of};

pub const DEMO: Demo = Demo {
    name: "shared-memory",
    question: "Can two processes share memory as threads do?",
    claims: &[Claim::NoDirectSharing],
    rule: "Data is shared if one process's change of a word is there when another looks. The claim holds \
           if no kind of memory shows that, is refuted if every kind does, ordinary variables too, and holds except for \
           those that do if some do.",
    extras: Extras::NONE,
    snippets: &[Snippet {
        path: "ipc-demo/snippets/shared_region.rs",
        text: include_str!("../snippets/shared_region.rs"),
    }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "A word is changed in turn: by the parent, by its forked child (in the last row by two threads) and by the parent \
         again; after each change the other of the two looks. A socket says whose turn it is; it does not carry the word.",
    );
    let file = file_without_a_name(stage)?;
    let kinds = look_at_each_kind(&file)?;
    show(stage, &kinds);
    match tried(read_without_mapping(file))? {
        Ok(read) => {
            let says = "A process that only calls read(2) on the file gets what another stored in its mapping";
            stage.fact(says, read == STORED, format!("{read:#x}"));
        }
        Err(why) => stage.note(format!("A file could not be mapped here: {why}.")),
    }
    stage.rule(Claim::NoDirectSharing, ruling(&kinds))?;
    let mapped_by_each = first_touch::count_faults(stage)?;
    let [whole, _, all] = counts(&kinds);
    stage.headline(format!("{whole} of {all} kinds of memory are shared"));
    stage.answer(format!(
        "{}: {whole} of {all} kinds of memory show each process every change of the other.{}",
        if whole == 0 { "No" } else { "Yes" },
        if mapped_by_each {
            " Page tables stay apart: unlike a thread, each process must map the pages itself."
        } else {
            ""
        },
    ));
    stage.advise("To share memory between processes, copy `shared_region`.");
    Ok(())
}

/// One kind of memory, and what two threads or two processes saw of it.
struct MemoryKind {
    name: &'static str,
    between: Kind,
    /// Whether the kind promises that both have the same.
    shared: bool,
    seen: Tried<Seen>,
}

/// Which of three changes the other side saw, in their order.
struct Seen {
    changes: [bool; 3],
    same_address: bool,
}

fn look_at_each_kind(file: &File) -> Result<Vec<MemoryKind>> {
    let variable = |between| look(between, &AtomicU64::new(0), None);
    let page = |page: std::io::Result<Page>| look(Kind::Processes, page?.word(), None);
    let memfd = |again: Option<Map>| {
        let region = SharedRegion::new(WORD_BYTES)?;
        look(Kind::Processes, &words_of(&region)[0], again.map(|map| (map, region.fd())))
    };
    let of_file = || {
        let here = map_for_good(Mapping::to_write, file.as_fd())?;
        look(Kind::Processes, here, Some((Mapping::to_write, file.as_fd())))
    };
    let kinds: [(&'static str, Kind, bool, Result<Seen>); 8] = [
        ("variable", Kind::Processes, false, variable(Kind::Processes)),
        ("MAP_PRIVATE", Kind::Processes, false, page(Page::copied_by_fork())),
        ("memfd, MAP_PRIVATE", Kind::Processes, false, memfd(Some(Mapping::private))),
        ("MAP_SHARED", Kind::Processes, true, page(Page::shared_by_fork())),
        ("memfd, inherited", Kind::Processes, true, memfd(None)),
        ("memfd, mapped again", Kind::Processes, true, memfd(Some(Mapping::to_write))),
        ("file, mapped again", Kind::Processes, true, of_file()),
        ("variable, two threads", Kind::Threads, true, variable(Kind::Threads)),
    ];
    let kind =
        |(name, between, shared, seen)| Ok(MemoryKind { name, between, shared, seen: tried(seen).context(name)? });
    kinds.into_iter().map(kind).collect()
}

/// How a process maps a file.
type Map = fn(BorrowedFd<'_>, usize) -> nix::Result<Mapping>;

/// Each side looks at what the other one stored before it stores something itself. The second one uses the word where it
/// is, or maps the file in which it lies itself. The socket on which it is told when orders these stores and loads.
fn look(between: Kind, word: &AtomicU64, map_again: Option<(Map, BorrowedFd<'_>)>) -> Result<Seen> {
    const SECOND: usize = 0;
    const FIRST: usize = 1; // A worker too, if both are threads; else it is this process.
    let workers = if between == Kind::Threads { 2 } else { 1 };
    let mut crew = Crew::of(between, workers, || match map_again {
        Some((map, file)) => map_for_good(map, file),
        None => Ok(word),
    })?;
    let look_and_store = |word: &mut &AtomicU64, [value, ..]: Arguments| {
        let seen = word.load(Relaxed);
        word.store(value, Relaxed);
        Ok(seen)
    };
    let mut turn = |who, value| match (who, between) {
        (FIRST, Kind::Processes) => look_and_store(&mut &*word, [value, 0, 0]),
        _ => crew.ask(who, look_and_store, [value, 0, 0])?.value(),
    };
    turn(FIRST, 1)?;
    let changes = [turn(SECOND, 2)? == 1, turn(FIRST, 3)? == 2, turn(SECOND, 4)? == 3];
    let address = crew.ask(SECOND, |word, _| Ok(ptr::from_ref(*word).addr() as u64), NOTHING)?.value()?;
    Ok(Seen { changes, same_address: address == ptr::from_ref(word).addr() as u64 })
}

/// The file's first word, for as long as this process lives.
fn map_for_good(map: Map, file: BorrowedFd<'_>) -> Result<&'static AtomicU64> {
    let mapping = match map(file, WORD_BYTES) {
        Err(Errno::ENODEV) => Err(Errno::EOPNOTSUPP).context("this file system maps no files"),
        done => done.context("mapping a file"),
    }?;
    Ok(&Box::leak(Box::new(mapping)).words()[0])
}

/// A file of one word, which nobody else can open.
fn file_without_a_name(stage: &Stage) -> Result<File> {
    let path = stage.directory().join("mapped");
    let file = File::options().read(true).write(true).create_new(true).open(&path).context("a file")?;
    fs::remove_file(&path)?;
    file.set_len(WORD_BYTES as u64).context("a file of eight bytes")?;
    Ok(file)
}

const STORED: u64 = 0x0123_4567_89AB_CDEF;

/// What this process, which maps nothing, reads of a file once another one has stored something in its mapping.
fn read_without_mapping(mut file: File) -> Result<u64> {
    let mut child = Crew::of(Kind::Processes, 1, || map_for_good(Mapping::to_write, file.as_fd()))?;
    let store = |word: &mut &AtomicU64, _| {
        word.store(STORED, Relaxed);
        Ok(0)
    };
    child.ask(0, store, NOTHING)?.value()?;
    let mut bytes = [0; WORD_BYTES];
    file.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn show(stage: &mut Stage, kinds: &[MemoryKind]) {
    let change = |seen: bool| if seen { Cell::good("seen") } else { Cell::bad("not seen") };
    let row = |kind: &MemoryKind| match &kind.seen {
        Ok(seen) => {
            let address = Cell::neutral(if seen.same_address { "the same" } else { "another" });
            [vec![kind.name.into()], seen.changes.map(change).into(), vec![address]].concat()
        }
        Err(why) => vec![kind.name.into(), Cell::Skipped { skipped: why.clone() }],
    };
    let title = "Three changes of one word: does the other side see each?";
    let columns = ["memory", "by parent", "by child", "by parent again", "its address"];
    stage.show(Table::new(title, columns, kinds.iter().map(row)));
    let of = |shared: bool| kinds.iter().filter(move |kind| kind.shared == shared).flat_map(|kind| &kind.seen);
    let kept = of(false).filter(|seen| !seen.changes[1]).count();
    stage.all("A change made in private memory is never seen by the process that forked", kept, of(false).count());
    let whole = of(true).filter(|seen| seen.changes == [true; 3]).count();
    let says = "In shared memory each side sees every change of the other, by thread or process";
    stage.all(says, whole, of(true).count());
    if of(false).any(|seen| seen.changes == [true, false, false]) {
        stage.note(
            "A private mapping of a memfd shows what is in there until its process writes; from then on it is a copy.",
        );
    }
}

/// Of the kinds that two processes tried: how many showed each every change of the other, how many none, of how many.
fn counts(kinds: &[MemoryKind]) -> [usize; 3] {
    let tried = || kinds.iter().filter(|kind| kind.between == Kind::Processes).flat_map(|kind| &kind.seen);
    let of = |changes| tried().filter(|seen| seen.changes == changes).count();
    [of([true; 3]), of([false; 3]), tried().count()]
}

/// Can processes not share data directly?
fn ruling(kinds: &[MemoryKind]) -> Ruling {
    let [whole, none, all] = counts(kinds);
    let as_promised =
        |kind: &MemoryKind| kind.seen.as_ref().is_ok_and(|seen| kind.shared == (seen.changes == [true; 3]));
    let because =
        format!("{whole} of {all} kinds of memory showed each process every change of the other, {none} showed none");
    let mut tried_by_processes = kinds.iter().filter(|kind| kind.between == Kind::Processes && kind.seen.is_ok());
    let ruling = if all == 0 {
        Ruling::undecided("No kind of memory could be tried here")
    } else if none == all {
        Ruling::holds(because)
    } else if whole == all {
        Ruling::refuted(because)
    } else if tried_by_processes.all(as_promised) {
        Ruling::except("for memory mapped as shared", because)
    } else {
        Ruling::except(format!("for {} of {all} kinds of memory, in whole or in part", all - none), because)
    };
    ruling.by(whole as f64, "kinds of memory that show every change")
}

#[cfg(test)]
mod tests {
    use shared::Verdict::{Holds, Qualified, Refuted, Undecided};

    use super::*;

    fn kind(between: Kind, shared: bool, changes: [bool; 3]) -> MemoryKind {
        MemoryKind { name: "it", between, shared, seen: Ok(Seen { changes, same_address: true }) }
    }

    #[test]
    fn the_verdict_follows_from_what_was_seen_between_processes() {
        let verdict = |kinds: &[MemoryKind]| ruling(kinds).verdict;
        let of = |changes| kind(Kind::Processes, true, changes);
        let (all, none, threads) = (|| of([true; 3]), || of([false; 3]), || kind(Kind::Threads, true, [true; 3]));
        assert_eq!(verdict(&[none(), all()]), Qualified);
        assert_eq!(verdict(&[all(), all()]), Refuted);
        assert_eq!(verdict(&[none(), none(), threads()]), Holds);
        assert_eq!(verdict(&[none(), of([true, false, false])]), Qualified);
        assert_eq!(verdict(&[threads()]), Undecided);
    }

    #[test]
    fn the_condition_is_the_shared_kinds_only_if_they_and_no_others_are_whole() {
        let says = |kinds: &[MemoryKind]| ruling(kinds).condition.unwrap().says;
        let of = |shared, changes| kind(Kind::Processes, shared, changes);
        assert_eq!(says(&[of(false, [false; 3]), of(true, [true; 3])]), "for memory mapped as shared");
        let part = of(true, [true, false, false]);
        assert_eq!(says(&[of(true, [false; 3]), part]), "for 1 of 2 kinds of memory, in whole or in part");
    }
}
