//! What does the server do with one request? The same in every model: some work, some waiting, and perhaps a crash.

use std::hint::black_box;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::time::Duration;

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use process_demo::connections::{Next, Session, Step};
use process_demo::http::{self, Date, Limits, Reader, Reading, Request};

/// What each request takes, and how many in a thousand end in a crash.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub cpu_ns: i64,
    pub wait: Duration,
    pub panic_per_mille: u64,
    pub segv_per_mille: u64,
}

/// What all requests of one server share.
pub struct Desk {
    pub work: Work,
    /// Tells the client's process what happens here.
    pub reporter: PipeWriter,
    /// Where requests are held until the client's process says how they go on.
    pub gates: Vec<PipeReader>,
}

impl Desk {
    pub fn tell_refusal(&self, error: &io::Error) {
        if let Some(code) = error.raw_os_error() {
            Report { what: What::Refused, number: code as u32, pid: std::process::id() }.send(&self.reporter);
        }
    }
}

/// What goes through the reporter: three numbers in one write of less than `PIPE_BUF` bytes, so none is torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub what: What,
    pub number: u32,
    pub pid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Started,
    Ended,
    /// A request waits at its gate, whose number is the report's.
    Held,
    /// The machine refuses what the server needs; the number is the error's.
    Refused,
}

impl Report {
    pub const BYTES: usize = 9;

    pub fn from_bytes(bytes: [u8; Report::BYTES]) -> Report {
        let [what, a, b, c, d, e, f, g, h] = bytes;
        let what = match what {
            b's' => What::Started,
            b'e' => What::Ended,
            b'r' => What::Refused,
            _ => What::Held,
        };
        Report { what, number: u32::from_ne_bytes([a, b, c, d]), pid: u32::from_ne_bytes([e, f, g, h]) }
    }

    pub fn send(self, mut reporter: &PipeWriter) {
        let what = match self.what {
            What::Started => b's',
            What::Ended => b'e',
            What::Held => b'h',
            What::Refused => b'r',
        };
        let mut bytes = vec![what];
        bytes.extend(self.number.to_ne_bytes());
        bytes.extend(self.pid.to_ne_bytes());
        let _ = reporter.write_all(&bytes); // Nobody to tell means that the client's process is gone, and soon this one.
    }
}

/// How a request goes on that was held: the byte that opens its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GoOn {
    Answer = b'a',
    Panic = b'p',
    Fault = b'f',
}

/// One connection, as its server sees it.
pub struct Visit<'a> {
    desk: &'a Desk,
    /// Of the worker that has it; every response says so.
    worker: usize,
    keeps: Keeps,
    reader: Reader,
    date: Date,
    body: Vec<u8>,
    has_waited: bool,
}

/// What becomes of the connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    AsTheClientLikes,
    /// It is closed: the process that has it ends.
    Nothing,
}

impl<'a> Visit<'a> {
    pub fn new(desk: &'a Desk, worker: usize, keeps: Keeps) -> Visit<'a> {
        let reader = Reader::new(Limits::default());
        Visit { desk, worker, keeps, reader, date: Date::new(), body: Vec::new(), has_waited: false }
    }
}

impl Session for Visit<'_> {
    fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> Step {
        let receive = Step { consumed: 0, next: Next::Receive };
        let date = self.date.now();
        let mut request = match self.reader.read(input) {
            Ok(Reading::NotYet) => return receive,
            Ok(Reading::AwaitsContinue) => {
                output.extend_from_slice(http::CONTINUE);
                return receive;
            }
            Ok(Reading::Whole(request)) => request,
            Err(refusal) => {
                http::refuse(output, refusal, date);
                return Step { consumed: input.len(), next: Next::Close };
            }
        };
        if !self.desk.work.wait.is_zero() && !self.has_waited {
            self.has_waited = true; // It is not consumed yet: after the wait it comes again.
            return Step { consumed: 0, next: Next::After(self.desk.work.wait) };
        }
        self.has_waited = false;
        request.keep_alive &= self.keeps == Keeps::AsTheClientLikes;
        answer(self.desk, self.worker, &request, date, &mut self.body, output);
        Step { consumed: request.consumed, next: if request.keep_alive { Next::Receive } else { Next::Close } }
    }
}

fn answer(desk: &Desk, worker: usize, request: &Request<'_>, date: &str, body: &mut Vec<u8>, output: &mut Vec<u8>) {
    let plain: &[(&str, &str)] = &[("Content-Type", "text/plain")];
    if !matches!(request.method, "GET" | "HEAD") {
        return http::respond(output, request, 405, date, &[("Allow", "GET, HEAD")], b"");
    }
    let mut parts = request.target.split('/').skip(1);
    let id = match (parts.next(), parts.next().and_then(number), parts.next().and_then(number)) {
        (Some("task"), Some(id), None) => {
            if let Some(crash) = desk.work.crash_of(id) {
                crash.happen();
            }
            id
        }
        (Some("hold"), Some(gate), Some(id)) if (gate as usize) < desk.gates.len() => {
            hold(desk, gate as usize).happen();
            id
        }
        _ => return http::respond(output, request, 404, date, plain, b"no such thing\n"),
    };
    burn(desk.work.cpu_ns);
    body.clear();
    write_body(body, id, worker as u32, std::process::id());
    http::respond(output, request, 200, date, plain, body);
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// The body that answers a request: its number, who has answered, and a sum that follows from the number.
fn write_body(body: &mut Vec<u8>, id: u64, worker: u32, pid: u32) {
    let _ = writeln!(body, "{id:020} {worker:010} {pid:010} {:020}", mixed(id)); // A write to a vector cannot fail.
}

/// Reads such a body, if it is one: number, worker, process.
pub fn read_body(body: &[u8]) -> Option<(u64, u32, u32)> {
    let mut words = std::str::from_utf8(body).ok()?.strip_suffix('\n')?.split(' ');
    let id = words.next()?.parse().ok()?;
    let (worker, pid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let right = words.next()?.parse() == Ok(mixed(id)) && words.next().is_none() && body.len() == BODY_BYTES;
    right.then_some((id, worker, pid))
}

const BODY_BYTES: usize = 20 + 1 + 10 + 1 + 10 + 1 + 20 + 1;

/// Numbers in a row give numbers without order (the finalizer of MurmurHash3, by Austin Appleby).
pub fn mixed(id: u64) -> u64 {
    let id = (id ^ (id >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let id = (id ^ (id >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    id ^ (id >> 33)
}

impl Work {
    pub const NONE: Work = Work { cpu_ns: 0, wait: Duration::ZERO, panic_per_mille: 0, segv_per_mille: 0 };

    fn crash_of(&self, id: u64) -> Option<GoOn> {
        let lot = mixed(id) % 1000;
        let crash = if lot < self.panic_per_mille { GoOn::Panic } else { GoOn::Fault };
        (lot < self.panic_per_mille + self.segv_per_mille).then_some(crash)
    }
}

/// Reports that this request is in flight, and waits until the client's process lets it go on.
fn hold(desk: &Desk, gate: usize) -> GoOn {
    Report { what: What::Held, number: gate as u32, pid: std::process::id() }.send(&desk.reporter);
    let mut byte = [0];
    match (&desk.gates[gate]).read_exact(&mut byte).map(|()| byte[0]) {
        Ok(byte) if byte == GoOn::Panic as u8 => GoOn::Panic,
        Ok(byte) if byte == GoOn::Fault as u8 => GoOn::Fault,
        _ => GoOn::Answer,
    }
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

/// Uses so much CPU time: of this thread alone, so being switched out does not count.
fn burn(cpu_ns: i64) {
    if cpu_ns == 0 {
        return;
    }
    let used_ns = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(i64::MAX, |time| time.num_nanoseconds());
    let end_ns = used_ns().saturating_add(cpu_ns);
    let mut seed = 1;
    while used_ns() < end_ns {
        seed = black_box((0..64).fold(seed, |seed, _| mixed(seed)));
    }
}
