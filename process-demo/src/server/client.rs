//! What does the client see of one connection: an answer that is right or wrong, or the end?

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use nix::unistd::Pid;

use super::answer::{GoOn, WHO_BYTES, mixed};
use super::patience_end_ns;
use super::request::ready;

/// One connection to the server, with at most one request on it.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    id: u64,
}

/// What has come of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    NotYet,
    /// A right answer, and by whom.
    Answered(Holder),
    /// An answer came that is not this request's.
    Wrong,
    /// The connection ended, by a close or a reset, before there was a whole answer.
    Lost,
}

/// Who has begun to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    pub process: Pid,
    pub thread: Pid,
}

/// How many of these requests get no right answer. Each connection closes once it is answered, so that a worker that serves
/// one at a time takes the next.
pub fn lost(requests: impl IntoIterator<Item = Connection>) -> usize {
    requests.into_iter().map(|mut request| usize::from(!request.is_answered())).sum()
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, received: Vec::new(), id: 0 })
    }

    /// Sends a request; whether the connection has ended is seen by its outcome.
    pub fn ask(&mut self, id: u64) {
        self.send(id, format!("GET /task/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }

    /// Sends one after whose answer the server shall close.
    pub fn ask_once(&mut self, id: u64) {
        self.send(id, format!("GET /task/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    }

    /// Sends one that is in flight until it is told to go on.
    pub fn hold(&mut self, id: u64) {
        self.send(id, format!("POST /hold/{id} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n"));
    }

    pub fn go_on(&mut self, how: GoOn) {
        let _ = (&self.stream).write(&[how as u8]);
    }

    fn send(&mut self, id: u64, request: String) {
        self.id = id;
        self.received.clear();
        // A few bytes into an empty buffer: the kernel takes them whole or not at all.
        let _ = (&self.stream).write(request.as_bytes());
    }

    /// Who has the request in flight, as far as is known.
    pub fn holder(&mut self) -> Option<Holder> {
        self.receive();
        who(self.body()?)
    }

    /// Takes what has come, without waiting.
    pub fn outcome(&mut self) -> Outcome {
        let ended = self.receive();
        let rest = format!("{:020} {:020}\n", self.id, mixed(self.id));
        match self.body() {
            Some(body) if body.len() < WHO_BYTES + rest.len() && !ended => Outcome::NotYet,
            Some(body) if body.len() < WHO_BYTES + rest.len() => Outcome::Lost,
            // Nothing may follow: there is one request at a time.
            Some(body) => match who(body) {
                Some(by) if self.received.starts_with(b"HTTP/1.1 200") && body[WHO_BYTES..] == *rest.as_bytes() => {
                    Outcome::Answered(by)
                }
                _ => Outcome::Wrong,
            },
            None if ended => Outcome::Lost,
            None => Outcome::NotYet,
        }
    }

    /// Waits until that moment for what comes of the request.
    pub fn wait(&mut self, deadline_ns: u64) -> Outcome {
        loop {
            let outcome = self.outcome();
            if outcome != Outcome::NotYet || ready(&[self.as_fd()], deadline_ns).is_ok_and(|ready| ready == [false]) {
                return outcome;
            }
        }
    }

    /// Waits for the right answer, which is certain to come where nothing fails.
    pub fn is_answered(&mut self) -> bool {
        matches!(self.wait(patience_end_ns()), Outcome::Answered(_))
    }

    /// Takes what has come; true if that was all.
    fn receive(&mut self) -> bool {
        let mut bytes = [0; 1024];
        loop {
            match (&self.stream).read(&mut bytes) {
                Ok(0) => return true,
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }

    fn body(&self) -> Option<&[u8]> {
        let end = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        Some(&self.received[end + 4..])
    }
}

fn who(body: &[u8]) -> Option<Holder> {
    let mut numbers = str::from_utf8(body.get(..WHO_BYTES)?).ok()?.split(' ').map(|word| word.parse().ok());
    Some(Holder { process: Pid::from_raw(numbers.next()??), thread: Pid::from_raw(numbers.next()??) })
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
