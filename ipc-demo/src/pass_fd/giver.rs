//! This process: makes what it hands over after the child was forked, and writes down what the child reports.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, anyhow, ensure};
use ipc_demo::framed::Framed;
use ipc_demo::pass_fd::send_fds;
use nix::errno::Errno;
use process_demo::child::{Exit, fork};
use shared::Stage;

use super::mapping::Mapping;
use super::memory::{PAGE_BYTES, Seals, filled, seal};
use super::receiver::{self, receive_numbers};

pub const HANDED_OVER: usize = 2 + Seals::ALL.len(); // A file, a socket, and a piece of memory for each way to seal.
pub const ONE_TOO_MANY: usize = 3; // Two would do; the third shows that the two that fitted are closed again.
const FIRST: &str = "The parent reads this,";
const REST: &str = " the child that.";
pub const BEFORE: u64 = 1;
pub const AFTER: u64 = 2;

/// What the two saw.
pub struct Seen {
    arrived: [bool; 2],
    /// By `Seals` and then by attempt: the error's name, or none where the attempt succeeded.
    pub outcomes: Vec<Vec<Option<String>>>,
    /// In the memory sealed against writing: before the attempts, and after.
    pub wrong_words: [u64; 2],
    /// What the child found in mapped memory, before and after the parent changed it.
    pub mapped: [u64; 2],
    /// The same of an ordinary variable.
    pub ordinary: [u64; 2],
    /// What the parent found in memory that the child had mapped for writing.
    pub by_parent: u64,
}

impl Seen {
    /// The file and the socket.
    pub fn arrived(&self) -> [bool; 2] {
        self.arrived
    }

    /// How many descriptors the child could use, the pieces of memory too.
    pub fn working(&self) -> usize {
        self.arrived.into_iter().filter(|&works| works).count() + self.outcomes.len()
    }
}

pub fn hand_over(stage: &mut Stage, bytes: usize) -> Result<Seen> {
    let (ours, theirs) = UnixStream::pair().context("a socket pair")?;
    let mut copy = Some(ours);
    let ordinary = AtomicU64::new(BEFORE); // On the stack: the child gets a copy.
    let work = || {
        drop(copy.take()); // The child's copy: what it never closes, it can never see closed.
        receiver::play(&theirs, &ordinary).unwrap_or(1)
    };
    // SAFETY: the child uses sockets, files and mappings of its own; nothing here is in shared memory yet.
    let child = unsafe { fork(work) }.context("starting a process")?;
    drop(theirs);
    let ours = copy.context("only the child's copy is gone")?;

    let (mut file, first) = half_read_file(stage)?;
    let (socket, for_receiver) = UnixStream::pair().context("a socket pair")?;
    let pieces = [filled(PAGE_BYTES)?, filled(bytes)?, filled(PAGE_BYTES)?];
    let ours_to_write = seal_all(stage, &pieces)?;
    let fds = [file.as_fd(), for_receiver.as_fd(), pieces[0].as_fd(), pieces[1].as_fd(), pieces[2].as_fd()];
    send_fds(&ours, &fds).context("handing over")?;
    drop(for_receiver); // Else this process would hold the other end itself, and never see it close.

    let mut receiver = Framed::new(socket, 4096);
    let arrived = judge_arrival(stage, &mut receiver, &mut file, &first)?;
    let errors = Seals::ALL.iter().map(|_| receive_numbers(&mut receiver)).collect::<Result<Vec<_>>>()?;
    let name = |&error: &u64| (error != 0).then(|| format!("{:?}", Errno::from_raw(error as i32)));
    let outcomes = errors.iter().map(|errors| errors.iter().map(name).collect()).collect();
    let wrong_words = receive_numbers(&mut receiver)?.try_into().ok().context("two counts")?;
    let [mapped, ordinary] = change_later(&mut receiver, &[&ours_to_write.words()[0], &ordinary])?;
    let by_parent = Mapping::to_read(&pieces[Seals::None as usize], PAGE_BYTES).context("mapping memory")?.first();
    judge_truncation(stage, &ours, &mut receiver)?;
    let exit = child.wait()?;
    ensure!(exit == Exit::Code(0), "the receiver failed: {exit}");
    Ok(Seen { arrived, outcomes, wrong_words, mapped, ordinary, by_parent })
}

/// A file without a name, of which this process has read the first half.
fn half_read_file(stage: &Stage) -> Result<(File, String)> {
    let path = stage.directory().join("letter");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?; // The receiver could not open it by its name any more.
    file.write_all(FIRST.as_bytes())?;
    file.write_all(REST.as_bytes())?;
    file.seek(SeekFrom::Start(0))?;
    let mut first = [0; FIRST.len()];
    file.read_exact(&mut first)?;
    Ok((file, String::from_utf8_lossy(&first).into_owned()))
}

/// Seals the pieces; returns the mapping by which this process goes on writing to the last one.
fn seal_all(stage: &mut Stage, pieces: &[File; Seals::ALL.len()]) -> Result<Mapping> {
    seal(&pieces[Seals::Write as usize], Seals::Write).context("F_SEAL_WRITE")?;
    let piece = &pieces[Seals::FutureWrite as usize];
    let mapping = Mapping::to_write(piece, PAGE_BYTES).context("mapping memory")?;
    mapping.words()[0].store(BEFORE, Relaxed);
    let early = seal(piece, Seals::Write).err();
    let got = early.map_or("done".to_owned(), |errno| format!("{errno:?}"));
    let says = "F_SEAL_WRITE is refused while somebody has the memory mapped for writing";
    stage.fact(says, early == Some(Errno::EBUSY), got);
    match seal(piece, Seals::FutureWrite) {
        // A kernel that does not know the seal takes it for a mistake of ours.
        Err(Errno::EINVAL) => Err(anyhow!(Errno::ENOSYS).context("F_SEAL_FUTURE_WRITE, which needs Linux 5.1")),
        sealed => sealed.context("F_SEAL_FUTURE_WRITE").map(|()| mapping),
    }
}

/// Did the file and the socket arrive as what they are?
fn judge_arrival(
    stage: &mut Stage,
    receiver: &mut Framed<UnixStream>,
    file: &mut File,
    first: &str,
) -> Result<[bool; 2]> {
    let answer = receiver.receive()?;
    let rest = answer.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
    let closing = receive_numbers(receiver)?[0];
    let left = file.read(&mut [0])?; // A bare read: whether there is anything at all is the question.
    let (by_file, by_socket) = (rest == REST && left == 0, answer.is_some());
    let says = "Parent and child share one offset in the file: one reads on where the other stopped";
    stage.fact(says, by_file, format!("'{first}' here, '{rest}' there, {left} bytes left"));
    let got = if by_socket { "it came" } else { "nothing came" };
    stage.fact("The child's answer comes through the socket that it was handed", by_socket, got);
    let says = "Every received descriptor closes on exec";
    stage.check(says, closing == HANDED_OVER as u64, format!("{closing} of {HANDED_OVER}"));
    Ok([by_file, by_socket])
}

/// Changes both words once the child has reported them; returns what it found in each, before and after.
fn change_later(receiver: &mut Framed<UnixStream>, words: &[&AtomicU64; 2]) -> Result<[[u64; 2]; 2]> {
    let before: [u64; 2] = receive_numbers(receiver)?.try_into().ok().context("two words")?;
    words.iter().for_each(|word| word.store(AFTER, Relaxed)); // The message orders it before the child's second look.
    receiver.send(b"look again")?;
    let after: [u64; 2] = receive_numbers(receiver)?.try_into().ok().context("two words")?;
    Ok([0, 1].map(|index| [before[index], after[index]]))
}

fn judge_truncation(stage: &mut Stage, ours: &UnixStream, receiver: &mut Framed<UnixStream>) -> Result<()> {
    let mut ready = [0];
    (&*ours).read_exact(&mut ready).context("the receiver could not go on")?; // Now there is room for one less than come.
    send_fds(ours, &[ours.as_fd(); ONE_TOO_MANY])?;
    let [error, before, after] = receive_numbers(receiver)?.try_into().ok().context("three numbers")?;
    let errno = Errno::from_raw(error as i32);
    let got = format!("{errno:?}; {before} open before, {after} after");
    let says = format!(
        "With room for {} of {ONE_TOO_MANY} descriptors, the child gets an error and keeps none",
        ONE_TOO_MANY - 1
    );
    stage.fact(says, errno == Errno::EMFILE && before == after, got);
    Ok(())
}
