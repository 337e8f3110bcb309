//! Records that come whole or not at all: a message is two of them.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::{Ends, HALF_BYTES, Names, Receiver, Refusal, Sender, Undo};

struct Records(OwnedFd);

impl Sender for Records {
    fn send(&mut self) -> Result<u64, Refusal> {
        send(self.0.as_fd().as_raw_fd(), &[7; HALF_BYTES], MsgFlags::empty())?; // Whole or not at all.
        Ok(1)
    }
}

impl Receiver for Records {
    fn receive(&mut self) -> Result<u64, Refusal> {
        let bytes = recv(self.0.as_fd().as_raw_fd(), &mut [0; HALF_BYTES], MsgFlags::empty())?;
        Ok((bytes > 0).into()) // No record of ours is empty: no byte is the end.
    }
}

pub fn seqpacket(_: &Names) -> Result<Ends> {
    let (first, second) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    Ok(Ends::private(Records(first), Records(second)))
}

/// By a name, as who does not share an ancestor must.
pub fn unix(names: &Names) -> Result<Ends> {
    let path = names.path().join("socket");
    let receiver = UnixDatagram::bind(&path).context("binding a Unix datagram socket")?;
    let sender = UnixDatagram::unbound()?;
    sender.connect(&path)?;
    let undo = Undo::by(move || drop(std::fs::remove_file(path)));
    Ok(Ends { undo, ..Ends::private(Records(sender.into()), Records(receiver.into())) })
}

pub fn udp(_: &Names) -> Result<Ends> {
    let (sender, receiver) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
    let (sender, receiver) = (sender.context("a UDP socket on loopback")?, receiver?);
    let address = receiver.local_addr()?;
    sender.connect(address)?;
    let ends = Ends::private(Records(sender.into()), Records(receiver.into()));
    Ok(Ends { port: Some(address.port()), ..ends })
}
