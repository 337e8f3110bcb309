//! What do the threads of one process share, and what has each for itself?

mod stacks;

use std::array::from_fn;
use std::cell::Cell as ThreadCell;
use std::fs::{self, File, remove_file};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr::from_ref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::unistd::close;
use shared::{Cell, Claim, Column, Demo, Extras, Mood, Role, Ruling, Snippet, Stage, Table};

pub const DEMO: Demo = Demo {
    name: "address-space",
    question: "What do the threads of a process share, and what has each for itself?",
    claims: &[
        Claim::ManyThreadsInAProcess,
        Claim::OwnStackAndCounter,
        Claim::ThreadsShareMemory,
        Claim::ThreadsShareResources,
    ],
    rule: "Many threads in a process holds if several tids are seen beside one pid; else it is refuted. An own stack and \
           program counter is refuted if two stacks overlap, a local variable or a stack pointer lies outside its \
           thread's stack, or all sleeping threads stand at one instruction. Else it holds, except that one thread can \
           write into another's stack, if one did. Shared memory holds if the heap and statics are shared, and shared \
           resources if a file's position, a connection and a descriptor are. Each is refuted if nothing tried is \
           shared, and holds in part if only some of it is.",
    extras: Extras::NONE,
    snippets: &[Snippet {
        path: "threads-demo/snippets/thread_identity.rs",
        text: include_str!("../snippets/thread_identity.rs"),
    }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let (mut parts, written) = stacks::look_at_four(stage)?;
    parts.extend(try_variables(stage)?);
    parts.extend(try_descriptors(stage)?);
    let [shared, own] = [Whose::Shared, Whose::Own].map(|whose| names(&parts, |part| part.whose == whose));
    stage.headline(format!("{} things shared, {} each thread's own", shared.len(), own.len()));
    let but = if written { ", yet can write to another's stack" } else { "" };
    stage.answer(format!("Threads share {}. Each has its own {}{but}.", listed(&shared), listed(&own)));
    stage.advise("See which thread runs, and on which stack: copy `thread_identity`.");
    parts.sort_by_key(|part| part.whose);
    let row = |part: Part| {
        let (says, mood) = match part.whose {
            Whose::Shared => ("shared", Mood::Good),
            Whose::Own => ("own", Mood::Neutral),
            Whose::Unclear => ("unclear", Mood::Bad),
        };
        vec![text(part.name), Cell::Word { says: says.to_owned(), mood }, Cell::Text(part.seen)]
    };
    let rows = parts.into_iter().map(row).collect();
    stage.show(table("Shared or own, and what was seen", &["what", "whose", "seen"], rows));
    Ok(())
}

/// Something that a process or each of its threads has.
struct Part {
    name: &'static str,
    whose: Whose,
    seen: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Shared,
    Own,
    Unclear,
}

// What becomes of a static and of a thread-local is the question, so there must be one of each.
static STATIC: AtomicU64 = AtomicU64::new(0);
thread_local! {
    static THREAD_LOCAL: ThreadCell<u64> = const { ThreadCell::new(0) };
}

/// The first thread writes 1 into each variable, the second reads it and writes 2, the first reads again.
fn try_variables(stage: &mut Stage) -> Result<[Part; 3]> {
    const NAMES: [&str; 3] = ["heap", "statics", "thread-locals"];
    let heap = Box::new(AtomicU64::new(1)); // Starting the thread publishes all three, and its join what it wrote.
    STATIC.store(1, Relaxed);
    THREAD_LOCAL.set(1);
    let addresses =
        || [from_ref(&*heap).addr(), from_ref(&STATIC).addr(), THREAD_LOCAL.with(|own| from_ref(own).addr())];
    let swap = || [heap.swap(2, Relaxed), STATIC.swap(2, Relaxed), THREAD_LOCAL.replace(2)];
    let (second_at, second_read) = in_second_thread(|| (addresses(), swap()))?;
    let first_at = addresses();
    let first_read = [heap.load(Relaxed), STATIC.load(Relaxed), THREAD_LOCAL.get()];
    let row = |index: usize| {
        let reads = [second_read[index], first_read[index]].map(|read| Cell::Number(read as f64));
        let places = [first_at[index], second_at[index]].map(address);
        [text(NAMES[index])].into_iter().chain(places).chain(reads).collect()
    };
    let title = "The first writes 1, the second reads it and writes 2, the first reads it";
    let columns = ["variable", "at, in first", "at, in second", "second read", "first read"];
    stage.table(table(title, &columns, (0..3).map(row).collect()));
    let parts = from_fn(|index| {
        let whose = match (first_at[index] == second_at[index], second_read[index], first_read[index]) {
            (true, 1, 2) => Whose::Shared,
            (false, 0, 1) => Whose::Own,
            _ => Whose::Unclear,
        };
        let seen = format!("the first wrote 1, the second read {}", second_read[index]);
        Part { name: NAMES[index], whose, seen }
    });
    judge_variables(stage, &parts)?;
    Ok(parts)
}

fn judge_variables(stage: &mut Stage, parts: &[Part; 3]) -> Result<()> {
    let [both @ .., local] = parts;
    let shared = both.iter().filter(|part| part.whose == Whose::Shared).count();
    let got = format!("{shared} of 2 at one address, and each thread read what the other wrote");
    stage.fact("The heap and statics are shared", shared == 2, got);
    stage.fact("A thread-local is each thread's own", local.whose == Whose::Own, &local.seen);
    let locals = match local.whose {
        Whose::Shared => "thread-locals are too",
        Whose::Own => "thread-locals are not",
        Whose::Unclear => "of thread-locals it is unclear",
    };
    let because = format!("{shared} of 2 kinds (heap, statics) are shared; {locals}");
    stage.rule(Claim::ThreadsShareMemory, shared_by_count(both, because))
}

/// Each was opened by the first thread, and the second does something to it. Does that hold for the first?
fn try_descriptors(stage: &mut Stage) -> Result<[Part; 3]> {
    let path = stage.directory().join("file");
    fs::write(&path, "abcdefgh").context("writing a file")?;
    let file = File::open(&path).context("opening it")?;
    remove_file(path).context("removing its name")?;
    let read_four = || -> io::Result<String> {
        let mut letters = [0; 4];
        (&file).read_exact(&mut letters).map(|()| String::from_utf8_lossy(&letters).into_owned())
    };
    let second = in_second_thread(read_four)?.context("reading in the second thread")?;
    let first = read_four().context("reading in the first thread")?;
    let goes_on = (second.as_str(), first.as_str()) == ("abcd", "efgh");
    let seen = format!("the second reads {second}, the first {first}");
    let position = Part { name: "file positions", whose: shared_if(goes_on), seen };

    let (here, mut there) = UnixStream::pair().context("connecting two sockets")?;
    (&here).write_all(b"hello").context("writing while it is open")?;
    in_second_thread(|| here.shutdown(Shutdown::Write))?.context("shutting it down")?;
    let refused = (&here).write(b"too late").err().map(|error| error.kind()); // One byte written is one too many.
    drop(here);
    let mut received = String::new();
    there.read_to_string(&mut received).context("reading at the far end")?;
    let is_shut = refused == Some(ErrorKind::BrokenPipe) && received == "hello";
    let saw = refused.map_or("may still write".to_owned(), |kind| format!("gets {kind:?}"));
    let seen = format!("the second shuts it, the first {saw}");
    let connection = Part { name: "connections", whose: shared_if(is_shut), seen };

    let descriptor = OwnedFd::from(file);
    let number = descriptor.as_raw_fd();
    in_second_thread(move || drop(descriptor))?;
    // To close it once more is a harmless way to ask: no thread is left that could have been given the number anew.
    let outcome = close(number);
    let seen = outcome.map_or_else(|errno| format!("gets {errno:?}"), |()| "finds it open".to_owned());
    let seen = format!("the second closes {number}, the first {seen}");
    let closed = Part { name: "descriptors", whose: shared_if(outcome == Err(Errno::EBADF)), seen };

    let parts = [position, connection, closed];
    judge_descriptors(stage, &parts)?;
    Ok(parts)
}

fn judge_descriptors(stage: &mut Stage, parts: &[Part; 3]) -> Result<()> {
    let shared = names(parts, |part| part.whose == Whose::Shared).len();
    let says = "What one thread does to a file's position, a connection or a descriptor holds for the other";
    stage.fact(says, shared == 3, format!("{shared} of 3"));
    let because = format!("What one thread did to {shared} of 3 descriptors held for the other");
    stage.rule(Claim::ThreadsShareResources, shared_by_count(parts, because))
}

fn shared_if(shared: bool) -> Whose {
    if shared { Whose::Shared } else { Whose::Unclear }
}

/// Runs it in a thread of its own and waits for its end, so that what follows comes after it.
fn in_second_thread<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = Builder::new().spawn_scoped(scope, act).context("starting a second thread")?;
        Ok(thread.join().expect("the act returns its errors"))
    })
}

/// The ruling on 'threads share these'.
fn shared_by_count(parts: &[Part], because: impl Into<String>) -> Ruling {
    let [shared, others] = [true, false].map(|are| names(parts, |part| (part.whose == Whose::Shared) == are));
    let ruling = match (shared.len(), others.len()) {
        (0, _) => Ruling::refuted(because),
        (_, 0) => Ruling::holds(because),
        _ => Ruling::in_part(format!("true of {}, not of {}", listed(&shared), listed(&others)), because),
    };
    ruling.by(shared.len() as f64, &format!("of {} shared", parts.len()))
}

fn names(parts: &[Part], which: impl Fn(&Part) -> bool) -> Vec<&'static str> {
    parts.iter().filter(|part| which(part)).map(|part| part.name).collect()
}

/// In words: "heap, statics and connections".
fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The first column is what the rows are.
fn table(title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    let mut columns: Vec<Column> = columns.iter().map(|name| Column::value(*name, "")).collect();
    columns[0].role = Role::Label;
    Table { title: title.to_owned(), columns, rows }
}

fn text(words: &str) -> Cell {
    Cell::Text(words.to_owned())
}

fn address(of: usize) -> Cell {
    Cell::Text(format!("{of:#x}"))
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    #[test]
    fn what_is_shared_in_part_is_named() {
        let rule = |whose: [Whose; 2]| {
            let part = |(name, whose)| Part { name, whose, seen: String::new() };
            shared_by_count(&["heap", "statics"].into_iter().zip(whose).map(part).collect::<Vec<_>>(), "")
        };
        assert_eq!(rule([Whose::Shared, Whose::Shared]).verdict, Verdict::Holds);
        assert_eq!(rule([Whose::Unclear, Whose::Own]).verdict, Verdict::Refuted);
        let in_part = rule([Whose::Shared, Whose::Own]);
        assert_eq!(in_part.verdict, Verdict::Qualified);
        assert_eq!(in_part.condition.unwrap().says, "true of heap, not of statics");
    }
}
