//! How do worker processes get their pieces, and how do their counts come back?

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::ops::Range;

use anyhow::{Context, Result};
use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use process_demo::child::{Child, fork};

use super::region::Region;
use super::text::{self, Count, Counter};

/// A process that waits for requests at one pipe and answers at another; it ends when this is dropped.
struct Worker {
    requests: PipeWriter,
    answers: PipeReader,
    child: Child,
}

impl Worker {
    /// `serve` takes a request and answers it; it is called until the pipe is closed or fails.
    fn start(mut serve: impl FnMut(&mut PipeReader) -> io::Result<Vec<u8>>) -> Result<Worker> {
        let (mut to_serve, requests) = io::pipe().context("a pipe")?;
        let (answers, mut answered) = io::pipe().context("a pipe")?;
        let work = move || loop {
            match serve(&mut to_serve).and_then(|answer| answered.write_all(&answer)) {
                Ok(()) => {}
                Err(error) => return u8::from(error.kind() != ErrorKind::UnexpectedEof),
            }
        };
        // SAFETY: the child uses its pipes, and reads shared memory that owns nothing.
        let child = unsafe { fork(work) }.context("starting a worker")?;
        Ok(Worker { requests, answers, child })
    }

    fn count(&mut self) -> Result<Count> {
        let [words, sum] = self.numbers()?;
        Ok(Count { words, sum })
    }

    fn numbers<const N: usize>(&mut self) -> Result<[u64; N]> {
        numbers(&mut self.answers).context("a worker's answer")
    }
}

fn numbers<const N: usize>(from: &mut PipeReader) -> io::Result<[u64; N]> {
    let mut all = [0; N];
    for number in &mut all {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        *number = u64::from_ne_bytes(bytes);
    }
    Ok(all)
}

fn bytes(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn of_count(count: Count) -> Vec<u8> {
    bytes(&[count.words, count.sum])
}

fn total(workers: &mut [Worker]) -> Result<Count> {
    workers.iter_mut().map(Worker::count).try_fold(Count::default(), |sum, one| Ok(sum + one?))
}

/// Where a piece lies in its text.
fn places(text: &[u8], how_many: usize) -> Vec<Range<u64>> {
    let mut from = 0;
    let place = |piece: &[u8]| {
        let place = from..from + piece.len() as u64;
        from = place.end;
        place
    };
    text::pieces(text, how_many).into_iter().map(place).collect()
}

/// Standing workers that share the text with their maker, and are only told where their pieces lie.
pub struct OverSharedMemory {
    workers: Vec<Worker>,
    region: Region,
}

impl OverSharedMemory {
    pub fn new(text: &[u8], how_many: usize) -> Result<OverSharedMemory> {
        let region = Region::holding(text)?;
        let serve = |requests: &mut PipeReader| {
            let [from, to] = numbers(requests)?;
            Ok(of_count(text::count(&region.text()[from as usize..to as usize])))
        };
        let workers = (0..how_many).map(|_| Worker::start(serve)).collect::<Result<_>>()?;
        Ok(OverSharedMemory { workers, region })
    }

    pub fn pids(&self) -> Vec<Pid> {
        self.workers.iter().map(|worker| worker.child.pid()).collect()
    }

    pub fn fill(&mut self, text: &[u8]) {
        self.region.fill(text);
    }

    pub fn count(&mut self) -> Result<Count> {
        for (place, worker) in places(self.region.text(), self.workers.len()).iter().zip(&mut self.workers) {
            worker.requests.write_all(&bytes(&[place.start, place.end]))?;
        }
        total(&mut self.workers)
    }
}

/// Standing workers that are sent their pieces through pipes, and count while more is coming.
pub struct OverPipes {
    workers: Vec<Worker>,
}

const PART_BYTES: usize = 64 << 10; // What a pipe holds: more at once would only wait for the reader.

impl OverPipes {
    pub fn new(how_many: usize) -> Result<OverPipes> {
        let mut part = vec![0; PART_BYTES];
        let mut serve = move |requests: &mut PipeReader| {
            let [mut left] = numbers(requests)?;
            let mut counter = Counter::default();
            while left > 0 {
                let most = part.len().min(left as usize);
                // As much as is there: counting need not wait for the rest.
                match requests.read(&mut part[..most]) {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Ok(read) => {
                        counter.feed(&part[..read]);
                        left -= read as u64;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(of_count(counter.finish()))
        };
        let workers = (0..how_many).map(|_| Worker::start(&mut serve)).collect::<Result<_>>()?;
        Ok(OverPipes { workers })
    }

    pub fn pids(&self) -> Vec<Pid> {
        self.workers.iter().map(|worker| worker.child.pid()).collect()
    }

    /// Feeds the workers in turn, so that none waits until the others have all of theirs.
    pub fn count(&mut self, text: &[u8]) -> Result<Count> {
        let pieces = text::pieces(text, self.workers.len());
        for (piece, worker) in pieces.iter().zip(&mut self.workers) {
            worker.requests.write_all(&bytes(&[piece.len() as u64]))?;
        }
        let mut parts: Vec<_> = pieces.iter().map(|piece| piece.chunks(PART_BYTES)).collect();
        loop {
            let mut sent = false;
            for (parts, worker) in parts.iter_mut().zip(&mut self.workers) {
                if let Some(part) = parts.next() {
                    worker.requests.write_all(part)?;
                    sent = true;
                }
            }
            if !sent {
                return total(&mut self.workers);
            }
        }
    }
}

/// A process that holds the text, and forks workers each time it is asked: they inherit it. It counts the first piece
/// itself, as who starts threads does.
pub struct Forked {
    maker: Worker,
    /// CPU time of its ended workers, which it alone can read.
    pub workers_cpu_ns: u64,
}

impl Forked {
    pub fn new(text: &[u8], how_many: usize) -> Result<Forked> {
        let serve = |requests: &mut PipeReader| {
            let [] = numbers(requests)?;
            requests.read_exact(&mut [0])?;
            let count = match count_by_fork(text, how_many) {
                Ok(count) => count,
                Err(error) => return Ok(bytes(&[error_number(&error), 0, 0, 0])),
            };
            let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
            let cpu_ns = usage.user_time().num_nanoseconds() + usage.system_time().num_nanoseconds();
            Ok(bytes(&[0, count.words, count.sum, cpu_ns as u64]))
        };
        Ok(Forked { maker: Worker::start(serve)?, workers_cpu_ns: 0 })
    }

    pub fn pid(&self) -> Pid {
        self.maker.child.pid()
    }

    pub fn count(&mut self) -> Result<Count> {
        self.maker.requests.write_all(&[1])?;
        let [error, words, sum, cpu_ns] = self.maker.numbers()?;
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error as i32)).context("forking workers");
        }
        self.workers_cpu_ns = cpu_ns;
        Ok(Count { words, sum })
    }
}

/// The system's number for what went wrong, so that the other side can tell a refusal from a mistake.
fn error_number(error: &anyhow::Error) -> u64 {
    let by_system = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
    by_system.unwrap_or(libc::EIO) as u64
}

fn count_by_fork(text: &[u8], how_many: usize) -> Result<Count> {
    let (mut forked, pieces) = (Vec::new(), text::pieces(text, how_many));
    for piece in &pieces[1..] {
        let (answers, mut answered) = io::pipe()?;
        let work = move || u8::from(answered.write_all(&of_count(text::count(piece))).is_err());
        // SAFETY: the child reads memory that it inherits and writes to its pipe.
        forked.push((unsafe { fork(work) }?, answers));
    }
    let mut sum = text::count(pieces[0]);
    for (child, mut answers) in forked {
        let [words, hashes] = numbers(&mut answers)?;
        sum = sum + Count { words, sum: hashes };
        child.wait()?; // Its CPU time is known from now on.
    }
    Ok(sum)
}
