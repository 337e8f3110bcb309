//! Does a server of the snippets `connections` and `http` stand up to clients that are slow, rude, many or gone?

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Barrier, LazyLock};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, mem};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};
use process_demo::connections::{Beyond, Bounds, Counters, Next, Session, Step, serve, serve_one};
use process_demo::http::{self, Limits, Reader, Reading, refuse, respond, write_head};

const AGES: Duration = Duration::from_secs(600); // Nothing here may depend on a time-out that it does not test.
const PATIENCE: Duration = Duration::from_secs(60);
const HUGE_BYTES: u64 = 32 << 20; // More than the buffers of two sockets hold.

/// A small server over HTTP: `/` says hello, `/huge` sends very much, piece by piece, `/wait` answers after 200 ms,
/// `/for-ever` after an hour; and `/gate` holds up the whole server until the test has been at the gate twice.
struct Site<'a> {
    reader: Reader,
    waited: bool,
    huge_left: u64,
    stops: bool,
    seen: &'a Seen,
}

/// What the sessions of a server have seen.
struct Seen {
    produced: AtomicU64,    // Bytes of `/huge` that were made.
    most_output: AtomicU64, // Bytes that waited to be sent when a session was called.
    gate: Barrier,
}

impl Seen {
    fn new() -> Seen {
        Seen { produced: AtomicU64::new(0), most_output: AtomicU64::new(0), gate: Barrier::new(2) }
    }
}

impl<'a> Site<'a> {
    fn new(seen: &'a Seen) -> Site<'a> {
        Site { reader: Reader::new(Limits::default()), waited: false, huge_left: 0, stops: false, seen }
    }

    fn huge_piece(&mut self, output: &mut Vec<u8>) -> Next {
        let piece = self.huge_left.min(PIECE_BYTES as u64);
        let from = HUGE_BYTES - self.huge_left;
        output.extend_from_slice(&huge_bytes(from)[..piece as usize]);
        self.huge_left -= piece;
        self.seen.produced.fetch_add(piece, Relaxed);
        if self.huge_left > 0 { Next::Send } else { Next::Receive }
    }
}

/// Bytes that repeat after 251 of them, a prime: a piece that is missing or sent twice shows.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| (0..=250).cycle().take(251 + PIECE_BYTES).collect());

const PIECE_BYTES: usize = 64 << 10;

fn huge_bytes(from: u64) -> &'static [u8] {
    &PATTERN[(from % 251) as usize..][..PIECE_BYTES]
}

fn is_huge(body: &[u8]) -> bool {
    let right = |(piece, number): (&[u8], u64)| huge_bytes(number * PIECE_BYTES as u64).starts_with(piece);
    body.len() as u64 == HUGE_BYTES && body.chunks(PIECE_BYTES).zip(0..).all(right)
}

impl Session for Site<'_> {
    fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> Step {
        self.seen.most_output.fetch_max(output.len() as u64, Relaxed);
        if self.huge_left > 0 {
            return Step { consumed: 0, next: self.huge_piece(output) };
        }
        let mut request = match self.reader.read(input) {
            Ok(Reading::NotYet) => return Step { consumed: 0, next: Next::Receive },
            Ok(Reading::AwaitsContinue) => {
                output.extend_from_slice(http::CONTINUE);
                return Step { consumed: 0, next: Next::Receive };
            }
            Ok(Reading::Whole(request)) => request,
            Err(refusal) => {
                refuse(output, refusal, "now");
                return Step { consumed: input.len(), next: Next::Close };
            }
        };
        request.keep_alive &= !self.stops;
        let wait = match request.target {
            "/wait" => Some(Duration::from_millis(200)),
            "/for-ever" => Some(Duration::from_secs(3600)),
            _ => None,
        };
        if let (Some(wait), false) = (wait, mem::replace(&mut self.waited, wait.is_some())) {
            return Step { consumed: 0, next: Next::After(wait) }; // It will be read again, when the time has passed.
        }
        self.waited = false;
        if request.target == "/gate" {
            self.seen.gate.wait();
            self.seen.gate.wait();
        }
        let (consumed, keep_alive) = (request.consumed, request.keep_alive);
        if request.target == "/huge" {
            self.huge_left = if write_head(output, &request, 200, "now", &[], HUGE_BYTES) { HUGE_BYTES } else { 0 };
            return Step { consumed, next: Next::Send };
        }
        let body = format!("{} {} {}", request.method, request.target, String::from_utf8_lossy(request.body));
        respond(output, &request, 200, "now", &[], body.as_bytes());
        Step { consumed, next: if keep_alive { Next::Receive } else { Next::Close } }
    }

    fn timed_out(&mut self, output: &mut Vec<u8>) {
        output.extend_from_slice(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }

    fn stopping(&mut self) {
        self.stops = true;
    }
}

/// A server in one thread, and what can be seen of it from outside.
struct Running<'a> {
    address: SocketAddr,
    counters: &'a Counters,
    seen: &'a Seen,
    stop: UnixStream,
}

/// Runs a server, and a test beside it; returns how many connections the server cut off at the end.
fn beside(bounds: Bounds, test: impl FnOnce(&mut Running<'_>)) -> usize {
    beside_over(TcpListener::bind("127.0.0.1:0").unwrap(), bounds, test)
}

fn beside_over(listener: TcpListener, bounds: Bounds, test: impl FnOnce(&mut Running<'_>)) -> usize {
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = UnixStream::pair().unwrap();
    let (counters, seen) = (Counters::default(), Seen::new());
    let cut_off = thread::scope(|scope| {
        let server = scope.spawn(|| serve(listener, stopped.as_fd(), &bounds, &counters, |_| Site::new(&seen)));
        // The test owns the other end of the stop, so the server ends with it, even by a panic.
        test(&mut Running { address, counters: &counters, seen: &seen, stop });
        server.join().unwrap().unwrap()
    });
    assert_eq!(counters.open.load(Relaxed), 0);
    cut_off
}

fn patient() -> Bounds {
    Bounds { request: AGES, idle: AGES, send: AGES, drain: AGES, ..Bounds::default() }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::yield_now();
    }
}

impl Running<'_> {
    fn client(&self) -> Client {
        Client::over(TcpStream::connect(self.address).unwrap())
    }

    fn has_open(&self, count: u64) {
        until(&format!("{count} connections are open"), || self.counters.open.load(Relaxed) == count);
    }
}

struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, received: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    fn get(&mut self, target: &str) -> String {
        self.send(get(target));
        self.body()
    }

    /// The next response: its status and its body, of the length that it states.
    fn response(&mut self) -> (u16, Vec<u8>) {
        let head_bytes = loop {
            match self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(self.receive() > 0, "closed before a whole head: {:?}", self.received),
            }
        };
        let head = String::from_utf8(self.received[..head_bytes].to_vec()).unwrap();
        let length =
            head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse::<usize>().unwrap();
        while self.received.len() < head_bytes + length {
            assert!(self.receive() > 0, "closed before a whole body");
        }
        let body = self.received[head_bytes..head_bytes + length].to_vec();
        self.received.drain(..head_bytes + length);
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    fn body(&mut self) -> String {
        let (status, body) = self.response();
        assert_eq!(status, 200);
        String::from_utf8(body).unwrap()
    }

    fn receive(&mut self) -> usize {
        let mut buffer = [0; 65536];
        let count = self.stream.read(&mut buffer).unwrap();
        self.received.extend_from_slice(&buffer[..count]);
        count
    }

    fn is_closed(&mut self) -> bool {
        self.received.is_empty() && self.receive() == 0
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: here\r\n\r\n")
}

#[test]
fn a_slow_client_is_served_and_nobody_waits_for_it() {
    beside(patient(), |server| {
        let (mut slow, mut fast) = (server.client(), server.client());
        for byte in get("/slow").bytes() {
            slow.send([byte]);
            assert_eq!(fast.get("/fast"), "GET /fast "); // Answered while the other's request is not even whole.
        }
        assert_eq!(slow.body(), "GET /slow ");
    });
}

#[test]
fn a_malformed_request_is_refused_and_its_connection_closed() {
    beside(patient(), |server| {
        let mut other = server.client();
        for (request, status) in [
            ("nonsense\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/3.0\r\nHost: here\r\n\r\n", 505),
            ("POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ] {
            let mut rude = server.client();
            rude.send(request);
            assert_eq!(rude.response().0, status, "{request:?}");
            assert!(rude.is_closed());
            assert_eq!(other.get("/"), "GET / ");
        }
        assert_eq!(other.get("/again"), "GET /again ");
    });
}

#[test]
fn a_client_that_goes_on_sending_still_reads_why_it_was_refused() {
    beside(patient(), |server| {
        let mut rude = server.client();
        rude.send("POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999\r\n\r\n");
        for _ in 0..100 {
            rude.send([0; 10_000]); // A server that closes at once resets the connection here.
        }
        assert_eq!(rude.response().0, 413);
        assert!(rude.is_closed());
    });
}

#[test]
fn two_thousand_idle_connections_are_held_and_served() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(8192)), hard).unwrap();
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).unwrap().0.saturating_sub(1000) / 2; // Both ends are ours.
    let count = allowed.min(2000) as usize;
    beside(patient(), |server| {
        let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();
        server.has_open(count as u64);
        for number in (0..count).rev().step_by(97) {
            assert_eq!(clients[number].get("/"), "GET / ");
        }
        for client in clients.drain(..count / 2) {
            drop(client);
        }
        server.has_open((count - count / 2) as u64);
        assert_eq!(clients[0].get("/still"), "GET /still ");
    });
}

#[test]
fn a_client_that_has_sent_its_last_byte_gets_its_answers() {
    beside(patient(), |server| {
        let mut client = server.client();
        client.send(get("/1") + &get("/wait"));
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!((client.body(), client.body()), ("GET /1 ".to_owned(), "GET /wait ".to_owned()));
        assert!(client.is_closed());
        server.has_open(0);
    });
}

#[test]
fn the_end_is_noticed_though_it_comes_together_with_the_last_bytes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Client::over(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    client.send(get("/"));
    client.stream.shutdown(Shutdown::Write).unwrap(); // All before the server is there.
    beside_over(listener, patient(), |_| {
        assert_eq!(client.body(), "GET / ");
        assert!(client.is_closed());
    });
}

#[test]
fn clients_that_reset_their_connection_leave_nothing_behind() {
    beside(patient(), |server| {
        for target in ["/", "/huge", "/for-ever", ""] {
            for _ in 0..20 {
                let mut client = server.client();
                client.send(get(target).split_at(if target.is_empty() { 5 } else { 0 }).1);
                let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                nix::sys::socket::setsockopt(&client.stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
            }
        }
        until("all were accepted", || server.counters.accepted.load(Relaxed) == 80);
        server.has_open(0);
        assert_eq!(server.client().get("/"), "GET / ");
    });
}

#[test]
fn a_hundred_requests_in_one_write_get_a_hundred_answers_in_order() {
    beside(patient(), |server| {
        let mut client = server.client();
        client.send((0..100).map(|number| get(&format!("/{number}"))).collect::<String>());
        for number in 0..100 {
            assert_eq!(client.body(), format!("GET /{number} "));
        }
    });
}

#[test]
fn pipelined_requests_beyond_the_output_bound_are_answered_too() {
    beside(Bounds { output_bytes: 1, ..patient() }, |server| {
        let mut client = server.client();
        client.send((0..100).map(|number| get(&format!("/{number}"))).collect::<String>());
        for number in 0..100 {
            assert_eq!(client.body(), format!("GET /{number} "));
        }
        assert_eq!(server.seen.most_output.load(Relaxed), 0); // Each answer was sent before the next was made.
    });
}

#[test]
fn a_body_in_pieces_is_put_together() {
    beside(patient(), |server| {
        let mut client = server.client();
        client.send("POST /x HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
        while client.received.len() < http::CONTINUE.len() {
            client.receive();
        }
        assert_eq!(mem::take(&mut client.received), http::CONTINUE);
        for piece in ["3\r\nab", "c\r\n", "2\r\nde\r\n0", "\r\n", "\r\n"] {
            client.send(piece);
        }
        assert_eq!(client.body(), "POST /x abcde");
    });
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody_and_not_much_memory() {
    beside(patient(), |server| {
        let mut lazy = server.client();
        lazy.send(get("/huge"));
        until("something is sent", || server.seen.produced.load(Relaxed) > 0);
        let mut other = server.client();
        let mut before = 0;
        until("no more is sent", || {
            for _ in 0..200 {
                assert_eq!(other.get("/"), "GET / ");
            }
            mem::replace(&mut before, server.seen.produced.load(Relaxed)) == before
        });
        assert!(before < HUGE_BYTES, "all of it was produced, though nobody reads");
        let (_, body) = lazy.response(); // Now it reads, and gets the rest.
        assert!(is_huge(&body));
        assert_eq!(lazy.get("/next"), "GET /next ");
    });
}

#[test]
fn a_reader_that_never_reads_is_cut_off() {
    let bounds = Bounds { send: Duration::from_millis(100), ..patient() };
    beside(bounds, |server| {
        let mut lazy = server.client();
        lazy.send(get("/huge"));
        until("it was cut off", || server.counters.timed_out.load(Relaxed) == 1);
        server.has_open(0);
    });
}

#[test]
fn a_request_that_is_never_whole_times_out_with_an_answer() {
    let bounds = Bounds { request: Duration::from_millis(100), ..patient() };
    beside(bounds, |server| {
        let (mut half, mut silent, mut idle) = (server.client(), server.client(), server.client());
        assert_eq!(idle.get("/"), "GET / ");
        half.send("GET / HT");
        assert_eq!(half.response().0, 408);
        assert!(half.is_closed());
        assert!(silent.is_closed());
        assert_eq!(idle.get("/"), "GET / "); // Between two requests another time counts.
    });
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let bounds = Bounds { idle: Duration::from_millis(100), ..patient() };
    beside(bounds, |server| {
        let (mut idle, mut new) = (server.client(), server.client());
        assert_eq!(idle.get("/"), "GET / ");
        assert!(idle.is_closed());
        assert_eq!(new.get("/"), "GET / "); // Before its first request it is not idle.
        assert_eq!(server.counters.timed_out.load(Relaxed), 1);
    });
}

#[test]
fn while_one_waits_the_others_are_served() {
    beside(Bounds { drain: Duration::ZERO, ..patient() }, |server| {
        let mut waiting: Vec<Client> = (0..8).map(|_| server.client()).collect();
        for client in &mut waiting[..4] {
            client.send(get("/wait") + &get("/next"));
        }
        for client in &mut waiting[4..] {
            client.send(get("/for-ever"));
        }
        assert_eq!(server.client().get("/"), "GET / ");
        for client in &mut waiting[..4] {
            assert_eq!((client.body(), client.body()), ("GET /wait ".to_owned(), "GET /next ".to_owned()));
        }
    });
}

#[test]
fn those_beyond_the_limit_wait_until_another_leaves() {
    beside(Bounds { connections: 2, ..patient() }, |server| {
        let mut first = server.client();
        let mut second = server.client();
        assert_eq!((first.get("/"), second.get("/")), ("GET / ".to_owned(), "GET / ".to_owned()));
        let mut third = server.client();
        third.send(get("/third"));
        for _ in 0..100 {
            assert_eq!(first.get("/"), "GET / ");
        }
        assert_eq!(server.counters.accepted.load(Relaxed), 2);
        drop(second);
        assert_eq!(third.body(), "GET /third ");
    });
}

#[test]
fn those_beyond_the_limit_are_told_so() {
    let words = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let bounds = Bounds { connections: 1, beyond: Beyond::Refuse(words.to_vec()), ..patient() };
    beside(bounds, |server| {
        let mut first = server.client();
        assert_eq!(first.get("/"), "GET / ");
        for _ in 0..3 {
            let mut beyond = server.client();
            assert_eq!(beyond.response().0, 503); // It has asked nothing; who has may find the connection reset.
            assert!(beyond.is_closed());
        }
        assert_eq!(server.counters.refused.load(Relaxed), 3);
        assert_eq!(first.get("/"), "GET / ");
    });
}

#[test]
fn a_stop_lets_requests_in_flight_finish_and_closes_idle_connections() {
    let cut_off = beside(patient(), |server| {
        let (mut idle, mut working, mut half) = (server.client(), server.client(), server.client());
        assert_eq!(idle.get("/"), "GET / ");
        half.send("GET /half HTTP/1.1\r\n");
        working.send(get("/wait"));
        server.has_open(3);
        server.stop.write_all(b"!").unwrap();
        assert!(idle.is_closed());
        until("it listens no more", || TcpStream::connect(server.address).is_err());
        assert_eq!(working.body(), "GET /wait ");
        assert!(working.is_closed());
        half.send("Host: here\r\n\r\n");
        assert_eq!(half.body(), "GET /half ");
        assert!(half.is_closed());
    });
    assert_eq!(cut_off, 0);
}

#[test]
fn a_request_that_arrives_before_the_server_notices_the_stop_is_answered() {
    beside(patient(), |server| {
        let (mut gate, mut kept) = (server.client(), server.client());
        assert_eq!(kept.get("/"), "GET / ");
        gate.send(get("/gate"));
        server.seen.gate.wait(); // The server does nothing but to wait here.
        server.stop.write_all(b"!").unwrap();
        kept.send(get("/late"));
        server.seen.gate.wait();
        assert_eq!(kept.body(), "GET /late ");
        assert_eq!(gate.body(), "GET /gate ");
    });
}

#[test]
fn who_has_not_heard_of_the_stop_is_answered_once_more() {
    let bounds = Bounds { last_call: AGES, ..patient() };
    let cut_off = beside(bounds, |server| {
        let mut kept = server.client();
        assert_eq!(kept.get("/"), "GET / ");
        server.stop.write_all(b"!").unwrap();
        until("it listens no more", || TcpStream::connect(server.address).is_err());
        assert_eq!(kept.get("/last"), "GET /last ");
        assert!(kept.is_closed());
    });
    assert_eq!(cut_off, 0);
}

#[test]
fn who_waits_in_the_queue_at_the_stop_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = UnixStream::pair().unwrap();
    let mut clients: Vec<Client> = (0..50).map(|_| Client::over(TcpStream::connect(address).unwrap())).collect();
    for client in &mut clients {
        client.send(get("/queued"));
    }
    drop(stop); // Before the server has accepted any of them.
    let seen = Seen::new();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            serve(listener, stopped.as_fd(), &patient(), &Counters::default(), |_| Site::new(&seen)).unwrap()
        });
        for mut client in clients {
            assert_eq!(client.body(), "GET /queued ");
            assert!(client.is_closed());
        }
        assert_eq!(server.join().unwrap(), 0);
    });
}

#[test]
fn the_deadline_of_the_stop_cuts_off_what_goes_on() {
    let mut client = None;
    let cut_off = beside(Bounds { drain: Duration::from_millis(50), ..patient() }, |server| {
        let mut endless = server.client();
        endless.send(get("/for-ever"));
        server.has_open(1);
        client = Some(endless);
    });
    assert_eq!(cut_off, 1);
}

#[test]
fn who_has_the_whole_response_and_stays_is_not_cut_off_by_a_stop() {
    let mut stays = None;
    let cut_off = beside(patient(), |server| {
        let mut rude = server.client();
        rude.send("nonsense\r\n\r\n");
        assert_eq!(rude.response().0, 400);
        assert!(rude.is_closed()); // On the server's side; on its own it stays open, beyond the server's end.
        server.has_open(1);
        stays = Some(rude);
    });
    assert_eq!(cut_off, 0);
}

#[test]
fn at_the_deadline_of_the_stop_only_who_lacks_a_response_counts_as_cut_off() {
    let mut stay = Vec::new();
    let cut_off = beside(Bounds { drain: Duration::ZERO, ..patient() }, |server| {
        let (mut endless, mut rude) = (server.client(), server.client());
        endless.send(get("/for-ever"));
        rude.send("nonsense\r\n\r\n");
        assert_eq!(rude.response().0, 400);
        assert!(rude.is_closed());
        server.has_open(2);
        stay.extend([endless, rude]);
    });
    assert_eq!(cut_off, 1);
}

#[test]
fn no_time_out_at_all_is_a_time_out_too() {
    let never = Duration::MAX;
    let bounds = Bounds { request: never, idle: never, send: never, drain: never, ..Bounds::default() };
    beside(bounds.clone(), |server| assert_eq!(server.client().get("/"), "GET / "));
    alone(bounds, |client| assert_eq!(client.get("/"), "GET / ")).unwrap();
}

#[test]
fn loops_on_one_listener_take_turns_in_accepting() {
    const LOOPS: usize = 3;
    const EACH: u64 = 4;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = UnixStream::pair().unwrap();
    let (seen, bounds, counters) =
        (Seen::new(), patient(), std::array::from_fn::<_, LOOPS, _>(|_| Counters::default()));
    thread::scope(|scope| {
        for counters in &counters {
            let (listener, stopped, bounds, seen) = (listener.try_clone().unwrap(), stopped.as_fd(), &bounds, &seen);
            scope.spawn(move || serve(listener, stopped, bounds, counters, |_| Site::new(seen)).unwrap());
        }
        let mut clients = Vec::new();
        // Who is still starting, or busy when a connection comes, misses a turn; so there may be more turns than needed.
        until("each has accepted some", || {
            let mut client = Client::over(TcpStream::connect(address).unwrap());
            assert_eq!(client.get("/"), "GET / ");
            clients.push(client);
            assert!(clients.len() < 400, "one gets nearly all");
            counters.iter().all(|one| one.accepted.load(Relaxed) >= EACH)
        });
        drop(clients);
        drop(stop);
    });
}

/// Both ends of a connection cost a descriptor, so the clients' are made before there are no more. In a process of its
/// own, because a limit holds for the whole process and its other tests.
#[test]
fn without_descriptors_it_serves_on_and_accepts_when_there_are_some_again() {
    const ROLE: &str = "CONNECTIONS_TEST_WITHOUT_DESCRIPTORS";
    if env::var_os(ROLE).is_some() {
        return without_descriptors();
    }
    let name = "without_descriptors_it_serves_on_and_accepts_when_there_are_some_again";
    let output = Command::new("/proc/self/exe").args(["--exact", name, "--nocapture"]).env(ROLE, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn without_descriptors() {
    let make = || socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let sockets: Vec<OwnedFd> = (0..8).map(|_| make()).collect();
    beside(patient(), |server| {
        assert_eq!(server.client().get("/"), "GET / ");
        server.has_open(0);
        let room = [make(), make(), make()]; // The lowest numbers that are free, as always.
        let limit = room.iter().map(|one| one.as_raw_fd() as u64 + 1).max().unwrap();
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
        drop(room);
        let address = SockaddrStorage::from(server.address);
        let connected = |socket: OwnedFd| {
            connect(socket.as_raw_fd(), &address).unwrap(); // The kernel does that; the server need not accept it.
            Client::over(TcpStream::from(socket))
        };
        let begin = Instant::now();
        let mut clients: Vec<Client> = sockets.into_iter().map(connected).collect();
        server.has_open(3);
        until("accepting had to rest", || server.counters.rested.load(Relaxed) > 0);
        for client in &mut clients[..3] {
            assert_eq!(client.get("/"), "GET / ");
        }
        // While one is served again and again, accepting is not tried again and again.
        for _ in 0..2000 {
            assert_eq!(clients[0].get("/"), "GET / ");
        }
        let rested = server.counters.rested.load(Relaxed);
        assert!(u128::from(rested) <= 1 + begin.elapsed().as_millis() / 100, "{rested} in {:?}", begin.elapsed());
        for client in &mut clients[3..] {
            client.send(get("/late"));
        }
        clients.drain(..3); // Each that leaves frees its own descriptor and the server's.
        for client in &mut clients {
            assert_eq!(client.body(), "GET /late ");
        }
    });
}

/// One connection in a thread of its own, and a client of it.
fn alone(bounds: Bounds, test: impl FnOnce(&mut Client)) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Client::over(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (stream, _) = listener.accept().unwrap();
    let seen = Seen::new();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let stream = stream; // It closes when it has been served.
            serve_one(&stream, &bounds, &mut Site::new(&seen))
        });
        test(&mut client);
        drop(client);
        server.join().unwrap()
    })
}

#[test]
fn a_thread_of_its_own_serves_a_connection_alike() {
    alone(patient(), |client| {
        client.send((0..100).map(|number| get(&format!("/{number}"))).collect::<String>());
        for number in 0..100 {
            assert_eq!(client.body(), format!("GET /{number} "));
        }
        for byte in get("/wait").bytes() {
            client.send([byte]);
        }
        assert_eq!(client.body(), "GET /wait ");
        client.send(get("/huge"));
        assert!(is_huge(&client.response().1));
        client.send("nonsense\r\n\r\n");
        assert_eq!(client.response().0, 400);
        assert!(client.is_closed());
    })
    .unwrap();
}

#[test]
fn a_thread_of_its_own_does_not_wait_for_ever() {
    let bounds = Bounds { request: Duration::from_millis(100), ..patient() };
    let error = alone(bounds, |client| {
        assert_eq!(client.get("/"), "GET / ");
        client.send("GET / HT");
        assert_eq!(client.response().0, 408);
    });
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::WouldBlock);
}
