//! A web server that serves the files below a directory, by threads or by processes: made of the snippets `http`,
//! `connections`, `prefork`, `shutdown` and `beneath`.
//!
//!     cargo run --release -p process-demo --example web_server -- --model prefork --root .
//!     curl http://127.0.0.1:8080/status
//!
//! It logs each request on standard error, tells of its workers under `/status`, finishes what is in flight when it is
//! told to stop by SIGTERM or SIGINT, and replaces a worker that dies.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;
use std::thread;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum, value_parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use process_demo::beneath::Root;
use process_demo::connections::{Beyond, Bounds};
use process_demo::prefork::{Listeners, Listening};
use process_demo::shutdown::Shutdown;

use shelf::Shelf;
use site::{Log, Site};
use status::Status;

mod shelf;
mod site;
mod status;
mod threads;
mod visit;
mod workers;

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
    /// How many threads or processes, but for `threads` [default: one for each CPU]
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
    /// A thread for each connection
    Threads,
    /// A pool of threads, each with many connections
    Pool,
    /// Processes that accept from one listener, each with many connections
    Prefork,
    /// Processes with a listener of their own, each with many connections
    Reuseport,
}

const WRONG: u8 = 2; // It could not start as it was told to.

fn main() -> ExitCode {
    let options = Options::parse();
    let failed = |code: u8| {
        move |error: anyhow::Error| {
            tell(&format!("web_server: {error:#}"));
            ExitCode::from(code)
        }
    };
    match Server::new(&options).map_err(failed(WRONG)).and_then(|server| server.run().map_err(failed(1))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}

/// All that is ready before the first connection.
struct Server {
    door: Door,
    listening: String, // Told as soon as it is true.
    stop: Shutdown,
    bounds: Bounds,
    site: Site,
}

/// Who comes in, and who meets them.
enum Door {
    Threads(TcpListener),
    Pool(TcpListener),
    Processes(Listeners),
}

impl Door {
    fn open(model: Model, address: SocketAddr) -> io::Result<Door> {
        Ok(match model {
            Model::Threads => Door::Threads(TcpListener::bind(address)?),
            Model::Pool => Door::Pool(TcpListener::bind(address)?),
            Model::Prefork => Door::Processes(Listeners::bind(address, Listening::Shared)?),
            Model::Reuseport => Door::Processes(Listeners::bind(address, Listening::PerWorker)?),
        })
    }

    fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Door::Threads(listener) | Door::Pool(listener) => listener.local_addr(),
            Door::Processes(listeners) => Ok(listeners.address()),
        }
    }
}

impl Server {
    fn new(options: &Options) -> Result<Server> {
        let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = match options.model {
            Model::Threads => 1,
            _ => options.workers.map_or(cpus, usize::from),
        };
        let workers = NonZeroUsize::new(workers).context("no worker")?;
        let stop = Shutdown::on(&[Signal::SIGTERM, Signal::SIGINT]).context("the signals that stop it")?;
        let root = Root::new(&options.root).with_context(|| format!("--root {}", options.root.display()))?;
        let door = Door::open(options.model, options.listen).with_context(|| format!("--listen {}", options.listen))?;
        let name = options.model.to_possible_value().context("a model without a name")?.get_name().to_owned();
        let bounds = bounds(options.model, workers)?;
        let listening = format!(
            "listening on {}, model {name}, workers {workers}, at most {} connections each, files below {}",
            door.address()?,
            bounds.connections,
            options.root.display(),
        );
        let status = Status::new(name, workers).context("the memory for its counters")?;
        let log = if options.quiet { Log::Nothing } else { Log::Requests };
        Ok(Server {
            door,
            listening,
            stop,
            bounds,
            site: Site { root, status, log, stops: AtomicBool::new(false), shelf: RwLock::new(Shelf::default()) },
        })
    }

    fn run(self) -> Result<()> {
        let Server { door, listening, stop, bounds, site } = self;
        match door {
            Door::Threads(listener) => {
                tell(&listening);
                threads::serve(&listener, &site, &bounds, &stop)?;
            }
            Door::Pool(listener) => workers::pool(&listener, &listening, &site, &bounds, &stop)?,
            Door::Processes(listeners) => workers::processes(listeners, &listening, &site, &bounds, &stop)?,
        }
        let signal = stop.asked()?.map_or("the end of its work", Signal::as_str);
        // Whoever was impatient has sent another one: read, it does not end the process when the signals act again.
        while stop.asked()?.is_some() {}
        tell(&format!("stopped by {signal}; {} connections were cut off", site.status.cut_off()));
        Ok(())
    }
}

/// One line on standard error, by one write; if nobody reads it any more, the server serves on.
fn tell(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// As many connections as there can be descriptors, after the soft limit is raised as far as it may be, and no more than
/// the memory of a usual machine holds if all of them are hostile.
fn bounds(model: Model, workers: NonZeroUsize) -> Result<Bounds> {
    const OTHERS: u64 = 64; // Standard streams, listener, epoll, root, and the files that are being read.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("the limit of open files")?;
    let sharing = match model {
        Model::Threads => 2, // Each may have a file open beside its connection.
        Model::Pool => workers.get() as u64,
        Model::Prefork | Model::Reuseport => 1, // A process has a limit of its own.
    };
    let usual = Bounds::default();
    let connections = usize::try_from(most.saturating_sub(OTHERS) / sharing)?.clamp(1, usual.connections);
    let body = format!("This worker holds at most {connections} connections, and has them. Another may have room.\n");
    let head =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Type: text/plain\r\n";
    let refusal = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    Ok(Bounds { connections, beyond: Beyond::Refuse(refusal.into_bytes()), ..usual })
}
