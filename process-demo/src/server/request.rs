//! How is one HTTP request after the other read from a connection, within bounds of size and time?

use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use httparse::{EMPTY_HEADER, Header, Status};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use shared::measure::SystemClock;

const HEAD_BYTES: usize = 4096; // Whatever is longer is no request of ours.
const HEADERS: usize = 16;
const PATIENCE_NS: u64 = 120_000_000_000; // So long that no idle connection of an experiment is closed by it.

/// The requests that come over one connection.
pub struct Requests<'a> {
    stream: &'a TcpStream,
    received: Vec<u8>,
    /// Of the last request's body, not read yet.
    body_bytes: usize,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    Request {
        target: String,
        keep_alive: bool,
    },
    /// No request that is understood, or none in time: to be answered with this status, and closed.
    Refused(&'static str),
    /// The client has closed.
    End,
}

impl Requests<'_> {
    pub fn over(stream: &TcpStream) -> Requests<'_> {
        Requests { stream, received: Vec::new(), body_bytes: 0 }
    }

    /// Waits for the next head, until a moment that nothing puts off: a slow client gains no time by single bytes.
    pub fn next(&mut self) -> io::Result<Incoming> {
        self.next_until(SystemClock.now_ns() + PATIENCE_NS)
    }

    fn next_until(&mut self, deadline_ns: u64) -> io::Result<Incoming> {
        loop {
            let skipped = self.body_bytes.min(self.received.len());
            self.received.drain(..skipped); // A body that nobody wanted to read.
            self.body_bytes -= skipped;
            if self.body_bytes == 0
                && let Some(incoming) = self.parsed()
            {
                return Ok(incoming);
            }
            match self.receive(deadline_ns) {
                Ok(0) => return Ok(Incoming::End),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(Incoming::Refused("408")),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next byte of the last request's body, which may come long after its head.
    pub fn body_byte(&mut self) -> io::Result<u8> {
        if self.body_bytes == 0 || self.received.is_empty() && self.receive(SystemClock.now_ns() + PATIENCE_NS)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.body_bytes -= 1;
        Ok(self.received.remove(0))
    }

    /// What has come, if it is a whole head or can become none.
    fn parsed(&mut self) -> Option<Incoming> {
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let head_bytes = match request.parse(&self.received) {
            Ok(Status::Complete(bytes)) => bytes,
            Ok(Status::Partial) if self.received.len() < HEAD_BYTES => return None,
            Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Some(Incoming::Refused("431")),
            Err(_) => return Some(Incoming::Refused("400")),
        };
        let Some(body_bytes) = body_bytes(request.headers) else { return Some(Incoming::Refused("400")) };
        let is_close = |option: &str| option.trim().eq_ignore_ascii_case("close");
        let closes = values(request.headers, "connection").any(|value| value.split(',').any(is_close));
        let keep_alive = request.version == Some(1) && !closes;
        let target = request.path.unwrap_or_default().to_owned();
        self.received.drain(..head_bytes);
        self.body_bytes = body_bytes;
        Some(Incoming::Request { target, keep_alive })
    }

    /// Waits for more; zero if the client has closed.
    fn receive(&mut self, deadline_ns: u64) -> io::Result<usize> {
        if ready(&[self.stream.as_fd()], deadline_ns)? == [false] {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut bytes = [0; 1024];
        let room = (HEAD_BYTES - self.received.len()).min(bytes.len()); // Whoever sends more waits until this is read.
        let count = self.stream.read(&mut bytes[..room])?; // A short count is fine: whatever lacks is waited for.
        self.received.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

fn values<'a>(headers: &'a [Header<'_>], name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| str::from_utf8(header.value).unwrap_or("?"))
}

/// How long the body is; none if that is not said in the one form that is understood here.
fn body_bytes(headers: &[Header<'_>]) -> Option<usize> {
    let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mut lengths = values(headers, "content-length");
    match (lengths.next(), lengths.next(), values(headers, "transfer-encoding").next()) {
        (None, _, None) => Some(0),
        (Some(length), None, None) => Some(length).filter(is_number)?.parse().ok(),
        _ => None,
    }
}

/// Waits until one of them can be read or has ended; tells which, none of them if that moment came first.
pub fn ready(sources: &[BorrowedFd<'_>], deadline_ns: u64) -> io::Result<Vec<bool>> {
    let mut watched: Vec<PollFd<'_>> = sources.iter().map(|source| PollFd::new(*source, PollFlags::POLLIN)).collect();
    loop {
        let left = Duration::from_nanos(deadline_ns.saturating_sub(SystemClock.now_ns()));
        match ppoll(&mut watched, Some(TimeSpec::from_duration(left)), None) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(watched.iter().map(|one| one.any().unwrap_or(true)).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    /// What comes of these bytes, request after request, by a moment that is near or past.
    fn read(bytes: &[u8], patience_ns: u64) -> Vec<Incoming> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        client.write_all(bytes).unwrap();
        let mut requests = Requests::over(&stream);
        let mut all = Vec::new();
        while !matches!(all.last(), Some(Incoming::Refused(_) | Incoming::End)) {
            all.push(requests.next_until(SystemClock.now_ns() + patience_ns).unwrap());
            if all.len() == 2 {
                client.shutdown(std::net::Shutdown::Write).unwrap();
            }
        }
        all
    }

    const LONG_NS: u64 = 60_000_000_000;

    #[test]
    fn requests_follow_one_another_and_their_bodies_are_skipped() {
        let both = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyzGET /b HTTP/1.1\r\nConnection: Close\r\n\r\n";
        let request = |target: &str, keep_alive| Incoming::Request { target: target.to_owned(), keep_alive };
        assert_eq!(read(both, LONG_NS), [request("/a", true), request("/b", false), Incoming::End]);
    }

    #[test]
    fn what_is_too_long_or_unclear_or_late_is_refused() {
        let refused = |bytes: &[u8], patience_ns| match read(bytes, patience_ns).as_slice() {
            [Incoming::Refused(status)] => *status,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&[b'a'; 5000], LONG_NS), "431");
        assert_eq!(refused(format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(17)).as_bytes(), LONG_NS), "431");
        assert_eq!(refused(b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", LONG_NS), "400");
        assert_eq!(refused(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", LONG_NS), "400");
        assert_eq!(refused(b"GET / HTTP/1.1\r\nSlow: ", 1), "408");
    }
}
