//! How long does each way to divide the task take, and how much CPU time?

use std::cell::Cell;
use std::thread::{self, Builder, JoinHandle};

use anyhow::{Context, Result, anyhow};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};
use shared::measure::{Contest, Measured, Ready, Rival, Timing};
use shared::number::chosen_with_unit;
use shared::{Placement, Stage};

use super::crew::{Forked, OverPipes, OverSharedMemory};
use super::text::{self, Count, Text};

pub const ONE: &str = "one thread";
pub const THREADS: &str = "threads";
pub const RAYON: &str = "rayon's pool";
pub const FORKED: &str = "forked processes";
pub const THERE: &str = "processes on shared text";
pub const COPIED: &str = "processes, text copied in";
pub const PIPES: &str = "processes, text by pipes";

/// The ways that divide.
pub const DIVIDED: [&str; 6] = [THREADS, RAYON, FORKED, THERE, COPIED, PIPES];

/// What all ways took for one text.
pub struct Times {
    pub bytes: usize,
    pub measured: Measured,
}

impl Times {
    pub fn median_ns(&self, label: &str) -> Option<f64> {
        Some(self.measured.figures(label, Placement::Free)?.median().value)
    }

    pub fn cpu_ns(&self, label: &str) -> Option<f64> {
        self.measured.figures(label, Placement::Free)?.cpu_ns
    }
}

/// Each way finds what another road through the text finds.
pub fn prove(stage: &mut Stage, text: &Text, workers: usize) -> Result<()> {
    let text = text.first(text.whole().len().min(1 << 20)); // Enough to prove; the rest is proved by each measured turn.
    let right = text::reference(text);
    let mut found = vec![
        Forked::new(text, workers)?.count()?,
        OverSharedMemory::new(text, workers)?.count()?,
        OverPipes::new(workers)?.count(text)?,
        text::count(text),
        by_threads(text, workers)?,
    ];
    found.push(Pool::new(workers)?.count(text, workers));
    let same = found.iter().filter(|&&count| count == right).count();
    stage.check(
        "Divided or not, the counts are those of the text read word by word",
        same == found.len(),
        format!("{same} of {}, {} words", found.len(), right.words),
    );
    Ok(())
}

/// Measures a comparison, shown in short or by `--full` alone.
type Show = fn(&mut Stage, Contest<'_>) -> Result<Measured>;

pub fn compare(stage: &mut Stage, text: &[u8], workers: usize, show: Show) -> Result<Times> {
    let title = format!("Count the words of {}", chosen_with_unit("bytes", text.len() as f64));
    let mut contest = Contest::new(title, "who counts", Timing::Batches);
    let right = text::count(text);
    contest.add(Rival::of_threads(ONE, Placement::Free, move |_| Ok(turns(right, move || Ok(text::count(text))))));
    contest
        .add(Rival::of_threads(THREADS, Placement::Free, move |_| Ok(turns(right, move || by_threads(text, workers)))));
    contest.add(Rival::of_threads(RAYON, Placement::Free, move |_| {
        let pool = Pool::new(workers)?;
        Ok(turns(right, move || Ok(pool.count(text, workers))))
    }));
    let cpu_ns = Cell::new(0);
    let workers_cpu_ns = &cpu_ns;
    contest.add(Rival::of_processes(FORKED, Placement::Free, move |_| {
        let mut forked = Forked::new(text, workers)?;
        let pid = forked.pid();
        let count = move || {
            let count = forked.count()?;
            workers_cpu_ns.set(forked.workers_cpu_ns);
            Ok(count)
        };
        Ok(Ready::with_children(in_turn(right, count), vec![pid]).and_cpu(|| Some(workers_cpu_ns.get())))
    }));
    contest.add(Rival::of_processes(THERE, Placement::Free, move |_| {
        let mut crew = OverSharedMemory::new(text, workers)?;
        let pids = crew.pids();
        Ok(Ready::with_children(in_turn(right, move || crew.count()), pids))
    }));
    contest.add(Rival::of_processes(COPIED, Placement::Free, move |_| {
        let mut crew = OverSharedMemory::new(text, workers)?;
        let pids = crew.pids();
        let count = move || {
            crew.fill(text);
            crew.count()
        };
        Ok(Ready::with_children(in_turn(right, count), pids))
    }));
    contest.add(Rival::of_processes(PIPES, Placement::Free, move |_| {
        let mut crew = OverPipes::new(workers)?;
        let pids = crew.pids();
        Ok(Ready::with_children(in_turn(right, move || crew.count(text)), pids))
    }));
    Ok(Times { bytes: text.len(), measured: show(stage, contest)? })
}

fn turns<'a>(right: Count, count: impl FnMut() -> Result<Count> + 'a) -> Ready<'a> {
    Ready::new(in_turn(right, count))
}

/// Counts so often; returns how often the count was right.
fn in_turn<'a>(right: Count, mut count: impl FnMut() -> Result<Count> + 'a) -> impl FnMut(u64) -> Result<u64> + 'a {
    move |steps| (0..steps).map(|_| Ok(u64::from(count()? == right))).sum()
}

/// This thread takes the first piece, a new thread each of the others.
fn by_threads(text: &[u8], how_many: usize) -> Result<Count> {
    let pieces = text::pieces(text, how_many);
    thread::scope(|scope| {
        let start = |piece| Builder::new().spawn_scoped(scope, move || text::count(piece)).context("starting a thread");
        let others = pieces[1..].iter().map(|piece| start(*piece)).collect::<Result<Vec<_>>>()?;
        let first = text::count(pieces[0]);
        Ok(others.into_iter().fold(first, |sum, thread| sum + thread.join().unwrap()))
    })
}

/// A pool of rayon's whose threads have ended when it is gone, so that the next rival may fork.
struct Pool {
    pool: Option<ThreadPool>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    fn new(workers: usize) -> Result<Pool> {
        let mut threads = Vec::new();
        let start = |worker: rayon::ThreadBuilder| {
            threads.push(Builder::new().spawn(|| worker.run())?);
            Ok(())
        };
        let pool = ThreadPoolBuilder::new().num_threads(workers).spawn_handler(start).build();
        Ok(Pool { pool: Some(pool.map_err(|error| anyhow!(error)).context("rayon's pool")?), threads })
    }

    fn count(&self, text: &[u8], how_many: usize) -> Count {
        let pieces = text::pieces(text, how_many);
        let count =
            || pieces.par_iter().map(|piece| text::count(piece)).reduce(Count::default, |one, other| one + other);
        self.pool.as_ref().map_or_else(Count::default, |pool| pool.install(count))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.pool = None; // Tells its threads to end.
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // A panic in a task was passed on to who asked for it.
        }
    }
}
