//! A consistent snapshot of changing data to a file: a forked child writes it while its parent goes on.
//!
//! Needs: nix 0.31 (process, signal)
//! Runs on: Linux
//! Instead: tempfile (NamedTempFile::persist) to write in this process itself; this one goes on meanwhile.
//!
//! A fork gives the child all memory as it is at that moment, and copies only the pages that either side writes later:
//! what Redis does to save itself. The file appears under its name when it is complete and on the disk, never before.
//!
//! What it does not do: run beside a second thread, which is refused. `wait` has no time-out: it waits for ever if
//! `write` does not end. A `write` that leaves by `exit(0)` counts as saved. SIGCHLD must not be ignored, and nobody
//! else may wait for any child. Pages that change meanwhile are there twice: above a control group's memory limit a
//! signal (SIGKILL) ends either side. A killed parent leaves the unfinished file behind, and so does one that changes
//! its directory, for a relative target.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::{fs::File, io::Write};
//!
//! let directory = std::env::temp_dir().join(format!("snapshot-{}", std::process::id()));
//! std::fs::create_dir(&directory).unwrap();
//! let target = directory.join("table");
//! let mut table = vec![1; 4];
//!
//! // SAFETY: nothing alive here owns anything in shared memory.
//! let saving = unsafe { begin(&target, |file| write!(file, "{table:?}")) }.unwrap();
//! table[0] = 2; // Goes on at once; the child does not see it.
//! saving.wait().unwrap();
//! assert_eq!(std::fs::read_to_string(&target).unwrap(), "[1, 1, 1, 1]");
//!
//! let endless = |file: &mut File| {
//!     file.write_all(b"half of")?;
//!     loop {
//!         nix::unistd::pause();
//!     }
//! };
//! // SAFETY: as above.
//! let interrupted = unsafe { begin(&target, endless) }.unwrap();
//! assert!(!interrupted.is_done().unwrap());
//! drop(interrupted);
//! assert_eq!(std::fs::read_to_string(&target).unwrap(), "[1, 1, 1, 1]"); // Untouched,
//! assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1); // and nothing lies beside it.
//!
//! let full = |_: &mut File| Err(std::io::ErrorKind::StorageFull.into());
//! // SAFETY: as above.
//! let failed = unsafe { begin(&target, full) }.unwrap().wait().unwrap_err();
//! assert_eq!(failed.to_string(), "no storage space"); // The child's own words.
//!
//! let impossible = directory.join("nothing/of/this/name");
//! // SAFETY: as above.
//! assert_eq!(unsafe { begin(&impossible, full) }.unwrap_err().kind(), std::io::ErrorKind::NotFound);
//! assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
//! std::fs::remove_dir_all(&directory).unwrap();
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::mem::{ManuallyDrop, forget};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::{fs, io, thread};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{ForkResult, Pid, getpid, getppid};

/// Forks a child that writes to a new file beside `target`, brings it to the disk, and renames it to `target`; returns at
/// once, in as long as the fork takes: some ms for each GiB that this process holds.
///
/// `write` runs in the child and sees every value as it is now. Give it large pieces, or a `BufWriter` that it flushes.
/// A file that has the target's name is replaced, as a whole and at once (`rename(2)`): whoever opens it finds the old or
/// the new one. The new one has the rights of a new file; a symbolic link is replaced, not followed.
///
/// The child is killed as soon as the thread that made it ends; only then can the file beside the target stay. Its name
/// is the target's with this process's number and `.partial` added, so begin one snapshot of a target at a time: a second
/// makes the first fail, and so does one of a process in another container that has the same number there.
///
/// # Errors
/// What making the file returns; refused if this process has a second thread (one that was just joined may still be
/// counted, so this waits for it for a while); whatever `fork(2)` returns: EAGAIN at the limit of processes, ENOMEM.
///
/// # Safety
/// Every value alive now exists twice afterwards. None of those that `write` touches may own something in memory that
/// stays shared between the two: the guard of a lock in a shared mapping, say, would unlock it twice.
pub unsafe fn begin(target: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Snapshot> {
    wait_until_alone()?;
    let parent = getpid();
    let (partial, mut file) = Partial::create(target)?;
    let (report, reporter) = io::pipe()?;
    let work = || {
        let saved = write(&mut file).and_then(|()| put_in_place(&file, &partial.path, target));
        saved.map_or_else(|error| tell(&error, reporter), |()| SAVED)
    };
    // SAFETY: this thread is the only one, so no lock is held by a thread that the child will not have.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => {
            Ok(Snapshot { writer: Writer { pid: child, parent }, report, _partial: partial })
        }
        ForkResult::Child => {
            // The parent may have died before the request was made; then the child has another parent by now.
            let watched = set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == parent;
            let value = if watched { value_of(work) } else { PANICKED };
            // SAFETY: `_exit` ends the process without running anything of it.
            unsafe { libc::_exit(value.into()) }
        }
    }
}

/// A snapshot that is being written. Dropping it ends the child and leaves the old file as it was, if there was one.
///
/// Its descriptor (`AsFd`) becomes readable when the child ends, for an event loop; nothing is to be read from it.
#[derive(Debug)]
pub struct Snapshot {
    writer: Writer, // Ended first, when this is dropped: what it writes to is removed next.
    report: PipeReader,
    _partial: Partial,
}

impl Snapshot {
    /// The child's number, to ask for its memory, or to give it a lower priority.
    pub fn pid(&self) -> Pid {
        self.writer.pid
    }

    /// Has the child ended, well or not? If so, `wait` does not block.
    ///
    /// # Errors
    /// ECHILD, if somebody else has reaped it (SIGCHLD is ignored, or another part waits for any child).
    pub fn is_done(&self) -> io::Result<bool> {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT; // It is still to be waited for.
        Ok(waitid(Id::Pid(self.writer.pid), look)? != WaitStatus::StillAlive)
    }

    /// Waits until the file has its name and is on the disk.
    ///
    /// # Errors
    /// The child's own error, with its code from the system if it has one; another, if the child was killed or panicked;
    /// ECHILD as above. The old file is then as it was, unless the very last step failed: to bring the new name to the disk.
    pub fn wait(mut self) -> io::Result<()> {
        let mut told = Vec::new();
        self.report.read_to_end(&mut told)?; // The pipe ends with the child.
        let writer = ManuallyDrop::new(self.writer); // Once reaped, its number may be another's: nothing must kill that.
        let exit = exit_status(writer.pid)?;
        match exit.code().map(u8::try_from) {
            Some(Ok(SAVED)) => Ok(()),
            Some(Ok(FAILED)) => Err(heard(&told)),
            _ => Err(io::Error::other(format!("the snapshot's writer did not finish: {exit}"))),
        }
    }
}

impl AsFd for Snapshot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}

/// The child; killed and reaped when this is dropped.
#[derive(Debug)]
struct Writer {
    pid: Pid,
    parent: Pid,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A later child of the same parent has a copy of this handle; its drop must not end a sibling.
        if getpid() == self.parent {
            let _ = kill(self.pid, Signal::SIGKILL); // Not reaped yet, so the number is still its own.
            let _ = exit_status(self.pid);
        }
    }
}

/// The file while it is not complete; removed when this is dropped, if it still has that name.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
    parent: Pid,
}

impl Partial {
    fn create(target: &Path) -> io::Result<(Partial, File)> {
        let parent = getpid();
        let mut name = target.file_name().map(OsString::from).ok_or(io::ErrorKind::InvalidInput)?;
        name.push(format!(".{parent}.partial"));
        let path = target.with_file_name(name);
        let _ = fs::remove_file(&path); // Of an earlier process of this number that was killed with its child.
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok((Partial { path, parent }, file))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if getpid() == self.parent {
            let _ = fs::remove_file(&self.path); // A complete one has another name by now.
        }
    }
}

const SAVED: u8 = 0;
const FAILED: u8 = 1;

fn put_in_place(file: &File, path: &Path, target: &Path) -> io::Result<()> {
    file.sync_all()?; // Before the name: else a crash could leave an empty file under it.
    fs::rename(path, target)?;
    let directory = target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all() // The name stands in the directory.
}

/// The system's number for it, or zero, and its words.
fn tell(error: &io::Error, mut to: PipeWriter) -> u8 {
    let mut text = error.raw_os_error().unwrap_or(0).to_ne_bytes().to_vec();
    text.extend(error.to_string().bytes());
    let _ = to.write_all(&text); // Some bytes: they fit into the pipe. The parent may have let go of it.
    FAILED
}

fn heard(told: &[u8]) -> io::Error {
    match told.split_first_chunk() {
        Some((code, text)) if *code == [0; 4] => io::Error::other(String::from_utf8_lossy(text)),
        Some((code, _)) => io::Error::from_raw_os_error(i32::from_ne_bytes(*code)),
        None => io::Error::other("the snapshot's writer failed and did not say why"),
    }
}

const PANICKED: u8 = 101; // What a Rust program exits with when its main thread panics.

fn value_of(work: impl FnOnce() -> u8) -> u8 {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        forget(payload); // Dropping it could panic again, up into frames that belong to the parent.
        PANICKED
    })
}

const LOOKS: u32 = 10_000; // Some tenths of a second: far longer than the kernel needs to put a joined thread away.

fn wait_until_alone() -> io::Result<()> {
    for _ in 0..LOOKS {
        if fs::read_dir("/proc/self/task")?.count() == 1 {
            return Ok(());
        }
        thread::yield_now(); // Lets an ending thread finish, on one CPU too.
    }
    Err(io::Error::other("fork refused: this process has a second thread, which the child would not have"))
}

fn exit_status(pid: Pid) -> io::Result<ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one number, which lives here.
        match Errno::result(unsafe { libc::waitpid(pid.as_raw(), &mut status, 0) }) {
            Ok(_) => return Ok(ExitStatus::from_raw(status)),
            Err(Errno::EINTR) => {} // A handler may interrupt the wait.
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_second_thread_is_refused_and_makes_no_file() {
        let target = std::env::temp_dir().join(format!("snapshot-refused-{}", std::process::id()));
        // The harness runs this in a thread of its own, beside the main one.
        // SAFETY: the child, if there were one, would only write to its file.
        let refused = unsafe { begin(&target, |_| Ok(())) }.unwrap_err();
        assert!(refused.to_string().contains("second thread"), "{refused}");
        assert!(!target.exists());
    }

    #[test]
    fn an_error_is_heard_as_it_was_told() {
        let through_a_pipe = |error: io::Error| {
            let (mut report, reporter) = io::pipe().unwrap();
            assert_eq!(tell(&error, reporter), FAILED);
            let mut told = Vec::new();
            report.read_to_end(&mut told).unwrap();
            heard(&told)
        };
        let no_room = through_a_pipe(Errno::ENOSPC.into());
        assert_eq!(no_room.raw_os_error(), Some(Errno::ENOSPC as i32));
        let own_words = through_a_pipe(io::Error::other("the table is locked"));
        assert_eq!(own_words.to_string(), "the table is locked");
    }
}
