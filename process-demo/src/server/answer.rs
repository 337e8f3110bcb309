//! What does a server do with one connection? The same in every model: some work, some waiting, and a crash on demand.

use std::hint::black_box;
use std::io::{self, PipeWriter, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;

use super::request::{Incoming, Requests};

/// What each request takes.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub cpu_ns: i64,
    pub wait: Duration,
}

/// What everybody who answers for one server has.
pub struct Site {
    pub work: Work,
    /// Whether a connection may have a second request.
    pub keeps: bool,
    /// Tells the client's process of what this machine refuses; zero says that the server is up.
    pub news: PipeWriter,
}

impl Site {
    pub fn tell(&self, code: i32) {
        let _ = (&self.news).write_all(&code.to_ne_bytes()); // With nobody to hear it, this process ends soon.
    }

    /// The exit code of whoever did this.
    pub fn tell_if_refused<T>(&self, done: io::Result<T>) -> u8 {
        let Err(error) = done else { return 0 };
        self.tell(error.raw_os_error().unwrap_or(Errno::EIO as i32));
        1
    }
}

/// How a request goes on that was held: the one byte of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GoOn {
    Answer = b'a',
    Panic = b'p',
    Fault = b'f',
}

/// The body of an answer: who answers in two numbers, then the request's number and one that follows from it.
pub const BODY_BYTES: usize = 64;
pub const WHO_BYTES: usize = 22;

/// Answers one request after the other.
pub fn serve(mut stream: &TcpStream, site: &Site) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = Requests::over(stream);
    loop {
        let (target, keep_alive) = match requests.next()? {
            Incoming::Request { target, keep_alive } => (target, keep_alive && site.keeps),
            Incoming::Refused(status) => return refuse(stream, status),
            Incoming::End => return Ok(()),
        };
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let who = format!("{:010} {:010} ", std::process::id(), gettid());
        let mut answer =
            format!("HTTP/1.1 200\r\nContent-Length: {BODY_BYTES}\r\nConnection: {connection}\r\n\r\n{who}");
        let id = match target.split('/').collect::<Vec<_>>()[..] {
            ["", "task", id] => number(id)?,
            ["", "hold", id] => {
                stream.write_all(answer.as_bytes())?; // Half of the answer says who has the request in flight.
                answer.clear();
                match requests.body_byte()? {
                    b'p' => GoOn::Panic.happen(),
                    b'f' => GoOn::Fault.happen(),
                    _ => {}
                }
                number(id)?
            }
            _ => return refuse(stream, "404"),
        };
        site.work.take_time();
        answer.push_str(&format!("{id:020} {:020}\n", mixed(id)));
        stream.write_all(answer.as_bytes())?;
        if !keep_alive {
            return Ok(());
        }
    }
}

fn refuse(mut stream: &TcpStream, status: &str) -> io::Result<()> {
    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

impl GoOn {
    fn happen(self) {
        match self {
            GoOn::Answer => {}
            GoOn::Panic => panic!("a request that panics"),
            // SAFETY: no process has its first page mapped, so the read faults, which is the point; it reads nothing.
            GoOn::Fault => _ = unsafe { std::ptr::without_provenance::<u8>(1).read_volatile() },
        }
    }
}

impl Work {
    pub const NONE: Work = Work { cpu_ns: 0, wait: Duration::ZERO };

    /// Waits, and uses CPU time: of this thread alone, so being switched out does not count.
    #[expect(clippy::disallowed_methods, reason = "the time that passes is the work: it stands for a database")]
    fn take_time(&self) {
        if !self.wait.is_zero() {
            thread::sleep(self.wait);
        }
        let used_ns =
            || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(i64::MAX, |time| time.num_nanoseconds());
        let end_ns = if self.cpu_ns == 0 { 0 } else { used_ns().saturating_add(self.cpu_ns) };
        while end_ns > 0 && used_ns() < end_ns {
            black_box((0..64).fold(1, |seed, _| mixed(seed)));
        }
    }
}

/// Numbers in a row give numbers without order (the finalizer of MurmurHash3, by Austin Appleby).
pub fn mixed(id: u64) -> u64 {
    let id = (id ^ (id >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let id = (id ^ (id >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    id ^ (id >> 33)
}
