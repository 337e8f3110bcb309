//! Can two processes share memory as threads do?

mod hazards;
mod mapped;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Result;
use ipc_demo::shared_region::SharedRegion;
use nix::sys::mman::MapFlags;
use process_demo::crew::{Arguments, Crew, Kind, NOTHING};
use process_demo::page::Page;
use shared::{Cell, Claim, Column, Demo, Extras, Mood, Ruling, Snippet, Stage, Table, refused};

use Promise::{Private, Shared, SharedByThreads};
use Second::{AreThreads, Inherits, Maps};
use mapped::{WORD_BYTES, map, words_of};

pub const DEMO: Demo = Demo {
    name: "shared-memory",
    question: "Can two processes share memory as threads do?",
    claims: &[Claim::NoDirectSharing],
    rule: "Data is shared if one process's change of a word is there when another looks. The claim holds \
           if no kind of memory shows that, is refuted if every kind does, ordinary variables too, and holds except for \
           those that do if some do.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "A word is changed in turn: by the parent, by its forked child (in the last row by two threads) and by the parent \
         again; after each change the other of the two looks. A socket says whose turn it is; it does not carry the word.",
    );
    let file = mapped::new_file(&stage.directory().join("mapped"))?;
    let kinds = look_at_each_kind(&file)?;
    stage.show(table(&kinds));
    tell(stage, &kinds);
    match read_without_mapping(&file) {
        Ok(read) => {
            let says = "A third process that only calls read(2) on the file gets what was stored in the mapping";
            stage.fact(says, read == STORED, format!("{read:#x}"));
        }
        Err(error) => stage.note(format!("A file could not be mapped here: {}.", refused(&error).ok_or(error)?)),
    }
    stage.rule(Claim::NoDirectSharing, ruling(&kinds))?;
    let apart = [mapped::follow_links(stage)?, mapped::touch_first(stage)?] == [true; 2];
    hazards::lose_an_addition(stage)?;
    hazards::crash_while_writing(stage)?;
    let [whole, _, all] = counts(&kinds);
    stage.headline(format!("{whole} of {all} kinds of memory are shared"));
    stage.answer(format!(
        "{}: {whole} of {all} kinds of memory show each process every change of the other.{}",
        if whole == 0 { "No" } else { "Yes" },
        if apart { " Page tables stay apart, and pointers hold only where both map it alike." } else { "" },
    ));
    stage.advise("To share memory copy `shared_region`; for messages in it, `ring`.");
    Ok(())
}

/// One kind of memory, and what was seen of it; or why it could not be tried here.
struct MemoryKind {
    name: &'static str,
    promise: Promise,
    seen: Result<Seen, String>,
}

/// What the kind is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Private,
    Shared,
    SharedByThreads,
}

/// How the second party comes to the memory.
#[derive(Clone, Copy)]
enum Second<'a> {
    /// Both are threads of one process.
    AreThreads,
    /// A forked child uses what it inherited, at the same address.
    Inherits,
    /// A forked child maps the same file itself, in this way.
    Maps(BorrowedFd<'a>, MapFlags),
}

/// Which of three changes the other side saw, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    changes: [bool; 3],
    same_address: bool,
    mapped_again: bool,
}

fn look_at_each_kind(file: &File) -> Result<Vec<MemoryKind>> {
    let variable = |second| look(&AtomicU64::new(0), second);
    let page = |page: io::Result<Page>| look(page?.word(), Inherits);
    let memfd = |how: Option<MapFlags>| {
        let region = SharedRegion::new(WORD_BYTES)?;
        look(&words_of(&region)[0], how.map_or(Inherits, |how| Maps(region.fd(), how)))
    };
    let by_file = || look(&map(file, WORD_BYTES, MapFlags::MAP_SHARED)?[0], Maps(file.as_fd(), MapFlags::MAP_SHARED));
    let kinds: [(&'static str, Promise, Result<Seen>); 8] = [
        ("variable", Private, variable(Inherits)),
        ("MAP_PRIVATE", Private, page(Page::copied_by_fork())),
        ("memfd, MAP_PRIVATE", Private, memfd(Some(MapFlags::MAP_PRIVATE))),
        ("MAP_SHARED", Shared, page(Page::shared_by_fork())),
        ("memfd, inherited", Shared, memfd(None)),
        ("memfd, mapped again", Shared, memfd(Some(MapFlags::MAP_SHARED))),
        ("file, mapped again", Shared, by_file()),
        ("variable, two threads", SharedByThreads, variable(AreThreads)),
    ];
    let kind = |(name, promise, seen)| {
        let seen = match seen {
            Ok(seen) => Ok(seen),
            Err(error) => Err(refused(&error).ok_or_else(|| error.context(format!("sharing: {name}")))?),
        };
        Ok(MemoryKind { name, promise, seen })
    };
    kinds.into_iter().map(kind).collect()
}

/// Each side looks at what the other one stored before it stores something itself. The socket on which the second party
/// is told when orders these stores and loads.
fn look(word: &AtomicU64, second: Second<'_>) -> Result<Seen> {
    const SECOND: usize = 0;
    const FIRST: usize = 1; // A worker too, if both are threads; else it is this process.
    let (kind, workers) = if matches!(second, AreThreads) { (Kind::Threads, 2) } else { (Kind::Processes, 1) };
    let mut crew = Crew::of(kind, workers, || match second {
        Maps(file, how) => Ok(&map(file, WORD_BYTES, how)?[0]),
        AreThreads | Inherits => Ok(word),
    })?;
    let look_and_store = |word: &mut &AtomicU64, [value, ..]: Arguments| {
        let seen = word.load(Relaxed);
        word.store(value, Relaxed);
        Ok(seen)
    };
    let address = |word: &mut &AtomicU64, _| Ok(ptr::from_ref(*word).addr() as u64);
    let mut turn = |party, value| match (party, kind) {
        (FIRST, Kind::Processes) => look_and_store(&mut &*word, [value, 0, 0]),
        _ => crew.ask(party, look_and_store, [value, 0, 0])?.value(),
    };
    turn(FIRST, 1)?;
    let changes = [turn(SECOND, 2)? == 1, turn(FIRST, 3)? == 2, turn(SECOND, 4)? == 3];
    let same_address = crew.ask(SECOND, address, NOTHING)?.value()? == ptr::from_ref(word).addr() as u64;
    Ok(Seen { changes, same_address, mapped_again: matches!(second, Maps(..)) })
}

fn table(kinds: &[MemoryKind]) -> Table {
    let word = |says: &str, mood| Cell::Word { says: says.to_owned(), mood };
    let change = |seen: bool| if seen { word("seen", Mood::Good) } else { word("not seen", Mood::Bad) };
    let row = |kind: &MemoryKind| {
        let mut row = vec![Cell::Text(kind.name.to_owned())];
        match &kind.seen {
            Ok(seen) => {
                row.extend(seen.changes.map(change));
                row.push(word(if seen.same_address { "the same" } else { "another" }, Mood::Neutral));
            }
            Err(why) => {
                row.extend([Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing, Cell::Nothing])
            }
        }
        row
    };
    let heads = ["by parent", "by child", "by parent again", "its address"];
    Table {
        title: "Three changes of one word: does the other side see each?".to_owned(),
        columns: [Column::label("memory")].into_iter().chain(heads.map(|head| Column::value(head, ""))).collect(),
        rows: kinds.iter().map(row).collect(),
    }
}

fn tell(stage: &mut Stage, kinds: &[MemoryKind]) {
    let (private, shared): (Vec<_>, Vec<_>) = kinds
        .iter()
        .filter_map(|kind| Some((kind.promise, kind.seen.as_ref().ok()?)))
        .partition(|(promise, _)| *promise == Private);
    let kept = private.iter().filter(|(_, seen)| !seen.changes[1]).count();
    let says = "A change made in private memory is never seen by the process that forked";
    stage.fact(says, kept == private.len(), format!("{kept} of {} kinds", private.len()));
    let whole = shared.iter().filter(|(_, seen)| seen.changes == [true; 3]).count();
    let says = "In shared memory each side sees every change of the other, by thread or process";
    stage.fact(says, whole == shared.len(), format!("{whole} of {} kinds", shared.len()));
    let again: Vec<_> = private.iter().chain(&shared).filter(|(_, seen)| seen.mapped_again).collect();
    let elsewhere = again.iter().filter(|(_, seen)| !seen.same_address).count();
    let says = "What a process maps once more lies at another address there";
    stage.check(says, elsewhere == again.len(), format!("{elsewhere} of {}", again.len()));
    if private.iter().any(|(_, seen)| seen.changes == [true, false, false]) {
        stage.note(
            "A private mapping of a memfd shows what is in there until its process writes; from then on it is a copy.",
        );
    }
}

/// What a third process reads of a file that two have mapped, by read(2) alone.
fn read_without_mapping(file: &File) -> Result<u64> {
    let mut crew = Crew::of(Kind::Processes, 2, || Ok(file))?;
    let store = |file: &mut &File, [value, ..]: Arguments| {
        map(*file, WORD_BYTES, MapFlags::MAP_SHARED)?[0].store(value, Relaxed);
        Ok(0)
    };
    let read = |file: &mut &File, _| {
        let mut bytes = [0; WORD_BYTES];
        file.read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    };
    crew.ask(0, store, [STORED, 0, 0])?.value()?;
    crew.ask(1, read, NOTHING)?.value()
}

const STORED: u64 = 0x0123_4567_89AB_CDEF;

/// Of the kinds that two processes tried: how many showed each every change of the other, how many none, of how many.
fn counts(kinds: &[MemoryKind]) -> [usize; 3] {
    let tried =
        || kinds.iter().filter(|kind| kind.promise != SharedByThreads).filter_map(|kind| kind.seen.as_ref().ok());
    let of = |changes| tried().filter(|seen| seen.changes == changes).count();
    [of([true; 3]), of([false; 3]), tried().count()]
}

/// Can processes not share data directly?
fn ruling(kinds: &[MemoryKind]) -> Ruling {
    let [whole, none, all] = counts(kinds);
    let as_promised = |kind: &MemoryKind| {
        let Ok(seen) = &kind.seen else { return true };
        kind.promise == SharedByThreads || (kind.promise == Shared) == (seen.changes == [true; 3])
    };
    let because =
        format!("{whole} of {all} kinds of memory showed each process every change of the other, {none} showed none");
    let ruling = if all == 0 {
        Ruling::undecided("No kind of memory could be tried here")
    } else if none == all {
        Ruling::holds(because)
    } else if whole == all {
        Ruling::refuted(because)
    } else if kinds.iter().all(as_promised) {
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

    fn kind(promise: Promise, changes: [bool; 3]) -> MemoryKind {
        MemoryKind { name: "it", promise, seen: Ok(Seen { changes, same_address: true, mapped_again: false }) }
    }

    #[test]
    fn the_verdict_follows_from_what_was_seen_between_processes() {
        let verdict = |kinds: &[MemoryKind]| ruling(kinds).verdict;
        let (all, none) = (|| kind(Shared, [true; 3]), || kind(Shared, [false; 3]));
        assert_eq!(verdict(&[none(), all()]), Qualified);
        assert_eq!(verdict(&[all(), all()]), Refuted);
        assert_eq!(verdict(&[none(), none(), kind(SharedByThreads, [true; 3])]), Holds);
        assert_eq!(verdict(&[none(), kind(Shared, [true, false, false])]), Qualified);
        assert_eq!(verdict(&[kind(SharedByThreads, [true; 3])]), Undecided);
    }

    #[test]
    fn the_condition_is_the_shared_kinds_only_if_they_and_no_others_are_whole() {
        let says = |kinds: &[MemoryKind]| ruling(kinds).condition.unwrap().says;
        assert_eq!(says(&[kind(Private, [false; 3]), kind(Shared, [true; 3])]), "for memory mapped as shared");
        let part = kind(Shared, [true, false, false]);
        assert_eq!(says(&[kind(Shared, [false; 3]), part]), "for 1 of 2 kinds of memory, in whole or in part");
    }
}
