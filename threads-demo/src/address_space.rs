//! What do the threads of one process share, and what has each for itself?

mod stacks;

use std::array::from_fn;
use std::cell::Cell as ThreadCell;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::unistd::close;
use shared::{Cell, Claim, Demo, Extras, Ruling, Snippet, Stage, Table};

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
    let own = stacks::look_at_four(stage)?;
    let [heap, statics, thread_local, lent] = try_variables()?;
    let says = "What is tried tells own from shared: a thread-local is each thread's own";
    stage.fact(says, thread_local.whose == Some(OWN), &thread_local.seen);
    let written = lent.whose == Some(SHARED);
    stage.rule(Claim::OwnStackAndCounter, judge_stacks(&own, written))?;
    let (variables, descriptors) = ([heap, statics], try_descriptors()?);
    stage.rule(Claim::ThreadsShareMemory, judge_shared(&variables))?;
    stage.rule(Claim::ThreadsShareResources, judge_shared(&descriptors))?;

    let parts: Vec<Part> = variables.into_iter().chain(descriptors).chain(own).chain([thread_local]).collect();
    let row = |Part { name, whose, seen }: &Part| {
        vec![(*name).into(), whose.map_or(Cell::bad("unclear"), Cell::neutral), seen.as_str().into()]
    };
    stage.show(Table::new("Shared or own, and what was seen", ["what", "whose", "seen"], parts.iter().map(row)));
    let [shared, own] = [SHARED, OWN].map(|whose| names(&parts, |part| part.whose == Some(whose)));
    stage.headline(format!("{} things shared, {} each thread's own", shared.len(), own.len()));
    let but = if written { ", yet one can write to another's stack" } else { "" };
    stage.answer(format!("Threads share: {}. Each has its own: {}{but}.", shared.join(", "), own.join(", ")));
    stage.advise("See which thread runs, and on which stack: copy `thread_identity`.");
    Ok(())
}

/// Something that a process or each of its threads has.
struct Part {
    name: &'static str,
    /// None if what was seen is neither.
    whose: Option<&'static str>,
    seen: String,
}

const SHARED: &str = "shared";
const OWN: &str = "own";

fn names(parts: &[Part], which: impl Fn(&Part) -> bool) -> Vec<&'static str> {
    parts.iter().filter(|part| which(part)).map(|part| part.name).collect()
}

/// The ruling on 'threads share these'.
fn judge_shared(parts: &[Part]) -> Ruling {
    let [shared, others] = [true, false].map(|are| names(parts, |part| (part.whose == Some(SHARED)) == are));
    let all = names(parts, |_| true).join(", ");
    let because = format!("What one thread did to {} of {} ({all}) held for the other", shared.len(), parts.len());
    let ruling = match (shared.len(), others.len()) {
        (0, _) => Ruling::refuted(because),
        (_, 0) => Ruling::holds(because),
        _ => Ruling::in_part(format!("true of {}, not of {}", shared.join(", "), others.join(", ")), because),
    };
    ruling.by(shared.len() as f64, &format!("of {} shared", parts.len()))
}

fn judge_stacks(parts: &[Part], written: bool) -> Ruling {
    let because = parts.iter().map(|part| part.seen.as_str()).collect::<Vec<_>>().join("; ");
    match (parts.iter().all(|part| part.whose == Some(OWN)), written) {
        (false, _) => Ruling::refuted(because),
        (true, true) => Ruling::except("that one thread can write into another's stack", because),
        (true, false) => Ruling::holds(because),
    }
}

// What becomes of a static and of a thread-local is the question, so there must be one of each.
static STATIC: AtomicU64 = AtomicU64::new(0);
thread_local! {
    static THREAD_LOCAL: ThreadCell<u64> = const { ThreadCell::new(0) };
}

/// The first thread writes 1 into each variable, the second reads it and writes 2, the first reads again. The last one is
/// a local variable of the first thread, of which the second needs nothing but the address.
fn try_variables() -> Result<[Part; 4]> {
    let (heap, local) = (Box::new(AtomicU64::new(1)), AtomicU64::new(1));
    STATIC.store(1, Relaxed); // Starting the thread publishes them, and its join what it wrote.
    THREAD_LOCAL.set(1);
    let swap = || [heap.swap(2, Relaxed), STATIC.swap(2, Relaxed), THREAD_LOCAL.replace(2), local.swap(2, Relaxed)];
    let second = in_second_thread(swap)?;
    let first = [heap.load(Relaxed), STATIC.load(Relaxed), THREAD_LOCAL.get(), local.load(Relaxed)];
    let names = ["heap", "statics", "thread-locals", "another's local"];
    Ok(from_fn(|index| {
        let (second, first) = (second[index], first[index]);
        let whose = match (second, first) {
            (1, 2) => Some(SHARED),
            (0, 1) => Some(OWN),
            _ => None,
        };
        let seen = format!("the second reads {second}, writes 2; the first reads {first}");
        Part { name: names[index], whose, seen }
    }))
}

/// Each was opened by the first thread, and the second does something to it. Does that hold for the first?
fn try_descriptors() -> Result<[Part; 3]> {
    let file = File::open("/proc/self/exe").context("opening a file")?;
    in_second_thread(|| (&file).seek(SeekFrom::Start(7)))?.context("moving in it")?;
    let position = (&file).stream_position().context("looking where it stands")?;
    let seen = format!("the second moves to byte 7, the first is at {position}");
    let position = Part { name: "file positions", whose: (position == 7).then_some(SHARED), seen };

    let (here, _there) = UnixStream::pair().context("connecting two sockets")?;
    (&here).write_all(b"hello").context("writing while it is open")?;
    in_second_thread(|| here.shutdown(Shutdown::Write))?.context("shutting it down")?;
    // One byte written is one too many.
    let refused = (&here).write(b"too late").map(drop).map_err(|error| error.kind());
    let seen = format!("the second shuts it, the first {}", in_words(refused));
    let is_shut = refused == Err(ErrorKind::BrokenPipe);
    let connection = Part { name: "connections", whose: is_shut.then_some(SHARED), seen };

    let descriptor = OwnedFd::from(file);
    let number = descriptor.as_raw_fd();
    in_second_thread(move || drop(descriptor))?;
    // To close it once more is a harmless way to ask: no thread is left that could have been given the number anew.
    let outcome = close(number);
    let seen = format!("the second closes {number}, the first {}", in_words(outcome));
    let is_closed = outcome == Err(Errno::EBADF);
    let descriptor = Part { name: "descriptors", whose: is_closed.then_some(SHARED), seen };
    Ok([position, connection, descriptor])
}

fn in_words<E: fmt::Debug>(outcome: Result<(), E>) -> String {
    outcome.map_or_else(|error| format!("gets {error:?}"), |()| "may go on".to_owned())
}

/// Runs it in a thread of its own and waits for its end, so that what follows comes after it.
fn in_second_thread<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = Builder::new().spawn_scoped(scope, act).context("starting a second thread")?;
        Ok(thread.join().expect("the act returns its errors"))
    })
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    #[test]
    fn what_is_shared_in_part_is_named() {
        let rule = |whose: [Option<&'static str>; 2]| {
            let part = |(name, whose)| Part { name, whose, seen: String::new() };
            judge_shared(&["heap", "statics"].into_iter().zip(whose).map(part).collect::<Vec<_>>())
        };
        let (shared, own) = (Some(SHARED), Some(OWN));
        assert_eq!(rule([shared, shared]).verdict, Verdict::Holds);
        assert_eq!(rule([None, own]).verdict, Verdict::Refuted);
        let in_part = rule([shared, own]);
        assert_eq!(in_part.verdict, Verdict::Qualified);
        assert_eq!(in_part.condition.unwrap().says, "true of heap, not of statics");
    }

    #[test]
    fn a_stack_is_own_unless_something_lies_elsewhere() {
        let rule =
            |whose, written| judge_stacks(&[Part { name: "stack", whose, seen: String::new() }], written).verdict;
        assert_eq!(rule(Some(OWN), false), Verdict::Holds);
        assert_eq!(rule(Some(OWN), true), Verdict::Qualified);
        assert_eq!(rule(None, true), Verdict::Refuted);
    }
}
