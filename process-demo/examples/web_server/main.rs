//! A web server that serves the files below a directory, by threads or by processes: HTTP by hyper, files by tower-http,
//! the processes by the snippets `prefork`, `shutdown` and `beneath`.
//!
//!     cargo run --release -p process-demo --example web_server -- --model prefork --root .
//!     curl http://127.0.0.1:8080/status
//!
//! It logs each request on standard error, tells of its workers under `/status`, answers `/.well-known/hello` from memory,
//! finishes what is in flight when it is told to stop by SIGTERM or SIGINT, and replaces a worker that dies.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum, value_parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getpid;
use process_demo::beneath::Root;
use process_demo::prefork::{self, Event, Listeners, Listening, Worker};
use process_demo::shutdown::Shutdown;
use tokio::runtime::Builder;

use site::{Log, Site};
use status::Status;

mod site;
mod status;
mod worker;

/// Serves the files below a directory over HTTP/1.1.
#[derive(Parser)]
#[command(name = "web_server")]
struct Options {
    /// Where it listens; with port 0, the system chooses one
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Who serves the connections; a worker that has its most refuses, though another may have room
    #[arg(long, value_enum, default_value = "prefork")]
    model: Model,
    /// How many threads or processes [default: one for each CPU]
    #[arg(long, value_parser = value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// What it serves; no request leads out of it, and symbolic links in it count as nothing
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Logs no requests
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Model {
    /// One process, whose threads share all connections
    Threads,
    /// Processes that accept from one listener, each with one thread
    Prefork,
    /// Processes with a listener of their own, each with one thread
    Reuseport,
}

const WRONG: u8 = 2; // It could not start as it was told to.

fn main() -> ExitCode {
    let server = Server::new(&Options::parse()).map_err(|error| (WRONG, error));
    match server.and_then(|server| server.run().map_err(|error| (1, error))) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => {
            eprintln!("web_server: {error:#}");
            ExitCode::from(code)
        }
    }
}

/// All that is ready before the first connection.
struct Server {
    model: Model,
    listeners: Listeners,
    workers: NonZeroUsize,
    listening: String, // Told as soon as it is true.
    stop: Shutdown,
    most: u32,
    site: &'static Site, // Of all tasks and workers, as long as the process lives.
}

impl Server {
    fn new(options: &Options) -> Result<Server> {
        let model = options.model;
        let cpus = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let workers = options.workers.and_then(|workers| NonZeroUsize::new(workers.into())).unwrap_or(cpus);
        let stop = Shutdown::on(&[Signal::SIGTERM, Signal::SIGINT]).context("the signals that stop it")?;
        let root = Root::new(&options.root).with_context(|| format!("--root {}", options.root.display()))?;
        let whose = if let Model::Reuseport = model { Listening::PerWorker } else { Listening::Shared };
        let listeners =
            Listeners::bind(options.listen, whose).with_context(|| format!("--listen {}", options.listen))?;
        let name = model.to_possible_value().context("a model without a name")?.get_name().to_owned();
        let most = most_connections()?;
        let listening = format!(
            "listening on {}, model {name}, workers {workers}, at most {most} connections each, files below {}",
            listeners.address(),
            options.root.display(),
        );
        let processes = if let Model::Threads = model { NonZeroUsize::MIN } else { workers };
        let status = Status::new(name, processes).context("the memory for its counters")?;
        let log = if options.quiet { Log::Nothing } else { Log::Requests };
        let site = Box::leak(Box::new(Site::new(status, log, root)));
        Ok(Server { model, listeners, workers, listening, stop, most, site })
    }

    fn run(self) -> Result<()> {
        let Server { model, listeners, workers, listening, stop, most, site } = self;
        if let Model::Threads = model {
            let slot = &site.status.slots[0];
            slot.begin(getpid());
            let listener = listeners.into_shared().context("the listener of all threads")?;
            // Its threads inherit the signals as blocked.
            let runtime = Builder::new_multi_thread().worker_threads(workers.get()).enable_all().build()?;
            site.status.tell(&listening);
            runtime.block_on(worker::serve(listener, stop.as_fd(), site, slot, most))?;
        } else {
            processes(listeners, &listening, site, most, &stop)?;
        }
        let signal = stop.asked()?.map_or("the end of its work", Signal::as_str);
        // Whoever was impatient has sent another one: read, it does not end the process when the signals act again.
        while stop.asked()?.is_some() {}
        let cut_off = site.status.sum(|slot| &slot.cut_off);
        site.status.tell(&format!("stopped by {signal}; {cut_off} connections were cut off"));
        Ok(())
    }
}

/// As many as there can be descriptors, after the soft limit is raised as far as it may be, and no more than the memory of
/// a usual machine holds if all of them are hostile.
fn most_connections() -> Result<u32> {
    const OTHERS: u64 = 16 + worker::PORCH as u64; // Standard streams, listener, log, root, the stop, what the runtime has.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("the limit of open files")?;
    let each = most.saturating_sub(OTHERS) / 2; // A connection and the file that it is sent.
    Ok(u32::try_from(each.clamp(1, 10_000))?)
}

/// Workers are forked before there is any runtime, each replaced when it dies. The parent never has one: with a second
/// thread it could not fork any more.
fn processes(listeners: Listeners, listening: &str, site: &'static Site, most: u32, stop: &Shutdown) -> Result<()> {
    let (slots, tell) = (site.status.slots, |line: &str| site.status.tell(line));
    let work = |worker: Worker| {
        let runtime = Builder::new_current_thread().enable_all().build();
        let serve = worker::serve(worker.listener, worker.stop.as_fd(), site, &slots[worker.number], most);
        let served = runtime.and_then(|runtime| runtime.block_on(serve));
        served.inspect_err(|error| tell(&format!("worker {}: {error}", worker.number))).is_err().into()
    };
    let mut started = 0;
    let watch = |event| match event {
        Event::Started { number, pid } => {
            slots[number].begin(pid);
            started += 1;
            if started == slots.len() {
                tell(listening); // A listener of its own is there once its worker is.
            }
        }
        Event::Ended { number, pid, exit, again_in: Some(again_in) } => {
            slots[number].died();
            tell(&format!("worker {number}, process {pid}: {exit}; started again in {} ms", again_in.as_millis()));
        }
        Event::Ended { number, pid, exit, .. } if !exit.success() => {
            tell(&format!("worker {number}, process {pid}: {exit} at the end"));
        }
        Event::Ended { .. } | Event::Stopping => {}
        Event::NotStarted { number, error, again_in } => {
            tell(&format!("worker {number} could not be started, tried again in {} ms: {error}", again_in.as_millis()));
        }
    };
    let drain = worker::DRAIN + Duration::from_secs(2); // By then they have cut off what was left, and ended.
    // SAFETY: what the workers share is the status, whose slots are atomics; nobody unmaps or unlocks anything in it.
    unsafe { prefork::serve(listeners, slots.len(), drain, stop.as_fd(), work, watch) }?;
    Ok(())
}
