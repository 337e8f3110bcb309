//! What does the client see of one connection: an answer that is right or wrong, or the end?

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::handler::read_body;

/// One connection to the server, with at most one request on its way.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What has come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    NotYet,
    Answered(Reply),
    /// An answer came that is not this request's.
    Wrong,
    /// The connection ended, by a close or a reset, before there was a whole answer.
    Lost,
}

/// A right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Who answered: the worker's number and its process.
    pub worker: u32,
    pub pid: u32,
    /// The server closes the connection after it.
    pub closes: bool,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, received: Vec::new() })
    }

    /// Sends a request; false if the connection has ended.
    pub fn ask(&mut self, target: &str) -> bool {
        // A few bytes into an empty buffer: the kernel takes them whole or not at all.
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        matches!((&self.stream).write(request.as_bytes()), Ok(count) if count == request.len())
    }

    /// Takes what has come, without waiting.
    pub fn outcome(&mut self, id: u64) -> Outcome {
        let mut bytes = [0; 4096];
        loop {
            match (&self.stream).read(&mut bytes) {
                Ok(0) => return Outcome::Lost,
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::NotYet,
                Err(_) => return Outcome::Lost,
            }
            let outcome = self.parse(id);
            if outcome != Outcome::NotYet {
                return outcome;
            }
        }
    }

    /// Waits for what comes of the request, for so long at most.
    pub fn wait(&mut self, id: u64, patience_ms: u16) -> Outcome {
        loop {
            let outcome = self.outcome(id);
            if outcome != Outcome::NotYet {
                return outcome;
            }
            let mut watched = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
            if let Ok(0) = poll(&mut watched, PollTimeout::from(patience_ms)) {
                return Outcome::NotYet;
            }
        }
    }

    fn parse(&mut self, id: u64) -> Outcome {
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut response = httparse::Response::new(&mut headers);
        let head_bytes = match response.parse(&self.received) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) => return Outcome::NotYet,
            Err(_) => return Outcome::Wrong,
        };
        let header = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok()
        };
        let Some(body_bytes) = header("content-length").and_then(|value| value.parse::<usize>().ok()) else {
            return Outcome::Wrong;
        };
        let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let status = response.code;
        if self.received.len() < head_bytes + body_bytes {
            return Outcome::NotYet;
        }
        let body = read_body(&self.received[head_bytes..]); // Nothing may follow: there is one request at a time.
        self.received.clear();
        match body {
            Some((for_id, worker, pid)) if for_id == id && status == Some(200) => {
                Outcome::Answered(Reply { worker, pid, closes })
            }
            _ => Outcome::Wrong,
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
