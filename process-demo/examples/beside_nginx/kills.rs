//! What do clients lose when a worker is killed every tenth of a second?

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use shared::number::count as counted;

use crate::idle::children;
use crate::servers::Server;
use crate::{NAME, TEXT};

const CLIENTS: usize = 16;
const BETWEEN_KILLS: Duration = Duration::from_millis(100);

/// What happened to the requests of the clients.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    /// No connection came about.
    refused: AtomicU64,
    /// A new connection ended before its first answer.
    lost_new: AtomicU64,
    /// A connection that had been answered before ended before this answer.
    lost_open: AtomicU64,
    other: AtomicU64,
}

/// Clients ask as fast as they can for so many seconds, connecting again whenever they lose a connection, while one
/// worker after the other is killed.
pub fn count(server: &Server, seconds: u32) {
    let (tally, stop) = (Tally::default(), AtomicBool::new(false));
    let mut killed = 0;
    thread::scope(|s| {
        for _ in 0..CLIENTS {
            s.spawn(|| client(server.address, &tally, &stop));
        }
        for turn in 0..seconds as usize * 10 {
            sleep(BETWEEN_KILLS); // The rate at which workers die is what this is about.
            let workers = children(server.pid());
            if !workers.is_empty() {
                killed += u32::from(kill(workers[turn % workers.len()], Signal::SIGKILL).is_ok());
            }
        }
        stop.store(true, Relaxed); // Publishes nothing: the clients only end.
    });
    println!(
        "{}: {killed} workers killed in {seconds} s under {CLIENTS} busy connections: {} requests answered, {} connections \
         refused, {} requests lost on open connections and {} on new ones; {} other errors.",
        server.name,
        counted(tally.answered.into_inner()),
        tally.refused.into_inner(),
        tally.lost_open.into_inner(),
        tally.lost_new.into_inner(),
        tally.other.into_inner(),
    );
}

fn client(address: SocketAddr, tally: &Tally, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        let mut answered = 0;
        let ended = TcpStream::connect(address).and_then(|stream| {
            while !stop.load(Relaxed) {
                ask(&stream)?;
                answered += 1;
            }
            Ok(())
        });
        tally.answered.fetch_add(answered, Relaxed);
        let Err(error) = ended else { return };
        let what = match error.kind() {
            ErrorKind::ConnectionRefused => &tally.refused,
            ErrorKind::InvalidData => &tally.other,
            _ if answered == 0 => &tally.lost_new, // Or the kernel had accepted it already, and reset it again.
            _ => &tally.lost_open,
        };
        what.fetch_add(1, Relaxed);
    }
}

/// One request and its whole answer.
pub fn ask(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(format!("GET /{NAME} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = [0; 1024];
    let mut filled = 0;
    while !answer[..filled].ends_with(TEXT.as_bytes()) {
        match stream.read(&mut answer[filled..])? {
            0 if filled == answer.len() => return Err(io::Error::new(ErrorKind::InvalidData, "too long an answer")),
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            got => filled += got, // An answer may come in pieces.
        }
    }
    let right = answer.starts_with(b"HTTP/1.1 200 ");
    if right { Ok(()) } else { Err(io::Error::new(ErrorKind::InvalidData, "another answer")) }
}
