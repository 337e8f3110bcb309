//! Unix sockets between processes: a stream of bytes, and packets.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Result, ensure};
use ipc_demo::socket_pair::{SocketEnd, socket_pair};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::exchange::{End, Pair};
use crate::message::{BYTES, Message};

pub const STREAM: &str = "Unix stream UnixStream::pair()";
pub const SEQPACKET: &str = "Unix seqpacket socketpair(SeqPacket)";

pub fn stream() -> Result<Pair<SocketEnd>> {
    let (own, theirs) = socket_pair()?;
    Ok(Pair { own: Box::new(move || Ok(own)), theirs: Box::new(move || Ok(theirs)) })
}

pub fn seqpacket() -> Result<Pair<Packets>> {
    let (own, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    Ok(Pair { own: Box::new(move || Ok(Packets(own))), theirs: Box::new(move || Ok(Packets(theirs))) })
}

impl End for SocketEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(SocketEnd::send(self, &message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        ensure!(SocketEnd::receive(self, &mut bytes)?, "the other end of the socket is gone");
        Ok(Message::from_bytes(bytes))
    }
}

pub struct Packets(OwnedFd);

impl End for Packets {
    fn send(&mut self, message: Message) -> Result<()> {
        let sent = again(|| send(self.0.as_raw_fd(), &message.to_bytes(), MsgFlags::MSG_NOSIGNAL))?;
        ensure!(sent == BYTES, "{sent} of {BYTES} bytes were sent"); // A packet goes whole or not at all.
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        let received = again(|| recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::empty()))?;
        ensure!(received == BYTES, "{received} of {BYTES} bytes were received");
        Ok(Message::from_bytes(bytes))
    }
}

fn again<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}
