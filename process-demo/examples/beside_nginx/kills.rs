//! What do clients lose when a worker is killed every tenth of a second?

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    /// No connection came about.
    refused: u64,
    /// A new connection ended before its first answer.
    lost_new: u64,
    /// A connection that had been answered before ended before this answer.
    lost_open: u64,
    other: u64,
}

impl Tally {
    fn and(self, more: Tally) -> Tally {
        Tally {
            answered: self.answered + more.answered,
            refused: self.refused + more.refused,
            lost_new: self.lost_new + more.lost_new,
            lost_open: self.lost_open + more.lost_open,
            other: self.other + more.other,
        }
    }
}

/// Clients ask as fast as they can for so many seconds, connecting again whenever they lose a connection, while one
/// worker after the other is killed.
pub fn count(server: &Server, seconds: u32) {
    let stop = AtomicBool::new(false);
    let (total, killed) = thread::scope(|s| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| s.spawn(|| client(server.address, &stop))).collect();
        let mut killed = 0;
        for turn in 0..seconds as usize * 10 {
            sleep(BETWEEN_KILLS); // The rate at which workers die is what this is about.
            let workers = children(server.pid());
            if !workers.is_empty() {
                killed += u32::from(kill(workers[turn % workers.len()], Signal::SIGKILL).is_ok());
            }
        }
        stop.store(true, Relaxed); // Publishes nothing: the clients only end.
        let tallies = clients.into_iter().map(|client| client.join().unwrap());
        (tallies.fold(Tally::default(), Tally::and), killed)
    });
    println!(
        "{}: {killed} workers killed in {seconds} s under {CLIENTS} busy connections: {} requests answered, {} connections \
         refused, {} requests lost on open connections and {} on new ones; {} other errors.",
        server.name,
        counted(total.answered),
        total.refused,
        total.lost_open,
        total.lost_new,
        total.other,
    );
}

fn client(address: SocketAddr, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Relaxed) {
        let stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                tally.refused += 1;
                continue;
            }
            Err(_) => {
                tally.lost_new += 1; // The kernel had accepted it already, and reset it again.
                continue;
            }
        };
        let mut answered = 0;
        let error = loop {
            match ask(&stream) {
                Ok(()) => answered += 1,
                Err(error) => break error,
            }
            if stop.load(Relaxed) {
                tally.answered += answered;
                return tally;
            }
        };
        tally.answered += answered;
        match error.kind() {
            ErrorKind::InvalidData => tally.other += 1,
            _ if answered == 0 => tally.lost_new += 1,
            _ => tally.lost_open += 1,
        }
    }
    tally
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
