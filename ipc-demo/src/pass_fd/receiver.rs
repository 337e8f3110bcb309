//! The child: takes what it is handed, uses it, tries to change it, and reports.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use ipc_demo::framed::Framed;
use ipc_demo::pass_fd::receive_fds;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::attempts::ATTEMPTS;
use super::giver::{HANDED_OVER, ONE_TOO_MANY};
use super::mapping::Mapping;
use super::memory::{Seals, word};

/// Reports through the very socket that it is handed.
pub fn play(from_giver: &UnixStream, ordinary: &AtomicU64) -> Result<u8> {
    let batch = receive_fds(from_giver, HANDED_OVER)?.context("nothing came")?;
    let closing_on_exec = batch.iter().filter(|fd| closes_on_exec(fd)).count();
    let [file, socket, pieces @ ..] = <[OwnedFd; HANDED_OVER]>::try_from(batch).ok().context("too few came")?;
    let pieces = pieces.map(File::from);
    let mut giver = Framed::new(UnixStream::from(socket), 4096);
    let mut rest = String::new();
    File::from(file).read_to_string(&mut rest)?;
    giver.send(rest.as_bytes())?;
    send_numbers(&mut giver, &[closing_on_exec as u64])?;
    check_and_attempt(&mut giver, &pieces)?;

    let shared = Mapping::to_read(&pieces[Seals::FutureWrite as usize], size_of::<u64>())?;
    let look = || [shared.first(), ordinary.load(Relaxed)];
    send_numbers(&mut giver, &look())?;
    giver.receive()?.context("the giver went")?; // By now it has written something else.
    send_numbers(&mut giver, &look())?;
    send_numbers(&mut giver, &take_more_than_fits(from_giver)?)?;
    Ok(0)
}

/// Sends how many words of the sealed piece are wrong, before and after all attempts, and what became of each.
fn check_and_attempt(giver: &mut Framed<UnixStream>, pieces: &[File; Seals::ALL.len()]) -> Result<()> {
    let sealed = &pieces[Seals::Write as usize];
    let mapped = Mapping::to_read(sealed, sealed.metadata()?.len() as usize)?;
    let wrong_words = || {
        let is_wrong = |(index, found): &(usize, u64)| *found != word(*index);
        mapped.words().iter().map(|word| word.load(Relaxed)).enumerate().filter(is_wrong).count() as u64
    };
    let before = wrong_words();
    for piece in pieces {
        let bytes = piece.metadata()?.len();
        let errors = ATTEMPTS.iter().map(|attempt| (attempt.make)(piece, bytes).err().map_or(0, |errno| errno as u64));
        send_numbers(giver, &errors.collect::<Vec<_>>())?;
    }
    send_numbers(giver, &[before, wrong_words()])
}

/// Leaves room for one descriptor less than the next batch brings. The error that this gives, and how many descriptors
/// were open before and afterwards.
fn take_more_than_fits(from_giver: &UnixStream) -> Result<[u64; 3]> {
    let open = || Ok::<_, anyhow::Error>(fs::read_dir("/proc/self/fd")?.count() as u64);
    let before = open()?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let next_free =
        (0..ONE_TOO_MANY).map(|_| from_giver.as_fd().try_clone_to_owned()).collect::<Result<Vec<_>, _>>()?;
    let last = next_free.iter().map(std::os::fd::AsRawFd::as_raw_fd).max().context("no descriptor")?;
    drop(next_free); // The next ones get these numbers again; the last of them is now out of bounds.
    setrlimit(Resource::RLIMIT_NOFILE, last as u64, hard)?;
    (&*from_giver).write_all(&[0])?; // Now the giver may send.
    let received = receive_fds(from_giver, ONE_TOO_MANY);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    let error = received.err().and_then(|error| error.raw_os_error()).unwrap_or(0);
    Ok([error as u64, before, open()?])
}

pub fn send_numbers(to: &mut Framed<UnixStream>, numbers: &[u64]) -> Result<()> {
    Ok(to.send(&numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>())?)
}

pub fn receive_numbers(from: &mut Framed<UnixStream>) -> Result<Vec<u64>> {
    let bytes = from.receive()?.context("the receiver went")?;
    Ok(bytes.chunks_exact(size_of::<u64>()).map(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap())).collect())
}

fn closes_on_exec(fd: &OwnedFd) -> bool {
    let flags: Result<_, Errno> = fcntl(fd, FcntlArg::F_GETFD);
    flags.is_ok_and(|flags| FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC))
}
