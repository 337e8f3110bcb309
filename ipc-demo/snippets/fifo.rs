//! A pipe with a name (FIFO), for processes that are not relatives: opened without deadlock, and nameless once both are in.
//!
//! Needs: nix 0.31 (fs, poll)
//! Runs on: Linux
//! Tests need: nix 0.31 (process)
//! Instead: std::os::unix::net::UnixListener to meet many, or to talk both ways; this one has one writer.
//!
//! Opening a FIFO waits for the other end, for ever if nobody comes; two processes that open two FIFOs in different
//! orders wait for each other; and a reader that does not wait sees an end of file before the writer came. Here the
//! reader is there first and waits for a greeting, at most for a time that it names, and a writer that comes before it
//! gets an error. The name is removed when the two have met, and also if they do not.
//!
//! What it does not do: serve two writers. If a second one comes before the name is gone, its greeting and its bytes
//! mix with the first one's. Once both are in, it has no time-out: it waits for ever if the other side lives and says
//! nothing. It does not survive a fork: accepted in the child, the name stays. Who is killed before the two have met
//! leaves the name behind, and whatever has taken its place by then is removed in its stead.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::io::{Read, Write};
//! use std::time::Duration;
//!
//! let path = std::env::temp_dir().join(format!("fifo-example-{}", std::process::id()));
//! let expected = FifoReader::make(&path)?;
//! let mut to = connect(&path)?; // In another process, by the path alone.
//! let mut from = expected.accept(Duration::from_secs(10))?;
//! assert!(!path.exists());
//! to.write_all(b"hello")?;
//! drop(to);
//! let mut text = String::new();
//! from.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, PipeReader, PipeWriter, Read, Result, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// The reading end, before the writer has come; dropping it removes the name.
///
/// A forked child has a copy of it, whose end takes nothing away:
///
#[doc = concat!("```\nuse ", module_path!(), "::*;")]
/// use nix::sys::wait::waitpid;
/// use nix::unistd::{ForkResult, fork};
///
/// let path = std::env::temp_dir().join(format!("fifo-kept-{}", std::process::id()));
/// let expected = FifoReader::make(&path)?;
/// // SAFETY: this process has one thread, and the child only drops its copy and exits.
/// match unsafe { fork() }? {
///     ForkResult::Child => {
///         drop(expected);
///         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
///         unsafe { nix::libc::_exit(0) }
///     }
///     ForkResult::Parent { child } => waitpid(child, None)?,
/// };
/// assert!(path.exists());
/// drop(expected);
/// assert!(!path.exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FifoReader {
    file: File,
    _name: Name,
}

impl FifoReader {
    /// Makes the FIFO, for this user only, and opens its reading end; waits for nobody.
    ///
    /// Errors: `AlreadyExists` if there is anything of that name, and what mkfifo(3) and open(2) say.
    pub fn make(path: &Path) -> Result<FifoReader> {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let name = Name { path: path.to_owned(), made_by: process::id() };
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        Ok(FifoReader { file, _name: name })
    }

    /// Waits for the writer, removes the name and returns the reading end, which blocks as any pipe does.
    ///
    /// Errors, after which the name is gone as well: `TimedOut` if nobody came, `UnexpectedEof` if the writer went
    /// before it had greeted, `InvalidData` if it is none of ours.
    pub fn accept(self, time: Duration) -> Result<PipeReader> {
        // On Linux a reader that no writer has ever joined is not at its end: poll waits for the first one.
        if !wait_until_ready(self.file.as_fd(), PollFlags::POLLIN, Instant::now().checked_add(time))? {
            return Err(Error::new(ErrorKind::TimedOut, "nobody opened the FIFO for writing"));
        }
        let mut greeting = [0];
        (&self.file).read_exact(&mut greeting)?;
        if greeting != GREETING {
            return Err(Error::new(ErrorKind::InvalidData, "the writer did not come by `connect`"));
        }
        block_again(&self.file)?;
        Ok(PipeReader::from(OwnedFd::from(self.file)))
    }
}

/// Opens the writing end of a FIFO whose reader is there; never blocks. What is written after that blocks while the pipe
/// is full.
///
/// Errors: ENXIO if it has no reader, `NotFound` if there is no such name (the reader has not come yet, or another writer
/// has), `InvalidInput` if it is no FIFO: a file of that name is left as it is.
pub fn connect(path: &Path) -> Result<PipeWriter> {
    let file = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(Error::new(ErrorKind::InvalidInput, "there is a file of that name, and it is no FIFO"));
    }
    (&file).write_all(&GREETING)?;
    block_again(&file)?;
    Ok(PipeWriter::from(OwnedFd::from(file)))
}

const GREETING: [u8; 1] = [0xF1];

/// A name in the file system; removed when dropped by the process that made it.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    made_by: u32,
}

impl Drop for Name {
    fn drop(&mut self) {
        // A forked child has a copy of this; its end must not take the name away.
        if process::id() == self.made_by {
            let _ = fs::remove_file(&self.path); // Somebody else may have removed it already.
        }
    }
}

fn block_again(file: &File) -> Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags.difference(OFlag::O_NONBLOCK)))?;
    Ok(())
}

/// Waits until the descriptor is ready, or has failed; false when the time is up. No deadline waits for ever.
fn wait_until_ready(fd: BorrowedFd<'_>, events: PollFlags, deadline: Option<Instant>) -> Result<bool> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let rounded_up = left.map(|left| left.saturating_add(Duration::from_micros(999)));
        let timeout = rounded_up.map_or(PollTimeout::NONE, |time| time.try_into().unwrap_or(PollTimeout::MAX));
        match poll(&mut [PollFd::new(fd, events)], timeout) {
            Ok(0) if left.is_some_and(|left| !left.is_zero()) => {} // Poll's longest wait is 24 days: look again.
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn path(test: &str) -> PathBuf {
        std::env::temp_dir().join(format!("fifo-{test}-{}", process::id()))
    }

    #[test]
    fn more_than_fits_goes_through_and_then_the_end() {
        let path = path("large");
        let expected = FifoReader::make(&path).unwrap();
        let sent: Vec<u8> = (0..1_000_000).map(|index| (index % 251) as u8).collect();
        thread::scope(|scope| {
            scope.spawn(|| connect(&path).unwrap().write_all(&sent).unwrap());
            let mut received = Vec::new();
            expected.accept(Duration::from_secs(60)).unwrap().read_to_end(&mut received).unwrap();
            assert!(received == sent);
        });
        assert!(!path.exists());
    }

    #[test]
    fn a_reader_whom_nobody_joins_gets_its_time_out_and_leaves_no_name() {
        let path = path("alone");
        let expected = FifoReader::make(&path).unwrap();
        assert!(path.exists());
        assert_eq!(expected.accept(Duration::from_millis(1)).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(!path.exists());
    }

    #[test]
    fn a_writer_without_a_reader_does_not_wait() {
        let path = path("early");
        assert_eq!(connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        assert_eq!(connect(&path).unwrap_err().raw_os_error(), Some(Errno::ENXIO as i32));
        assert_eq!(FifoReader::make(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_writer_that_goes_at_once_is_still_met() {
        let path = path("brief");
        let expected = FifoReader::make(&path).unwrap();
        drop(connect(&path).unwrap());
        let mut from = expected.accept(Duration::from_secs(60)).unwrap();
        assert_eq!(from.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_writer_that_does_not_greet_is_no_writer_of_ours() {
        for (greeting, kind) in [(&b""[..], ErrorKind::UnexpectedEof), (b"?", ErrorKind::InvalidData)] {
            let path = path("stranger");
            let expected = FifoReader::make(&path).unwrap();
            OpenOptions::new().write(true).open(&path).unwrap().write_all(greeting).unwrap();
            assert_eq!(expected.accept(Duration::from_secs(60)).unwrap_err().kind(), kind);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_file_of_that_name_is_left_as_it_is() {
        let path = path("file");
        fs::write(&path, "precious").unwrap();
        assert_eq!(connect(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
    }
}
