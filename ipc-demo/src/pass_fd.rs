//! Can a process hand over an open file, a socket and memory that nobody may change?

mod attempts;
mod memory;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, anyhow};
use ipc_demo::pass_fd::{receive_fds, send_fds};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply};
use shared::number::chosen_with_unit;
use shared::{Cell, Claim, Column, Demo, Extras, Mood, Ruling, Snippet, Stage, Table};

use attempts::ATTEMPTS;
use memory::{FUTURE_WRITE, Mapping, PAGE_BYTES, PIECES, UNSEALED, WRITE, filled, seal, word};

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
    let own = || Ok(Receiver { from_parent: &theirs, ordinary: &ordinary, pieces: Vec::new(), mapped: None });
    let mut child = Crew::of(Kind::Processes, 1, own)?;
    let pieces = [filled(PAGE_BYTES)?, filled(bytes)?, filled(PAGE_BYTES)?];
    let ours_to_write = seal_all(stage, &pieces)?;
    let arrived = hand_over(stage, &ours, &pieces, &mut child)?;
    hand_over_too_many(stage, &ours, &mut child)?;
    let refused = attempt_all(stage, &size, &mut child)?;
    share(stage, [&ours_to_write.words()[0], &ordinary], &pieces[UNSEALED], &mut child)?;

    let working = arrived.iter().filter(|&&works| works).count() + PIECES.len();
    stage.headline(format!("{working} of {HANDED_OVER} descriptors work in the child"));
    stage.answer(format!(
        "{}; it maps {size} without a copy. Of {} attempts to change sealed memory, {refused} are refused.",
        if arrived == [true, true] {
            "Yes: the child reads on in the file and answers through the socket"
        } else {
            "Only in part: the file or the socket does not work in the child"
        },
        2 * ATTEMPTS.len(),
    ));
    stage.advise("Pass descriptors over a Unix socket, memory sealed: copy `pass_fd`.");
    Ok(())
}

/// What the child has.
struct Receiver<'a> {
    from_parent: &'a UnixStream,
    ordinary: &'a AtomicU64,
    /// What it was handed, by `PIECES`.
    pieces: Vec<File>,
    /// The last of them, for reading.
    mapped: Option<Mapping>,
}

type Child<'a> = Crew<Receiver<'a>>;

const HANDED_OVER: usize = 2 + PIECES.len(); // A file, a socket, and a piece of memory for each way to seal.
const FIRST: &str = "The parent reads this,";
const REST: &str = " the child that.";
const BEFORE: u64 = 1;
const AFTER: u64 = 2;

/// Seals the pieces; returns the mapping by which this process goes on writing to the last one.
fn seal_all(stage: &mut Stage, pieces: &[File; PIECES.len()]) -> Result<Mapping> {
    seal(&pieces[WRITE], WRITE).context("F_SEAL_WRITE")?;
    let mapping = Mapping::to_write(&pieces[FUTURE_WRITE], PAGE_BYTES).context("mapping memory")?;
    mapping.words()[0].store(BEFORE, Relaxed);
    let early = seal(&pieces[FUTURE_WRITE], WRITE).err();
    let got = early.map_or("done".to_owned(), |errno| format!("{errno:?}"));
    let says = "F_SEAL_WRITE is refused while somebody has the memory mapped for writing";
    stage.fact(says, early == Some(Errno::EBUSY), got);
    match seal(&pieces[FUTURE_WRITE], FUTURE_WRITE) {
        // A kernel that does not know the seal takes it for a mistake of ours.
        Err(Errno::EINVAL) => Err(anyhow!(Errno::ENOSYS).context("F_SEAL_FUTURE_WRITE, which needs Linux 5.1")),
        sealed => sealed.context("F_SEAL_FUTURE_WRITE").map(|()| mapping),
    }
}

/// Do a file and a socket arrive as what they are?
fn hand_over(
    stage: &mut Stage,
    to_child: &UnixStream,
    pieces: &[File; PIECES.len()],
    child: &mut Child<'_>,
) -> Result<[bool; 2]> {
    let (mut file, first) = half_read_file(stage)?;
    let (mut socket, for_child) = UnixStream::pair().context("a socket pair")?;
    let fds = [file.as_fd(), for_child.as_fd(), pieces[0].as_fd(), pieces[1].as_fd(), pieces[2].as_fd()];
    send_fds(to_child, &fds).context("handing over")?;
    drop(for_child); // Else this process would hold the other end itself, and never see it close.
    let closing = child.ask(0, |child, _| child.take_all(), NOTHING)?.value()?;

    let mut rest = String::new();
    socket.read_to_string(&mut rest)?;
    let left = file.read(&mut [0])?; // A bare read: whether there is anything at all is the question.
    let (by_file, by_socket) = (rest == REST && left == 0, !rest.is_empty());
    let says = "Parent and child share one offset in the file: one reads on where the other stopped";
    stage.fact(says, by_file, format!("'{first}' here, '{rest}' there, {left} bytes left"));
    let got = if by_socket { "it came" } else { "nothing came" };
    stage.fact("The child's answer comes through the socket that it was handed", by_socket, got);
    let says = "Every received descriptor closes on exec";
    stage.check(says, closing == HANDED_OVER as u64, format!("{closing} of {HANDED_OVER}"));
    Ok([by_file, by_socket])
}

/// A file without a name, of which this process has read the first half.
fn half_read_file(stage: &Stage) -> Result<(File, String)> {
    let path = stage.directory().join("letter");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?; // The child could not open it by its name any more.
    file.write_all([FIRST, REST].concat().as_bytes())?;
    file.seek(SeekFrom::Start(0))?;
    let mut first = [0; FIRST.len()];
    file.read_exact(&mut first)?;
    Ok((file, String::from_utf8_lossy(&first).into_owned()))
}

impl Receiver<'_> {
    /// Takes what it is handed, and answers with the rest of the file by the socket; how many descriptors close on exec.
    fn take_all(&mut self) -> Result<u64> {
        let batch = receive_fds(self.from_parent, HANDED_OVER)?.context("nothing came")?;
        let closes =
            |fd: &&OwnedFd| fcntl(fd, FcntlArg::F_GETFD).is_ok_and(|flags| flags & FdFlag::FD_CLOEXEC.bits() != 0);
        let closing = batch.iter().filter(closes).count() as u64;
        let [file, socket, pieces @ ..] = <[OwnedFd; HANDED_OVER]>::try_from(batch).ok().context("too few came")?;
        let mut rest = String::new();
        File::from(file).read_to_string(&mut rest)?;
        UnixStream::from(socket).write_all(rest.as_bytes())?;
        self.pieces = pieces.map(File::from).into();
        self.mapped = Some(Mapping::to_read(&self.pieces[FUTURE_WRITE], size_of::<u64>())?);
        Ok(closing)
    }

    /// How many words of the large piece are not what its maker wrote.
    fn wrong_words(&self) -> Result<u64> {
        let large = &self.pieces[WRITE];
        let mapped = Mapping::to_read(large, large.metadata()?.len() as usize)?;
        let words = mapped.words().iter().map(|word| word.load(Relaxed)).enumerate();
        Ok(words.filter(|(index, found)| *found != word(*index)).count() as u64)
    }
}

/// Has the child receive more descriptors than it may have open.
fn hand_over_too_many(stage: &mut Stage, to_child: &UnixStream, child: &mut Child<'_>) -> Result<()> {
    const TOO_MANY: usize = 3; // Two would do; the third shows that the two that fitted are closed again.
    let open = |_: &mut Receiver<'_>, _| Ok(fs::read_dir("/proc/self/fd")?.count() as u64);
    let leave_room = |child: &mut Receiver<'_>, _| {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let next_free = [(); TOO_MANY].map(|()| child.from_parent.try_clone());
        let numbers = next_free.iter().flatten().map(AsRawFd::as_raw_fd);
        let last = numbers.max().context("no descriptor")? as u64;
        drop(next_free); // The next ones get these numbers again; the last of them is now out of bounds.
        Ok(setrlimit(Resource::RLIMIT_NOFILE, last, hard).map(|()| 0)?)
    };
    let take = |child: &mut Receiver<'_>, _| Ok(receive_fds(child.from_parent, TOO_MANY).map(|_| 0)?);
    let before = child.ask(0, open, NOTHING)?.value()?;
    child.ask(0, leave_room, NOTHING)?.value()?;
    send_fds(to_child, &[to_child.as_fd(); TOO_MANY])?;
    let outcome = child.ask(0, take, NOTHING)?;
    let after = child.ask(0, open, NOTHING)?.value()?;
    let errno = if let Reply::Failed { errno, .. } = outcome { errno } else { Errno::from_raw(0) };
    let says =
        format!("With room for {} of {TOO_MANY} descriptors, the child gets an error and keeps none", TOO_MANY - 1);
    let got = format!("{errno:?}; {before} open before, {after} after");
    stage.fact(says, errno == Errno::EMFILE && before == after, got);
    Ok(())
}

/// What the child can do to each piece; how many of the attempts at the two sealed ones were refused.
fn attempt_all(stage: &mut Stage, size: &str, child: &mut Child<'_>) -> Result<usize> {
    let attempt = |child: &mut Receiver<'_>, [piece, attempt, _]: Arguments| {
        let file = &child.pieces[piece as usize];
        Ok((ATTEMPTS[attempt as usize].1)(file, file.metadata()?.len()).map(|()| 0)?)
    };
    let wrong_words = |child: &mut Receiver<'_>, _| child.wrong_words();
    let before = child.ask(0, wrong_words, NOTHING)?.value()?;
    let mut rows = ATTEMPTS.map(|(name, _)| vec![Cell::Text(name.to_owned())]);
    let mut refused = [0; PIECES.len()];
    for (piece, refused) in refused.iter_mut().enumerate() {
        for (index, row) in rows.iter_mut().enumerate() {
            let (says, mood) = match child.ask(0, attempt, [piece as u64, index as u64, 0])? {
                Reply::Failed { errno, .. } => (format!("{errno:?}"), Mood::Good),
                reply => ("done".to_owned(), reply.value().map(|_| Mood::Bad)?),
            };
            *refused += usize::from(mood == Mood::Good);
            row.push(Cell::Word { says, mood });
        }
    }
    let after = child.ask(0, wrong_words, NOTHING)?.value()?;
    let heads = PIECES.map(|(name, _)| Column::value(name, ""));
    stage.show(Table {
        title: "What the child can do to memory that was handed to it".to_owned(),
        columns: [Column::label("attempt")].into_iter().chain(heads).collect(),
        rows: rows.into(),
    });
    let (all, [none, sealed @ ..]) = (ATTEMPTS.len(), refused);
    stage.check("Every attempt succeeds on memory without seals", none == 0, format!("{none} of {all} refused"));
    let got = [WRITE, FUTURE_WRITE].map(|piece| format!("{} {} of {all}", PIECES[piece].0, refused[piece])).join(", ");
    stage.fact("Either seal against writing refuses every attempt", sealed == [all, all], got);
    let says = format!("The attempts leave the {size} with F_SEAL_WRITE as they were, word by word");
    stage.fact(says, [before, after] == [0, 0], format!("{before} words wrong before, {after} after"));
    Ok(sealed.iter().sum())
}

/// Is a later change of mapped memory, and of an ordinary variable, seen by the child? And what it wrote, by the parent?
fn share(stage: &mut Stage, words: [&AtomicU64; 2], unsealed: &File, child: &mut Child<'_>) -> Result<()> {
    // The messages of the crew order each store before the other side's look.
    let in_mapped = |child: &mut Receiver<'_>, _| Ok(child.mapped.as_ref().context("nothing is mapped")?.first());
    let in_ordinary = |child: &mut Receiver<'_>, _| Ok(child.ordinary.load(Relaxed));
    let mut look = || -> Result<[u64; 2]> {
        Ok([child.ask(0, in_mapped, NOTHING)?.value()?, child.ask(0, in_ordinary, NOTHING)?.value()?])
    };
    let before = look()?;
    words.iter().for_each(|word| word.store(AFTER, Relaxed));
    let after = look()?;
    let there = [before[0], after[0]] == [BEFORE, AFTER];
    let says = "The child sees a later change in mapped memory that it cannot write";
    stage.fact(says, there, format!("{} before, {} after", before[0], after[0]));
    let by_parent = Mapping::to_read(unsealed, PAGE_BYTES).context("mapping memory")?.first();
    let says = "The parent sees what the child writes into mapped memory";
    let back = stage.fact(says, by_parent == attempts::MARK, format!("{by_parent:#x} of {:#x}", attempts::MARK));
    let ordinary = [before[1], after[1]];
    let got = format!("{} before, {} after", ordinary[0], ordinary[1]);
    stage.fact("The child does not see a later change of an ordinary variable", ordinary == [BEFORE, BEFORE], got);
    stage.rule(Claim::NoDirectSharing, ruling(there, back, ordinary))
}

/// Can processes not share data directly?
fn ruling(there: bool, back: bool, ordinary: [u64; 2]) -> Ruling {
    let now = ordinary[1];
    let stayed = format!("an ordinary variable stayed {now} in the child when the parent wrote {AFTER}");
    if ordinary != [BEFORE, BEFORE] {
        return Ruling::refuted(format!(
            "The child read {now} in an ordinary variable into which the parent wrote {AFTER}"
        ));
    }
    match (there, back) {
        (true, true) => Ruling::except(
            "memory that both map, such as a descriptor passed to the peer",
            format!("Each process read what the other wrote there; {stayed}"),
        ),
        (true, false) => Ruling::except(
            "memory that both map, and only from parent to child",
            format!("The child read what the parent wrote there; {stayed}"),
        ),
        (false, true) => Ruling::except(
            "memory that both map, and only from child to parent",
            format!("The parent read what the child wrote there; {stayed}"),
        ),
        (false, false) => Ruling::holds(format!("Neither read what the other wrote into mapped memory; {stayed}")),
    }
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
