//! Who counts the pieces of a text, how do they get them, and how do their counts come back?

use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use process_demo::child::fork;
use process_demo::crew::{Arguments, Crew, Kind};
use process_demo::page::Page;

use super::text::{piece, words, words_of_part};

/// Whoever is ready to count one text, over and over.
pub struct Counter<'t> {
    pub count: Box<dyn FnMut() -> Result<u64> + 't>,
    /// Those that stand by between two counts.
    pub children: Vec<Pid>,
}

/// Gets ready for a text that is to be cut into so many pieces.
type Prepare = for<'t> fn(&'t [u8], usize) -> Result<Counter<'t>>;

pub const ONE: &str = "one thread";
pub const THREADS: &str = "threads, started anew";
pub const STANDING: &str = "processes, standing by";
pub const SENT: &str = "processes, sent the text";

/// One thread first; the others divide the text.
pub const COUNTERS: [(&str, Prepare); 6] = [
    (ONE, |text, _| Ok(Counter { count: Box::new(move || Ok(words(text))), children: Vec::new() })),
    (THREADS, started_threads),
    ("processes, forked anew", forked_processes),
    ("threads, standing by", |text, workers| standing_by(Kind::Threads, text, workers)),
    (STANDING, |text, workers| standing_by(Kind::Processes, text, workers)),
    (SENT, sent_by_pipes),
];

/// This thread takes the first piece, a new thread each of the others.
fn started_threads(text: &[u8], workers: usize) -> Result<Counter<'_>> {
    let count_piece = move |number| words(piece(text, number, workers));
    let count = move || {
        thread::scope(|scope| {
            let start = |number| Builder::new().spawn_scoped(scope, move || count_piece(number));
            let others = (1..workers).map(start).collect::<io::Result<Vec<_>>>().context("starting a thread")?;
            let first = count_piece(0);
            Ok(first + others.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>())
        })
    };
    Ok(Counter { count: Box::new(count), children: Vec::new() })
}

/// The same with new processes, which inherit the text. They add their counts to a word of shared memory.
fn forked_processes(text: &[u8], workers: usize) -> Result<Counter<'_>> {
    let total = Page::shared_by_fork().context("a shared page")?;
    let count = move || {
        total.word().store(0, Relaxed);
        let count_piece = |number| {
            total.word().fetch_add(words(piece(text, number, workers)), Relaxed); // Whoever waits for its end sees it.
            0
        };
        // SAFETY: the child reads what it inherits, and adds to an atomic in shared memory, which owns nothing.
        let start = |number| unsafe { fork(|| count_piece(number)) };
        let others = (1..workers).map(start).collect::<io::Result<Vec<_>>>().context("forking a process")?;
        count_piece(0);
        others.into_iter().try_for_each(|child| child.wait().map(drop))?;
        Ok(total.word().load(Relaxed))
    };
    Ok(Counter { count: Box::new(count), children: Vec::new() })
}

/// Workers that have the text, or a copy by fork that shares its pages, and are told which piece is theirs.
fn standing_by(kind: Kind, text: &[u8], workers: usize) -> Result<Counter<'_>> {
    let mut crew = Crew::of(kind, workers, || Ok(text))?;
    let mut children: Vec<Pid> = (0..workers).filter_map(|worker| crew.pid(worker)).collect();
    children.dedup(); // Threads are all of one process.
    let count = move || {
        for worker in 0..workers {
            let count_piece =
                |text: &mut &[u8], [number, of, _]: Arguments| Ok(words(piece(text, number as usize, of as usize)));
            crew.tell(worker, count_piece, [worker as u64, workers as u64, 0]);
        }
        (0..workers).map(|worker| crew.hear(worker)?.value()).sum()
    };
    Ok(Counter { count: Box::new(count), children })
}

const PIPE_BYTES: usize = 64 << 10; // What a pipe holds: more at once would only wait for the reader.

/// Workers that have no text: each is sent its piece through a pipe, and counts while more is coming.
fn sent_by_pipes(text: &[u8], workers: usize) -> Result<Counter<'_>> {
    let start = |_| {
        let (from, to) = io::pipe().context("a pipe")?;
        let read = || Ok(BufReader::with_capacity(PIPE_BYTES, from.try_clone()?));
        // A crew each: so nobody else has the pipe's reading end, and writing to a worker that has ended is an error.
        Ok((Crew::of(Kind::Processes, 1, read)?, to))
    };
    let mut sent = (0..workers).map(start).collect::<Result<Vec<_>>>()?;
    let children = sent.iter().filter_map(|(crew, _)| crew.pid(0)).collect();
    let count = move || {
        let pieces: Vec<&[u8]> = (0..workers).map(|number| piece(text, number, workers)).collect();
        for ((crew, _), piece) in sent.iter_mut().zip(&pieces) {
            crew.tell(0, count_what_comes, [piece.len() as u64, 0, 0]);
        }
        // In turn, so that none waits until the others have all of theirs.
        for part in 0..text.len().div_ceil(PIPE_BYTES) {
            for ((_, to), piece) in sent.iter_mut().zip(&pieces) {
                to.write_all(piece.chunks(PIPE_BYTES).nth(part).unwrap_or_default())?;
            }
        }
        sent.iter_mut().map(|(crew, _)| crew.hear(0)?.value()).sum()
    };
    Ok(Counter { count: Box::new(count), children })
}

fn count_what_comes(from: &mut BufReader<PipeReader>, [bytes, ..]: Arguments) -> Result<u64> {
    let (mut piece, mut begun, mut within) = (io::Read::take(from, bytes), 0, false);
    loop {
        let part = piece.fill_buf()?; // As much as is there: counting need not wait for the rest.
        if part.is_empty() {
            return Ok(begun);
        }
        begun += words_of_part(part, &mut within);
        let read = part.len();
        piece.consume(read);
    }
}
