//! Where does the text go? One writer, which a full pipe or a stopped terminal cannot make deaf to signals.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use clap::ColorChoice;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::stat::{SFlag, fstat};

use super::Stop;
use super::signals::Signals;
use crate::text::{Extent, Look};

/// Stdout, stderr or a file, which may be a pipe too.
pub(crate) enum Output {
    Stdout(io::Stdout),
    Stderr(io::Stderr),
    File(File),
}

impl Output {
    /// The width of the terminal, 80 where there is none; colour as the user wants it and the other end bears it.
    pub(crate) fn look(&self, color: ColorChoice, extent: Extent) -> Look {
        let wanted = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                let choice = match self {
                    Output::Stdout(stdout) => anstream::AutoStream::choice(stdout),
                    Output::Stderr(stderr) => anstream::AutoStream::choice(stderr),
                    Output::File(file) => anstream::AutoStream::choice(file),
                };
                choice != anstream::ColorChoice::Never
            }
        };
        let columns = if self.is_terminal() { terminal_size::terminal_size_of(self.as_fd()) } else { None };
        Look { width: columns.map_or(80, |(width, _)| usize::from(width.0).max(40)), color: wanted, extent }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        match self {
            Output::Stdout(stdout) => stdout.is_terminal(),
            Output::Stderr(stderr) => stderr.is_terminal(),
            Output::File(file) => file.is_terminal(),
        }
    }

    /// Writes all of it, unless a signal that ends the run comes first or the reader is gone.
    pub(crate) fn write(&mut self, text: &str, signals: &Signals) -> Result<(), Stop> {
        self.write_within(PollTimeout::NONE, text, signals)
    }

    /// The same when the run is ending: a reader that takes nothing for a while must not hold up the end.
    pub(crate) fn write_last(&mut self, text: &str, signals: &Signals) -> Result<(), Stop> {
        const PATIENCE_MS: u8 = 100; // The interrupt's promise is one second in all.
        self.write_within(PollTimeout::from(PATIENCE_MS), text, signals)
    }

    fn write_within(&mut self, patience: PollTimeout, text: &str, signals: &Signals) -> Result<(), Stop> {
        let mut own = self.opened_again();
        // Whoever says that it takes more takes so much without waiting: a pipe PIPE_BUF, a terminal a byte.
        let most = if own.is_some() || !self.is_terminal() { 4096 } else { 1 };
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            self.wait_until_writable(patience, signals)?;
            let piece = &rest[..rest.len().min(most)];
            let written = match (&mut own, &mut *self) {
                (Some(own), _) => own.write(piece),
                (None, Output::Stdout(stdout)) => {
                    stdout.write_all(piece).and_then(|()| stdout.flush()).map(|()| piece.len())
                }
                (None, Output::Stderr(stderr)) => stderr.write(piece),
                (None, Output::File(file)) => file.write(piece),
            };
            match written {
                Ok(bytes) => rest = &rest[bytes..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It had room, but not for this; a signal may come meanwhile.
                Err(error) if error.kind() == ErrorKind::WouldBlock => pause(signals),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(Stop::ReaderGone),
                Err(error) => return Err(Stop::CannotWrite(error)),
            }
        }
        Ok(())
    }

    /// A terminal or a pipe once more, so that O_NONBLOCK is ours alone: set on the old one, it would be everybody's who
    /// has it. None of a file, which is at its place in the old one alone; of a socket; of another user's terminal.
    pub(crate) fn opened_again(&self) -> Option<File> {
        let is_pipe =
            || fstat(self).is_ok_and(|status| SFlag::from_bits_truncate(status.st_mode).contains(SFlag::S_IFIFO));
        if !self.is_terminal() && !is_pipe() {
            return None;
        }
        let path = format!("/proc/self/fd/{}", self.as_fd().as_raw_fd());
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        File::options().write(true).custom_flags(flags.bits()).open(path).ok()
    }

    fn wait_until_writable(&self, patience: PollTimeout, signals: &Signals) -> Result<(), Stop> {
        loop {
            let mut both =
                [PollFd::new(self.as_fd(), PollFlags::POLLOUT), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut both, patience) {
                Ok(0) => return Err(Stop::CannotWrite(ErrorKind::TimedOut.into())),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(Stop::CannotWrite(error.into())),
            }
            // A child's end waits for its turn: whoever reads the events asks for it by itself.
            let writable = both[0].any().unwrap_or(true);
            match both[1].any().unwrap_or(false).then(|| signals.next()).flatten() {
                Some(signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP)) => return Err(Stop::Signal(signal)),
                Some(Signal::SIGTSTP) => signals.stop(),
                _ => {}
            }
            if writable {
                return Ok(());
            }
        }
    }
}

/// Ends early if a signal comes.
fn pause(signals: &Signals) {
    const MS: u8 = 10;
    let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], MS); // Interrupted is as good as over.
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Output::Stdout(stdout) => stdout.as_fd(),
            Output::Stderr(stderr) => stderr.as_fd(),
            Output::File(file) => file.as_fd(),
        }
    }
}
