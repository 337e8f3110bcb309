//! How does a forked process tell its maker which error it met? By its exit code.

use std::io;

use nix::errno::Errno;
use process_demo::child::Exit;

/// What a process exits with that met this error.
pub fn number_of(error: &anyhow::Error) -> u8 {
    let by_std = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    let number = by_std.or_else(|| error.downcast_ref::<Errno>().map(|errno| *errno as i32));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(Errno::EIO as u8)
}

/// The error of a process that exited with its number.
pub fn done(exit: Exit) -> io::Result<()> {
    match exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(number) => Err(io::Error::from_raw_os_error(number)),
        exit => Err(io::Error::other(exit.to_string())),
    }
}
