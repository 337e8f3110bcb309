//! Bytes without boundaries: what is half a message is known to the two sides alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Ends, HALF_BYTES, MARK, Names, Receiver, Refusal, Sender, Undo, check};

const FLOOD_BYTES: usize = 1 << 16; // TCP takes megabytes: in halves of a message that would be long.

/// By plain write(2) and read(2), as a program in any language would: std's sockets never raise SIGPIPE.
struct Stream(File);

impl Stream {
    fn of(end: impl Into<OwnedFd>) -> Stream {
        Stream(File::from(end.into()))
    }
}

impl Sender for Stream {
    fn send(&mut self) -> Result<u64, Refusal> {
        // A short count is what the kernel took, and is counted; the next call tells why it was short.
        Ok(self.0.write(&[MARK; HALF_BYTES])? as u64)
    }

    fn flood(&mut self) -> Result<u64, Refusal> {
        Ok(self.0.write(&[MARK; FLOOD_BYTES])? as u64)
    }
}

impl Receiver for Stream {
    fn receive(&mut self) -> Result<u64, Refusal> {
        let mut half = [0; HALF_BYTES];
        let count = self.0.read(&mut half)?; // Halves are written whole, and read whole or not at all.
        check(&half[..count])?;
        Ok(count as u64)
    }
}

pub fn pipe(_: &Names) -> Result<Ends> {
    let (reader, writer) = io::pipe()?;
    Ok(Ends::private(Stream::of(writer), Stream::of(reader)))
}

pub fn unix(_: &Names) -> Result<Ends> {
    let (first, second) = UnixStream::pair()?;
    Ok(Ends::private(Stream::of(first), Stream::of(second)))
}

pub fn tcp(_: &Names) -> Result<Ends> {
    let connected = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let sender = TcpStream::connect(listener.local_addr()?)?;
        let (receiver, whose) = listener.accept()?;
        ensure!(whose == sender.local_addr()?, "somebody else connected first");
        Ok((sender, receiver, listener.local_addr()?.port()))
    };
    let (sender, receiver, port) = connected().context("TCP on loopback")?;
    Ok(Ends { port: Some(port), ..Ends::private(Stream::of(sender), Stream::of(receiver)) })
}

pub fn fifo(names: &Names) -> Result<Ends> {
    let path = names.path().join("fifo");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).context("mkfifo")?;
    let unlinked = path.clone();
    let undo = Undo::by(move || drop(std::fs::remove_file(unlinked)));
    // Opening one end waits for the other, unless it is told not to.
    let open_reader = move || OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path);
    let reader = open_reader()?;
    let writer = OpenOptions::new().write(true).open(names.path().join("fifo"))?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty()))?;
    let newcomer = move || {
        let mut left = Vec::new();
        let _ = open_reader().and_then(|mut reader| reader.read_to_end(&mut left)); // Ends where it would wait.
        left.len() as u64
    };
    Ok(Ends { newcomer: Box::new(newcomer), undo, ..Ends::private(Stream(writer), Stream(reader)) })
}
