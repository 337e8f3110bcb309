//! Records that come whole or not at all: a message is two of them.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::{Ends, HALF_BYTES, MARK, Names, Receiver, Refusal, Sender, Undo, check};

struct Records(OwnedFd);

impl Sender for Records {
    fn send(&mut self) -> Result<u64, Refusal> {
        send(self.0.as_fd().as_raw_fd(), &[MARK; HALF_BYTES], MsgFlags::empty())?; // Whole or not at all.
        Ok(1)
    }
}

impl Receiver for Records {
    fn receive(&mut self) -> Result<u64, Refusal> {
        let mut half = [0; HALF_BYTES];
        let bytes = recv(self.0.as_fd().as_raw_fd(), &mut half, MsgFlags::empty())?;
        check(&half[..bytes])?;
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
    let connected = || {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let (sender, receiver) = (bind()?, bind()?);
        sender.connect(receiver.local_addr()?)?;
        let port = receiver.local_addr()?.port();
        Ok::<_, std::io::Error>((sender, receiver, port))
    };
    let (sender, receiver, port) = connected().context("UDP on loopback")?;
    Ok(Ends { port: Some(port), ..Ends::private(Records(sender.into()), Records(receiver.into())) })
}
