//! How fast is our web server beside nginx and Apache, and what does each lose when its workers are killed?
//!
//! Starts all of them with private configurations, which it prints, and lets `wrk` ask them in turn for the same 12 bytes:
//! from memory, where the engines alone are compared, and from a file. What is not installed is left out.
//! `cargo run --release -p process-demo --example beside_nginx`

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shared::number::{count, three_digits, with_unit};
use shared::stats::median;

use servers::{Server, nobody_may_read};
use wrk::Load;

mod idle;
mod kills;
mod servers;
mod wrk;

/// Our web server beside nginx and Apache.
#[derive(Parser)]
struct Options {
    /// How long each server is asked in each round
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// How often all are asked in turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many idle connections are held
    #[arg(long, default_value_t = 5000)]
    idle: usize,
}

const WORKERS: usize = 2;
const NAME: &str = "hello.txt"; // Of the file.
const MEMORY: &str = ".well-known/hello"; // What is answered from memory.
const TEXT: &str = "hello world\n";

fn main() -> Result<()> {
    let options = Options::parse();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?; // For the idle connections; the servers inherit it.
    let place = tempfile::tempdir().context("a temporary directory")?;
    let root = place.path().join("files");
    fs::create_dir(&root)?;
    fs::write(root.join(NAME), TEXT)?;
    nobody_may_read(&[place.path(), &root])?;
    fs::set_permissions(root.join(NAME), fs::Permissions::from_mode(0o644))?;

    let servers = start_all(place.path(), &root)?;
    if wrk::is_here() {
        println!("{WORKERS} workers each, logs off; {}\n", wrk::command(options.seconds, "ADDRESS"));
        let engines: Vec<&Server> = servers.iter().filter(|server| server.has_memory).collect();
        race(&options, &format!("/{MEMORY}: ours from memory, nginx by `return 200`"), MEMORY, &engines)?;
        let all: Vec<&Server> = servers.iter().collect();
        let files = locked_version("tower-http");
        let title = format!("/{NAME}: a file, ours by tower-http {files}, which reads it anew each time");
        race(&options, &title, NAME, &all)?;
    } else {
        println!("wrk is not installed, so nothing can be compared: the package of that name brings it.");
    }
    drop(servers);
    for model in ["threads", "prefork"] {
        idle::hold(&Server::ours(model, &root)?, options.idle)?;
    }
    for model in ["prefork", "reuseport"] {
        kills::count(&Server::ours(model, &root)?, options.seconds);
    }
    Ok(())
}

/// Ours first, then all that are installed; how each is configured, and what it answers.
fn start_all(place: &Path, root: &Path) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for model in OURS {
        servers.push(Server::ours(model, root)?);
    }
    for started in servers::others(place, root) {
        match started? {
            Ok(server) => servers.push(server),
            Err(missing) => println!("{missing}"),
        }
    }
    for server in &servers {
        println!("{} ({}): {}", server.name, server.engine, server.configuration);
        if server.has_memory {
            println!("  /{MEMORY}\n{}", indented(&server.head(MEMORY, TEXT)?));
        }
        println!("  /{NAME}\n{}", indented(&server.head(NAME, TEXT)?));
    }
    Ok(servers)
}

/// All servers under the same load in turn, and the ratios of each round.
fn race(options: &Options, answered: &str, path: &str, servers: &[&Server]) -> Result<()> {
    let mut loads: Vec<Vec<Load>> = servers.iter().map(|_| Vec::new()).collect();
    for server in servers {
        wrk::ask(server, path, 1)?; // Warms up; Apache's prefork starts its children now.
    }
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        if round % 2 == 1 {
            order.reverse(); // A drift of the machine hits all alike.
        }
        for at in order {
            loads[at].push(wrk::ask(servers[at], path, options.seconds)?);
        }
    }
    println!("{answered}");
    print_loads(servers, &loads);
    print_ratios(servers, &loads);
    Ok(())
}

const OURS: [&str; 3] = ["threads", "prefork", "reuseport"];

/// Of a library, as this program and the server are built with it.
fn locked_version(name: &str) -> &'static str {
    let after = include_str!("../../../Cargo.lock").split_once(&format!("name = \"{name}\"\nversion = \""));
    after.and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default()
}

fn print_loads(servers: &[&Server], loads: &[Vec<Load>]) {
    println!("{:20} {:14} {:>9} {:>9} {:>9} {:>7}   rounds", "server", "engine", "per s", "p50", "p99", "errors");
    for (server, loads) in servers.iter().zip(loads) {
        let of = |figure: fn(&Load) -> f64| loads.iter().map(figure).collect::<Vec<f64>>();
        let rounds = of(|load| load.per_s);
        println!(
            "{:20} {:14} {:>9} {:>9} {:>9} {:>7}   {}",
            server.name,
            server.engine,
            count(median(&rounds).value as u64),
            with_unit("s", median(&of(|load| load.p50_s)).value),
            with_unit("s", median(&of(|load| load.p99_s)).value),
            loads.iter().map(|load| load.errors).sum::<u64>(),
            rounds.iter().map(|per_s| count(*per_s as u64)).collect::<Vec<_>>().join("  "),
        );
    }
}

/// Ours in the share of the others' requests per second: of each round, and their median.
fn print_ratios(servers: &[&Server], loads: &[Vec<Load>]) {
    println!("\nrequests per second, ours / theirs: the median (each round)");
    for (theirs, their_loads) in servers.iter().zip(loads).skip(OURS.len()) {
        for (ours, our_loads) in servers.iter().zip(loads).take(OURS.len()) {
            let pairs = our_loads.iter().zip(their_loads);
            let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours.per_s / theirs.per_s).collect();
            let rounds: Vec<String> = ratios.iter().copied().map(three_digits).collect();
            let middle = three_digits(median(&ratios).value);
            println!("{:10} / {:24} {:>6}  ({})", ours.name, theirs.name, middle, rounds.join("  "));
        }
    }
    println!();
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
