//! Two parties change one word. Who sees whose change, by what kind of memory it is?

use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};

use anyhow::{Context, Result, ensure};
use ipc_demo::shared_region::SharedRegion;
use ipc_demo::socket_pair::{SocketEnd, socket_pair};
use nix::sys::mman::MapFlags;
use process_demo::child::{Exit, fork};
use process_demo::page::Page;
use shared::{Cell, Column, Mood, Ruling, Stage, Table, refused};

use super::memory::{MappedFile, Memory, WORD_BYTES};
use Promise::{Private, Shared};

/// One kind of memory, and what was seen of it; or why it could not be tried here.
pub struct Row {
    name: &'static str,
    parties: Parties,
    promise: Promise,
    seen: Result<Seen, String>,
}

/// Who the second party is, and how it comes to the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parties {
    Threads,
    /// A forked child uses what it inherited, at the same address.
    Inherited,
    /// A forked child maps the same file itself, in this way.
    Mapped(MapFlags),
}

/// What the kind is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Private,
    Shared,
}

/// Which changes were seen, in the order in which they were made, and where each side had the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    by_second: bool,
    by_first: bool,
    by_second_again: bool,
    addresses: [u64; 2],
}

type Make<'a> = &'a dyn Fn() -> Result<Memory>;

/// Looks at each kind of memory. The threads come last: nothing forks beside them.
pub fn observe(path: &Path) -> Result<Vec<Row>> {
    let variable = || Ok(Memory::Variable(Box::default()));
    let memfd = || Ok(Memory::Region(SharedRegion::new(WORD_BYTES)?));
    let file = || Ok(Memory::File(MappedFile::new(path)?));
    let kinds: [(&'static str, Promise, Parties, Make<'_>); 8] = [
        ("variable", Private, Parties::Inherited, &variable),
        ("MAP_PRIVATE", Private, Parties::Inherited, &|| Ok(Memory::Page(Page::copied_by_fork()?))),
        ("memfd, MAP_PRIVATE", Private, Parties::Mapped(MapFlags::MAP_PRIVATE), &memfd),
        ("MAP_SHARED", Shared, Parties::Inherited, &|| Ok(Memory::Page(Page::shared_by_fork()?))),
        ("memfd, inherited", Shared, Parties::Inherited, &memfd),
        ("memfd, mapped again", Shared, Parties::Mapped(MapFlags::MAP_SHARED), &memfd),
        ("file, mapped again", Shared, Parties::Mapped(MapFlags::MAP_SHARED), &file),
        ("variable, two threads", Shared, Parties::Threads, &variable),
    ];
    let row = |(name, promise, parties, make): (&'static str, Promise, Parties, Make<'_>)| {
        let seen = match make().and_then(|memory| look(&memory, parties)) {
            Ok(seen) => Ok(seen),
            Err(error) => Err(refused(&error).ok_or_else(|| error.context(format!("sharing: {name}")))?),
        };
        Ok(Row { name, parties, promise, seen })
    };
    kinds.into_iter().map(row).collect()
}

const FROM_FIRST: u64 = 1;
const FROM_SECOND: u64 = 2;
const FROM_FIRST_AGAIN: u64 = 3;

fn look(memory: &Memory, parties: Parties) -> Result<Seen> {
    let (mut ours, theirs) = socket_pair().context("a socket pair")?;
    let word = memory.word();
    if parties == Parties::Threads {
        return thread::scope(|scope| {
            let second =
                Builder::new().spawn_scoped(scope, move || change(word, theirs)).context("starting a thread")?;
            let seen = first(word, &mut ours);
            drop(ours); // If this side failed, the other must not wait for it.
            let changed = second.join().unwrap();
            let seen = seen?;
            changed.map(|()| seen)
        });
    }
    let work = move || u8::from(change_mapped(memory, parties, theirs).is_err());
    // SAFETY: what both have in memory that stays shared is a plain word.
    let child = unsafe { fork(work) }.context("starting a process")?;
    let seen = first(word, &mut ours)?;
    let exit = child.wait()?;
    ensure!(exit == Exit::Code(0), "the second process failed: {exit}");
    Ok(seen)
}

/// The first party: changes, lets the second look and change, looks, and changes once more.
fn first(word: &AtomicU64, socket: &mut SocketEnd) -> Result<Seen> {
    word.store(FROM_FIRST, Relaxed); // The socket orders every store before the other side's look.
    send_number(socket, 0)?;
    let (seen, address) = (receive_number(socket)?, receive_number(socket)?);
    let back = word.load(Relaxed);
    word.store(FROM_FIRST_AGAIN, Relaxed);
    send_number(socket, 0)?;
    Ok(Seen {
        by_second: seen == FROM_FIRST,
        by_first: back == FROM_SECOND,
        by_second_again: receive_number(socket)? == FROM_FIRST_AGAIN,
        addresses: [ptr::from_ref(word).addr() as u64, address],
    })
}

/// The second party, in a process of its own.
fn change_mapped(inherited: &Memory, parties: Parties, socket: SocketEnd) -> Result<()> {
    match parties {
        Parties::Threads | Parties::Inherited => change(inherited.word(), socket),
        Parties::Mapped(how) => change(inherited.mapped_again(how)?.word(), socket),
    }
}

/// The second party: looks, changes, tells, and looks once more.
fn change(word: &AtomicU64, mut socket: SocketEnd) -> Result<()> {
    receive_number(&mut socket)?;
    let seen = word.load(Relaxed);
    word.store(FROM_SECOND, Relaxed);
    send_number(&mut socket, seen)?;
    send_number(&mut socket, ptr::from_ref(word).addr() as u64)?;
    receive_number(&mut socket)?;
    send_number(&mut socket, word.load(Relaxed))
}

fn send_number(socket: &mut SocketEnd, number: u64) -> Result<()> {
    Ok(socket.send(&number.to_ne_bytes())?)
}

fn receive_number(socket: &mut SocketEnd) -> Result<u64> {
    let mut number = [0; WORD_BYTES];
    ensure!(socket.receive(&mut number)?, "the other side is gone");
    Ok(u64::from_ne_bytes(number))
}

impl Seen {
    fn changes(&self) -> [bool; 3] {
        [self.by_second, self.by_first, self.by_second_again]
    }

    fn same_address(&self) -> bool {
        self.addresses[0] == self.addresses[1]
    }
}

pub fn table(rows: &[Row]) -> Table {
    let word = |says: &str, mood| Cell::Word { says: says.to_owned(), mood };
    let change = |seen: bool| if seen { word("seen", Mood::Good) } else { word("not seen", Mood::Bad) };
    let row = |row: &Row| {
        let cells = match &row.seen {
            Ok(seen) => {
                let address = if seen.same_address() { "the same" } else { "another" };
                seen.changes().into_iter().map(change).chain([word(address, Mood::Neutral)]).collect()
            }
            Err(why) => vec![Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing, Cell::Nothing],
        };
        [Cell::Text(row.name.to_owned())].into_iter().chain(cells).collect()
    };
    let heads = ["by parent", "by child", "by parent again", "its address"];
    Table {
        title: "Three changes of one word: does the other side see each?".to_owned(),
        columns: [Column::label("memory")].into_iter().chain(heads.map(|head| Column::value(head, ""))).collect(),
        rows: rows.iter().map(row).collect(),
    }
}

pub fn tell(stage: &mut Stage, rows: &[Row]) {
    let tried = |promise: Promise| {
        rows.iter().filter(move |row| row.promise == promise).filter_map(|row| row.seen.as_ref().ok())
    };
    let (kept, private) = (tried(Private).filter(|seen| !seen.by_first).count(), tried(Private).count());
    let says = "A change made in private memory is never seen by the process that forked";
    stage.fact(says, kept == private, format!("{kept} of {private} kinds"));
    let (whole, shared) = (tried(Shared).filter(|seen| seen.changes() == [true; 3]).count(), tried(Shared).count());
    let says = "In shared memory each side sees every change of the other, by thread or process";
    stage.fact(says, whole == shared, format!("{whole} of {shared} kinds"));
    let mapped = rows.iter().filter(|row| matches!(row.parties, Parties::Mapped(_)));
    let (elsewhere, again): (Vec<&Seen>, Vec<&Seen>) =
        mapped.filter_map(|row| row.seen.as_ref().ok()).partition(|seen| !seen.same_address());
    let got = format!("{} of {}", elsewhere.len(), elsewhere.len() + again.len());
    stage.check("What a process maps once more lies at another address there", again.is_empty(), got);
    if tried(Private).any(|seen| seen.changes() == [true, false, false]) {
        stage.note(
            "A private mapping of a memfd shows what is in there until its process writes; from then on it is a copy.",
        );
    }
}

/// The kinds that two processes tried, and which changes were seen.
pub fn between_processes(rows: &[Row]) -> Vec<(&Row, [bool; 3])> {
    let processes = rows.iter().filter(|row| row.parties != Parties::Threads);
    processes.filter_map(|row| Some((row, row.seen.as_ref().ok()?.changes()))).collect()
}

/// Can processes not share data directly?
pub fn ruling(rows: &[Row]) -> Ruling {
    let tried = between_processes(rows);
    let of = |changes: [bool; 3]| tried.iter().filter(move |(_, seen)| *seen == changes);
    let (all, whole, none) = (tried.len(), of([true; 3]).count(), of([false; 3]).count());
    let because =
        format!("{whole} of {all} kinds of memory showed each process every change of the other, {none} showed none");
    let ruling = if all == 0 {
        Ruling::undecided("No kind of memory could be tried here")
    } else if none == all {
        Ruling::holds(because)
    } else if whole == all {
        Ruling::refuted(because)
    } else if tried.iter().all(|(row, seen)| (row.promise == Shared) == (*seen == [true; 3])) {
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

    fn row(parties: Parties, changes: [bool; 3]) -> Row {
        let [by_second, by_first, by_second_again] = changes;
        Row {
            name: "it",
            parties,
            promise: Shared,
            seen: Ok(Seen { by_second, by_first, by_second_again, addresses: [8, 8] }),
        }
    }

    #[test]
    fn the_verdict_follows_from_what_was_seen_between_processes() {
        let verdict = |rows: &[Row]| ruling(rows).verdict;
        let (all, none) = (|| row(Parties::Inherited, [true; 3]), || row(Parties::Inherited, [false; 3]));
        assert_eq!(verdict(&[none(), all()]), Qualified);
        assert_eq!(verdict(&[all(), all()]), Refuted);
        assert_eq!(verdict(&[none(), none(), row(Parties::Threads, [true; 3])]), Holds);
        assert_eq!(verdict(&[none(), row(Parties::Inherited, [true, false, false])]), Qualified);
        assert_eq!(verdict(&[row(Parties::Threads, [true; 3])]), Undecided);
    }

    #[test]
    fn the_condition_is_the_shared_kinds_only_if_they_and_no_others_are_whole() {
        let says = |rows: &[Row]| ruling(rows).condition.unwrap().says;
        let private = Row { promise: Private, ..row(Parties::Inherited, [false; 3]) };
        assert_eq!(says(&[private, row(Parties::Inherited, [true; 3])]), "for memory mapped as shared");
        let part = row(Parties::Inherited, [true, false, false]);
        assert_eq!(
            says(&[row(Parties::Inherited, [false; 3]), part]),
            "for 1 of 2 kinds of memory, in whole or in part"
        );
    }

    #[test]
    fn threads_see_each_others_changes_in_an_ordinary_variable() {
        let seen = look(&Memory::Variable(Box::default()), Parties::Threads).unwrap();
        assert_eq!((seen.changes(), seen.same_address()), ([true; 3], true));
    }
}
