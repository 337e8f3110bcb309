//! Does the server hold thousands of idle connections, and at what price?

use std::net::TcpStream;
use std::{fs, io};

use anyhow::Result;
use nix::unistd::Pid;
use process_demo::memory_of;
use shared::number::{chosen_with_unit, count, with_unit};

use crate::servers::Server;
use crate::{kills, wrk};

/// Opens so many connections, has each answered once, leaves them all idle, and has each answered once more.
pub fn hold(server: &Server, wanted: usize) -> Result<()> {
    let before_bytes = pss_bytes(server.pid());
    let mut held: Vec<TcpStream> = Vec::new();
    let mut connect = || -> io::Result<()> {
        let stream = TcpStream::connect(server.address)?;
        kills::ask(&stream)?;
        held.push(stream);
        Ok(())
    };
    let refusal = (0..wanted).find_map(|_| connect().err());
    let while_held_bytes = pss_bytes(server.pid());
    let threads: usize = family(server.pid()).into_iter().map(threads_of).sum();
    let load = if wrk::is_here() { Some(wrk::ask(server, crate::NAME, 1)?) } else { None };
    let again = held.iter().filter(|stream| kills::ask(stream).is_ok()).count();
    println!(
        "{}: holds {} idle connections with {threads} threads in all; {again} of them are answered again. Its memory (PSS) \
         grew from {} to {}, by {} for each.",
        server.name,
        count(held.len() as u64),
        with_unit("bytes", before_bytes),
        with_unit("bytes", while_held_bytes),
        chosen_with_unit("bytes", ((while_held_bytes - before_bytes) / held.len().max(1) as f64).round()),
    );
    if let Some(load) = load {
        println!("    meanwhile 16 others got {} answers a second, {} errors", count(load.per_s as u64), load.errors);
    }
    if let Some(refusal) = refusal {
        println!("    then it refused, or this program could not open more: {refusal}");
    }
    Ok(())
}

/// The process and all that come from it.
pub fn family(pid: Pid) -> Vec<Pid> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        all.extend(children(all[at]));
        at += 1;
    }
    all
}

/// Of the thread that started it: only that one makes children here.
pub fn children(pid: Pid) -> Vec<Pid> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|word| word.parse().ok()).map(Pid::from_raw).collect()
}

fn threads_of(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Of the whole family; each shared page is divided among those that have it, so the sum is true.
fn pss_bytes(pid: Pid) -> f64 {
    memory_of::of_family(&family(pid)).map_or(0.0, |memory| memory.pss_bytes as f64)
}
