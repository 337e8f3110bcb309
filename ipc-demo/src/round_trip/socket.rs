//! A message by a socket, one for each side: Unix stream, datagram and seqpacket, TCP, UDP.

use anyhow::{Context, Result, ensure};
use ipc_demo::socket_pair;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpNoDelay;

use super::bench::Bench;
use super::exchange::End;
use super::message::{BYTES, Message};
use crate::link::{self, Link, Names, Way};

/// A stream keeps no boundaries: a message may come in pieces.
pub fn stream_pair() -> Result<(socket_pair::SocketEnd, socket_pair::SocketEnd)> {
    Ok(socket_pair::socket_pair()?)
}

/// One connection for both directions, each message sent at once and not held back for more (TCP_NODELAY).
pub fn tcp_pair(bench: &Bench) -> Result<(SocketEnd, SocketEnd)> {
    let (one, other) = pair(Way::Tcp, bench)?;
    for end in [&one, &other] {
        setsockopt(&end.socket, TcpNoDelay, &true).context("TCP_NODELAY")?;
    }
    Ok((one, other))
}

/// A socket for each side, connected to the other's.
pub fn pair(way: Way, bench: &Bench) -> Result<(SocketEnd, SocketEnd)> {
    let names = Names { directory: &bench.directory, queue: &bench.queue };
    let Link { to, from } = way.link(&names)?;
    let whole = way.keeps_boundaries();
    Ok((SocketEnd { socket: to, whole }, SocketEnd { socket: from, whole }))
}

pub struct SocketEnd {
    socket: link::End,
    /// Whether what is sent in one call is received in one.
    whole: bool,
}

impl End for SocketEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        let sent = self.socket.send(&message.to_bytes())?;
        ensure!(sent == BYTES, "only {sent} bytes were sent"); // The buffer is empty, so a stream takes all at once too.
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES + 1]; // One more: what is too long must not pass for what fits.
        let mut filled = 0;
        while filled < BYTES {
            let end = if self.whole { BYTES + 1 } else { BYTES };
            let count = self.socket.receive(&mut bytes[filled..end])?;
            ensure!(count > 0, "the other end of the socket is gone");
            filled += count;
            ensure!(!self.whole || filled == BYTES, "a message of {filled} bytes");
        }
        Ok(Message::from_bytes(bytes[..BYTES].try_into().context("cut to its size")?))
    }
}

impl End for socket_pair::SocketEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(socket_pair::SocketEnd::send(self, &message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        ensure!(socket_pair::SocketEnd::receive(self, &mut bytes)?, "the other end of the socket is gone");
        Ok(Message::from_bytes(bytes))
    }
}
