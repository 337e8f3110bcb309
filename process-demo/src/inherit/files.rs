//! Is an open file, its offset, a connection still there, and is it the same?

use std::fs::{File, remove_file};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::stat::fstat;
use nix::unistd::{Whence, lseek};

use super::thing::{How, InTurn, Places, Site, Thing};

/// The directories by which a number stands for a value; they are on every Linux.
pub const DIRECTORIES: [&str; 4] = ["/", "/dev", "/proc", "/sys"];

pub const DESCRIPTOR: Thing = Thing {
    name: "descriptor",
    how: How::InTurn(InTurn {
        set_up: |_| Ok([survivor(open_root()?)?, 0]),
        look: what_is_open,
        change: |places, value| open_as(places, value, 0),
    }),
};

pub const CLOSE_ON_EXEC: Thing = Thing {
    name: "close-on-exec descriptor",
    how: How::InTurn(InTurn {
        set_up: |_| Ok([open_root()?.into_raw_fd() as u64, 0]), // std opens all of them so.
        look: what_is_open,
        change: |places, value| open_as(places, value, libc::O_CLOEXEC),
    }),
};

fn open_root() -> Result<File> {
    File::open(DIRECTORIES[0]).context("opening /")
}

/// Which directory the descriptor is of.
fn what_is_open(places: &Places) -> Option<u64> {
    let file = fstat(borrowed(places)?).ok()?;
    Some(file.st_dev.rotate_left(32) ^ file.st_ino)
}

/// Another directory by the same number.
fn open_as(places: &Places, value: u64, flags: i32) -> io::Result<()> {
    let file = File::open(DIRECTORIES[value as usize])?;
    // SAFETY: the number is the thing's own: no value of Rust's stands for it.
    let number = unsafe { libc::dup3(file.into_raw_fd(), places[0] as RawFd, flags) };
    if number < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub const OFFSET: Thing = Thing {
    name: "open file's offset",
    how: How::InTurn(InTurn {
        set_up: |site| Ok([survivor(unnamed(site)?)?, 0]),
        look: |places| lseek(borrowed(places)?, 0, Whence::SeekCur).ok().map(|offset| offset as u64),
        change: |places, value| {
            let file = borrowed(places).ok_or(io::ErrorKind::NotFound)?;
            Ok(lseek(file, value as i64, Whence::SeekSet).map(drop)?)
        },
    }),
};

pub const SOCKET: Thing = Thing {
    name: "connected socket",
    how: How::InTurn(InTurn { set_up: |_| connect(), look: |places| waiting(places).ok(), change: take_one }),
};

const LETTERS: &[u8; 4] = b"abcd"; // One for each change, and one that stays.

/// A connection on which some letters wait, one of which each change takes.
fn connect() -> Result<Places> {
    let (near, mut far) = UnixStream::pair().context("a socket pair")?;
    far.write_all(LETTERS).context("writing to a socket")?;
    let _ = far.into_raw_fd(); // Open as long as the maker lives.
    Ok([survivor(near)?, 0])
}

fn waiting(places: &Places) -> io::Result<u64> {
    let mut count = 0;
    // SAFETY: the kernel writes one number, which lives here; a descriptor that is not open gives an error.
    let asked = unsafe { libc::ioctl(places[0] as RawFd, libc::FIONREAD, &mut count) };
    if asked < 0 { Err(io::Error::last_os_error()) } else { Ok(count as u64) }
}

fn take_one(places: &Places, _: u64) -> io::Result<()> {
    let due = LETTERS[LETTERS.len() - waiting(places)? as usize];
    let mut letter = [0];
    let socket = borrowed(places).ok_or(io::ErrorKind::NotFound)?;
    UnixStream::from(socket.try_clone_to_owned()?).read_exact(&mut letter)?;
    if letter == [due] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// An empty file to read and write, which is gone once it is closed.
pub fn unnamed(site: &Site) -> Result<File> {
    let path = site.directory.join("file");
    let file = File::options().read(true).write(true).create_new(true).open(&path).context("creating a file")?;
    remove_file(path).context("removing its name")?;
    Ok(file)
}

/// Open as long as the maker lives, and after an exec.
pub fn survivor(file: impl AsFd + IntoRawFd) -> Result<u64> {
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).context("keeping a descriptor open")?;
    Ok(file.into_raw_fd() as u64)
}

/// None for what is no descriptor's number at all.
pub fn borrowed<'d>(places: &Places) -> Option<BorrowedFd<'d>> {
    let number = RawFd::try_from(places[0]).ok()?;
    // SAFETY: nothing closes it while it is looked at; where it is not open, each use gives an error.
    Some(unsafe { BorrowedFd::borrow_raw(number) })
}
