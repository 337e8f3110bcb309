//! Can a process hand over an open file, a socket and memory that nobody may change?

mod sealed;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use ipc_demo::pass_fd::{receive_fds, send_fds};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply};
use shared::number::chosen_with_unit;
use shared::{Cell, Claim, Demo, Extras, Ruling, Snippet, Stage, Table};

use crate::mapped::{Mapping, PAGE_BYTES, WORD_BYTES};
use sealed::{ATTEMPTS, FUTURE_WRITE, MARK, PIECES, UNSEALED, WRITE, filled, seal, word};

pub const DEMO: Demo = Demo {
    name: "pass-fd",
    question: "Can a process hand over an open file, a socket and read-only memory?",
    claims: &[Claim::NoDirectSharing],
    rule: "After the descriptors were handed over, the parent changes a word in memory that both map and an ordinary \
           variable that the child has from the fork; the child stores into other memory that both map. No byte of \
           this is sent. The claim holds if neither process sees what the other wrote. It holds except mapped memory \
           if one of them sees it there, and the condition says if only one does. It is refuted if the child sees the \
           change of the ordinary variable too.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/pass_fd.rs", text: include_str!("../snippets/pass_fd.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    const MIB: usize = 1 << 20;
    let bytes = stage.by_effort(4 * MIB, 64 * MIB, 256 * MIB);
    let size = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!(
        "The parent forks a child first. Only then it opens a file, makes a socket, and fills {size} of memory and seals \
         it. So the child inherits nothing of them: it gets five descriptors over a Unix socket, with one byte. Then it \
         tries to change each piece of memory, by every means there is, and reports what it got."
    ));
    let (ours, theirs) = UnixStream::pair().context("a socket pair")?;
    let ordinary = AtomicU64::new(BEFORE); // On the stack: the child gets a copy.
    let own = || Ok(Receiver { from_parent: &theirs, words: vec![&ordinary], pieces: Vec::new() });
    let mut child = Crew::of(Kind::Processes, 1, own)?;
    let pieces = [filled(PAGE_BYTES)?, filled(bytes)?, filled(PAGE_BYTES)?];
    let ours_to_write = seal_all(stage, &pieces)?;
    let arrived = hand_over(stage, &ours, &pieces, &mut child)?;
    hand_over_too_many(stage, &ours, &mut child)?;
    let refused = attempt_all(stage, &size, &mut child)?;
    share(stage, [&ordinary, &ours_to_write.words()[0]], &pieces[UNSEALED], &mut child)?;

    let working = arrived.iter().filter(|&&works| works).count() + PIECES.len();
    stage.headline(format!("{working} of {HANDED_OVER} descriptors work in the child"));
    stage.answer(format!(
        "{}: {working} of {HANDED_OVER} descriptors work in the child, which maps {size} without a copy. Of {} attempts \
         to change sealed memory, {refused} are refused.",
        if working == HANDED_OVER { "Yes" } else { "In part" },
        2 * ATTEMPTS.len(),
    ));
    stage.advise("Pass descriptors over a Unix socket, memory sealed: copy `pass_fd`.");
    Ok(())
}

/// What the child has.
struct Receiver<'a> {
    from_parent: &'a UnixStream,
    /// An ordinary one, and once it was handed over the first of the last piece.
    words: Vec<&'a AtomicU64>,
    /// What it was handed, by `PIECES`.
    pieces: Vec<File>,
}

type Child<'a> = Crew<Receiver<'a>>;

const HANDED_OVER: usize = 2 + PIECES.len(); // A file, a socket, and a piece of memory for each way to seal.
const FIRST: &str = "The parent reads this,";
const REST: &str = " the child that.";
const BEFORE: u64 = 1;
const AFTER: u64 = 2;

/// Seals the pieces; returns the mapping by which this process goes on writing to the last one.
fn seal_all(stage: &mut Stage, pieces: &[File]) -> Result<Mapping> {
    seal(&pieces[WRITE], WRITE).context("F_SEAL_WRITE")?;
    let mapping = Mapping::to_write(pieces[FUTURE_WRITE].as_fd(), PAGE_BYTES).context("mapping memory")?;
    mapping.words()[0].store(BEFORE, Relaxed);
    let early = seal(&pieces[FUTURE_WRITE], WRITE).err();
    let got = early.map_or("done".to_owned(), |errno| format!("{errno:?}"));
    let says = "F_SEAL_WRITE is refused while somebody has the memory mapped for writing";
    stage.fact(says, early == Some(Errno::EBUSY), got);
    // A kernel that does not know the seal takes it for a mistake of ours.
    let unknown = |errno| if errno == Errno::EINVAL { Errno::ENOSYS } else { errno };
    let sealed = seal(&pieces[FUTURE_WRITE], FUTURE_WRITE).map_err(unknown);
    sealed.context("F_SEAL_FUTURE_WRITE, which needs Linux 5.1").map(|()| mapping)
}

/// Do a file and a socket arrive as what they are?
fn hand_over(stage: &mut Stage, to_child: &UnixStream, pieces: &[File], child: &mut Child<'_>) -> Result<[bool; 2]> {
    let path = stage.directory().join("letter");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?; // The child could not open it by its name any more.
    file.write_all([FIRST, REST].concat().as_bytes())?;
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut [0; FIRST.len()])?;
    let (mut socket, for_child) = UnixStream::pair().context("a socket pair")?;
    let fds = [file.as_fd(), for_child.as_fd(), pieces[0].as_fd(), pieces[1].as_fd(), pieces[2].as_fd()];
    send_fds(to_child, &fds).context("handing over")?;
    drop(for_child); // Else this process would hold the other end itself, and never see it close.
    child.ask(0, Receiver::take_all, NOTHING)?.value()?;

    let mut rest = String::new();
    socket.read_to_string(&mut rest)?;
    let left = file.read(&mut [0])?; // A bare read: whether there is anything at all is the question.
    let (by_file, by_socket) = (rest == REST && left == 0, !rest.is_empty());
    let says = "Parent and child share one offset in the file: one reads on where the other stopped";
    stage.fact(says, by_file, format!("'{FIRST}' here, '{rest}' there, {left} bytes left"));
    let says = "The child's answer comes through the socket that it was handed";
    stage.fact(says, by_socket, format!("{} bytes", rest.len()));
    Ok([by_file, by_socket])
}

impl Receiver<'_> {
    /// Takes what it is handed, and answers with the rest of the file by the socket.
    fn take_all(&mut self, _: Arguments) -> Result<u64> {
        let batch = receive_fds(self.from_parent, HANDED_OVER)?.context("nothing came")?;
        let [file, socket, pieces @ ..] = <[OwnedFd; HANDED_OVER]>::try_from(batch).ok().context("too few came")?;
        let mut rest = String::new();
        File::from(file).read_to_string(&mut rest)?;
        UnixStream::from(socket).write_all(rest.as_bytes())?;
        self.pieces = pieces.map(File::from).into();
        let mapping = Mapping::to_read(self.pieces[FUTURE_WRITE].as_fd(), WORD_BYTES)?;
        self.words.push(&Box::leak(Box::new(mapping)).words()[0]);
        Ok(0)
    }

    /// How many words of the large piece are not what its maker wrote.
    fn wrong_words(&mut self, _: Arguments) -> Result<u64> {
        let large = &self.pieces[WRITE];
        let mapped = Mapping::to_read(large.as_fd(), large.metadata()?.len() as usize)?;
        let words = mapped.words().iter().enumerate();
        Ok(words.filter(|(index, found)| found.load(Relaxed) != word(*index)).count() as u64)
    }
}

/// Has the child receive more descriptors than it may have open.
fn hand_over_too_many(stage: &mut Stage, to_child: &UnixStream, child: &mut Child<'_>) -> Result<()> {
    const TOO_MANY: usize = 3; // Two would do; the third shows that the two that fitted are closed again.
    send_fds(to_child, &[to_child.as_fd(); TOO_MANY])?;
    let take = |child: &mut Receiver<'_>, _| {
        let next_free = [(); TOO_MANY].map(|()| child.from_parent.try_clone());
        let last = next_free.iter().flatten().map(AsRawFd::as_raw_fd).max().context("no descriptor")?;
        drop(next_free); // The next ones get these numbers again; the last of them is now out of bounds.
        setrlimit(Resource::RLIMIT_NOFILE, last as u64, getrlimit(Resource::RLIMIT_NOFILE)?.1)?;
        let open = || fs::read_dir("/proc/self/fd").map(Iterator::count);
        let before = open()?;
        let outcome = receive_fds(child.from_parent, TOO_MANY).map(drop);
        ensure!(open()? == before, "some were kept");
        Ok(outcome.map(|()| 0)?)
    };
    let outcome = child.ask(0, take, NOTHING)?;
    let says = "With room for 2 of 3 descriptors, the child gets an error and keeps none";
    let is_refused = matches!(outcome, Reply::Failed { errno: Errno::EMFILE, .. });
    stage.fact(says, is_refused, outcome.value().map_or_else(|error| format!("{error:#}"), |_| "no error".to_owned()));
    Ok(())
}

/// What the child can do to each piece; how many of the attempts at the two sealed ones were refused.
fn attempt_all(stage: &mut Stage, size: &str, child: &mut Child<'_>) -> Result<usize> {
    let attempt = |child: &mut Receiver<'_>, [piece, attempt, _]: Arguments| {
        ATTEMPTS[attempt as usize].1(&child.pieces[piece as usize]).map(|()| 0)
    };
    let mut rows = ATTEMPTS.map(|(name, _)| vec![Cell::from(name)]);
    let mut refused = [0; PIECES.len()];
    for (piece, refused) in refused.iter_mut().enumerate() {
        for (index, row) in rows.iter_mut().enumerate() {
            row.push(match child.ask(0, attempt, [piece as u64, index as u64, 0])? {
                Reply::Failed { errno, .. } => {
                    *refused += 1;
                    Cell::good(format!("{errno:?}"))
                }
                reply => reply.value().map(|_| Cell::bad("done"))?,
            });
        }
    }
    let wrong = child.ask(0, Receiver::wrong_words, NOTHING)?.value()?;
    let columns = [vec!["attempt"], PIECES.map(|(name, _)| name).into()].concat();
    stage.show(Table::new("What the child can do to memory that was handed to it", columns, rows));
    let (all, [none, sealed @ ..]) = (ATTEMPTS.len(), refused);
    stage.check("Every attempt succeeds on memory without seals", none == 0, format!("{none} of {all} refused"));
    let got = [WRITE, FUTURE_WRITE].map(|piece| format!("{} {} of {all}", PIECES[piece].0, refused[piece])).join(", ");
    stage.fact("Either seal against writing refuses every attempt", sealed == [all, all], got);
    let says = format!("After all attempts the {size} with F_SEAL_WRITE are as the parent filled them");
    stage.fact(says, wrong == 0, format!("{wrong} words wrong"));
    Ok(sealed.iter().sum())
}

/// Is a later change of mapped memory, and of an ordinary variable, seen by the child? And what it wrote, by the parent?
fn share(stage: &mut Stage, words: [&AtomicU64; 2], unsealed: &File, child: &mut Child<'_>) -> Result<()> {
    // The messages of the crew order each store before the other side's look.
    let look = |child: &mut Receiver<'_>, [which, ..]: Arguments| Ok(child.words[which as usize].load(Relaxed));
    let mut look_at_both = || -> Result<[u64; 2]> {
        Ok([child.ask(0, look, [0, 0, 0])?.value()?, child.ask(0, look, [1, 0, 0])?.value()?])
    };
    let before = look_at_both()?;
    words.iter().for_each(|word| word.store(AFTER, Relaxed));
    let after = look_at_both()?;
    let [ordinary, mapped] = [0, 1].map(|which| [before[which], after[which]]);
    let got = |[before, after]: [u64; 2]| format!("{before} before, {after} after");
    let there = mapped == [BEFORE, AFTER];
    stage.fact("The child sees a later change in mapped memory that it cannot write", there, got(mapped));
    let by_parent = Mapping::to_read(unsealed.as_fd(), WORD_BYTES).context("mapping memory")?.words()[0].load(Relaxed);
    let says = "The parent sees what the child writes into mapped memory";
    let back = stage.fact(says, by_parent == MARK, format!("{by_parent:#x} of {MARK:#x}"));
    let says = "The child does not see a later change of an ordinary variable";
    stage.fact(says, ordinary == [BEFORE, BEFORE], got(ordinary));
    stage.rule(Claim::NoDirectSharing, ruling(there, back, ordinary))
}

/// Can processes not share data directly?
fn ruling(there: bool, back: bool, ordinary: [u64; 2]) -> Ruling {
    let now = ordinary[1];
    if ordinary != [BEFORE, BEFORE] {
        let because = format!("The child read {now} in an ordinary variable into which the parent wrote {AFTER}");
        return Ruling::refuted(because);
    }
    let stayed = format!("an ordinary variable stayed {now} in the child when the parent wrote {AFTER}");
    let condition = match (there, back) {
        (true, true) => "such as a descriptor passed to the peer",
        (true, false) => "and only from parent to child",
        (false, true) => "and only from child to parent",
        (false, false) => {
            return Ruling::holds(format!("Neither read what the other wrote into mapped memory; {stayed}"));
        }
    };
    let because = format!("What one process wrote there, the other read; {stayed}");
    Ruling::except(format!("memory that both map, {condition}"), because)
}

#[cfg(test)]
mod tests {
    use shared::Verdict::{Holds, Qualified, Refuted};

    use super::*;

    #[test]
    fn mapped_memory_is_an_exception_and_an_ordinary_variable_refutes() {
        let verdict = |there, back, ordinary| ruling(there, back, ordinary).verdict;
        let apart = [BEFORE, BEFORE];
        assert_eq!(verdict(false, false, apart), Holds);
        for (there, back) in [(true, true), (true, false), (false, true)] {
            assert_eq!(verdict(there, back, apart), Qualified);
            assert_eq!(verdict(there, back, [BEFORE, AFTER]), Refuted);
        }
    }
}
