//! Does the example `web_server` serve as it says, with each of its models?

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const MODELS: [&str; 3] = ["threads", "prefork", "reuseport"];
const OF_PROCESSES: [&str; 2] = ["prefork", "reuseport"];
const BIG_BYTES: usize = 12 << 20; // More than the buffers of both sockets hold, so it is under way until it is read.
const PART_BYTES: usize = 65_537; // A prime: no part that is sent twice or left out goes unnoticed.

#[test]
fn files_are_served_with_their_types_and_dates() {
    for model in MODELS {
        let server = Server::start(model);
        let mut client = server.client(); // One connection for all: each answer ends where it should.
        for (target, media_type, body) in [
            ("/", "text/html", "<h1>index</h1>"),
            ("/folder/", "text/html", "<h1>folder</h1>"),
            ("/hello.txt?query=1", "text/plain", "hello"),
            ("/a%20b.CSS", "text/css", "p {}"),
            ("/unknown", "application/octet-stream", "?"),
            ("/.well-known/hello", "text/plain; charset=utf-8", "hello world\n"),
        ] {
            let answer = client.get(target);
            assert_eq!((answer.status, answer.header("Content-Type")), (200, Some(media_type)), "{model} {target}");
            assert_eq!(answer.body, body.as_bytes(), "{model} {target}");
        }
        assert!(client.get("/big").body == server.site.big, "{model}");
        let answer = client.get("/folder?a=b");
        assert_eq!((answer.status, answer.header("Location")), (307, Some("/folder/?a=b")), "{model}");
    }
}

#[test]
fn what_the_client_has_already_is_not_sent_again_and_a_part_is_a_part() {
    for model in MODELS {
        let server = Server::start(model);
        let mut client = server.client();
        let answer = client.get("/hello.txt");
        let modified = answer.header("Last-Modified").unwrap();
        let tag = answer.header("ETag").unwrap();
        for (condition, status, body) in [
            (&*format!("If-Modified-Since: {modified}"), 304, ""),
            ("If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT", 304, ""),
            ("If-Modified-Since: Friday, 31-Dec-99 23:59:59 GMT", 200, "hello"), // An old form, and long ago.
            ("If-Modified-Since: yesterday", 200, "hello"),
            (&format!("If-None-Match: {tag}"), 304, ""),
            (&format!("If-Modified-Since: {modified}\r\nIf-None-Match: \"x\""), 200, "hello"), // A tag goes before a date.
            ("If-None-Match: *", 304, ""),
            ("Range: bytes=1-3", 206, "ell"),
            ("Range: bytes=5-", 416, ""),
        ] {
            let answer = client.ask(&format!("GET /hello.txt HTTP/1.1\r\nHost: x\r\n{condition}\r\n\r\n"));
            assert_eq!((answer.status, &*answer.body), (status, body.as_bytes()), "{model} {condition}");
        }
    }
}

#[test]
fn a_changed_file_is_served_at_once_and_one_behind_a_link_not_any_more() {
    for model in MODELS {
        let server = Server::start(model);
        let mut client = server.client();
        let file = server.site.root.join("folder/index.html");
        assert_eq!(client.get("/folder/").body, b"<h1>folder</h1>", "{model}");
        fs::write(&file, "<h1>FOLDER</h1>").unwrap(); // As long as before.
        assert_eq!(client.get("/folder/").body, b"<h1>FOLDER</h1>", "{model}");
        fs::rename(server.site.root.join("folder"), server.site.root.join("../outside")).unwrap();
        symlink("../outside", server.site.root.join("folder")).unwrap();
        for target in ["/folder", "/folder/", "/folder/index.html"] {
            assert_eq!(client.get(target).status, 404, "{model} {target}");
        }
    }
}

#[test]
fn a_head_is_as_long_as_it_says_and_methods_that_change_something_are_refused() {
    for model in MODELS {
        let server = Server::start(model);
        let mut client = server.client();
        for (target, length) in [("/hello.txt", 5), ("/big", BIG_BYTES)] {
            client.send(&format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            let head = client.head();
            assert_eq!((head.status, head.length()), (200, length), "{model} {target}");
        }
        let answer = client.ask("POST /hello.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na=b");
        assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")), "{model}");
        assert_eq!(client.get("/hello.txt").body, b"hello", "{model}");
    }
}

#[test]
fn many_requests_in_one_write_are_answered_in_their_order() {
    for model in MODELS {
        let server = Server::start(model);
        let mut client = server.client();
        let one = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.send(&(one("/hello.txt") + &one("/big") + &one("/nothing")).repeat(3));
        for _ in 0..3 {
            assert_eq!(client.answer().body, b"hello", "{model}");
            assert!(client.answer().body == server.site.big, "{model}");
            assert_eq!(client.answer().status, 404, "{model}");
        }
        for target in ["/hello.txt", "/big"] {
            let mut client = server.client();
            client.send(&(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") + &one("/")));
            assert_eq!(client.answer().status, 200, "{model} {target}");
            assert!(client.is_at_its_end(), "{model} {target}"); // What was asked after the last request is not answered.
        }
    }
}

#[test]
fn nothing_outside_the_root_is_served() {
    for model in MODELS {
        let server = Server::start(model);
        let mut client = server.client();
        for target in [
            "/../secret",
            "/folder/../../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/link",
            "/linked/secret",
            "/linked/",
            "/a%00b",
            "//etc/passwd",
            "//folder?a=b", // In a redirect to `//folder/` a browser takes that for a host.
        ] {
            let answer = client.get(target);
            assert_eq!(answer.status, 404, "{model} {target}");
            assert!(!answer.body.windows(6).any(|part| part == b"secret"), "{model} {target}");
        }
    }
}

#[test]
fn what_is_no_request_is_refused_and_the_connection_closed() {
    for model in MODELS {
        let server = Server::start(model);
        for (words, status) in [
            ("nonsense\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400), // Without a Host.
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: good:evil\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
            ("CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            ("GET / HTTP/3.0\r\nHost: x\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: a\r\n b\r\n\r\n", 400),
            // RFC 9112, 6.1: the chunks count, and nothing may follow them.
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 405),
        ] {
            let mut client = server.client();
            client.send(&format!("{words}GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(client.answer().status, status, "{model} {words}");
            assert!(client.is_at_its_end(), "{model} {words}");
        }
        let mut client = server.client();
        client.send(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(20_000)));
        assert!([414, 431].contains(&client.answer().status), "{model}"); // hyper gives one answer to all that is too large.
        for host in ["x:80", "[::1]:8080", "127.0.0.1", "x:", ""] {
            let answer = server.client().ask(&format!("GET /hello.txt HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(answer.status, 200, "{model} {host}");
        }
    }
}

#[test]
fn slow_clients_do_not_keep_others_waiting() {
    for model in MODELS {
        let server = Server::start(model);
        let mut half: Vec<Client> = (0..50).map(|_| server.client()).collect(); // Far more than workers.
        half.iter_mut().for_each(|client| client.send("GET /hello.txt HTTP/1.1\r\nHo"));
        let mut lazy: Vec<Client> = (0..4).map(|_| server.client()).collect();
        lazy.iter_mut().for_each(|client| client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")); // And reads nothing.
        for _ in 0..10 {
            assert_eq!(server.client().get("/hello.txt").body, b"hello", "{model}");
        }
        for mut client in half {
            assert_eq!(client.ask("st: x\r\n\r\n").body, b"hello", "{model}");
        }
        for mut client in lazy {
            assert!(client.answer().body == server.site.big, "{model}");
        }
    }
}

#[test]
fn the_status_tells_of_the_workers() {
    for model in MODELS {
        let server = Server::start(model);
        let mut client = server.client();
        for _ in 0..9 {
            assert_eq!(client.get("/hello.txt").status, 200);
        }
        let status = server.status();
        assert_eq!(status.text("model"), model);
        assert_eq!(status.number("requests"), 10, "{model}");
        assert_eq!(status.number("connections"), 2, "{model}");
        if OF_PROCESSES.contains(&model) {
            assert_eq!(status.pids().iter().filter(|pid| **pid != server.pid()).count(), 2, "{model}");
        } else {
            assert_eq!(status.pids(), [server.pid()], "{model}");
        }
    }
}

#[test]
fn a_killed_worker_is_replaced_and_nobody_is_refused() {
    for model in OF_PROCESSES {
        let server = Server::start(model);
        let ends = AtomicBool::new(false);
        thread::scope(|s| {
            let load = || {
                let mut answers = 0;
                while !ends.load(Relaxed) {
                    let Ok(stream) = TcpStream::connect(server.address) else { continue };
                    let mut client = Client { stream: BufReader::new(stream) };
                    while !ends.load(Relaxed) && client.is_served("/hello.txt") {
                        answers += 1;
                    }
                }
                answers
            };
            let clients: Vec<_> = (0..4).map(|_| s.spawn(load)).collect();
            (1..=5).for_each(|killed| kill_one(&server, model, killed));
            ends.store(true, Relaxed); // Publishes nothing: the clients only end.
            assert!(clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>() > 0, "{model}");
        });
        assert_eq!(server.client().get("/hello.txt").body, b"hello");
    }
}

fn kill_one(server: &Server, model: &str, killed: usize) {
    // The one before may not be replaced yet.
    let victim = loop {
        if let Some(&[one, other]) = server.try_status().as_ref().map(Status::pids).as_deref() {
            break [one, other][killed % 2];
        }
    };
    kill(victim, Signal::SIGKILL).unwrap();
    loop {
        // Its own queue is reset with it, if it had one, and so is who was on it; but whoever asks again is served.
        if model == "prefork" {
            TcpStream::connect(server.address).unwrap();
        }
        let status = server.try_status();
        if status.is_some_and(|status| status.number("restarts") == killed && !status.pids().contains(&victim)) {
            return;
        }
    }
}

#[test]
fn workers_do_not_outlive_a_server_that_is_killed() {
    for model in OF_PROCESSES {
        let mut server = Server::start(model);
        let workers = server.status().pids();
        server.process.kill().unwrap();
        server.process.wait().unwrap();
        workers.into_iter().for_each(wait_for_its_end);
    }
}

#[test]
fn a_stop_lets_what_is_in_flight_finish_and_leaves_nothing() {
    for (model, signal) in MODELS.into_iter().zip([Signal::SIGTERM, Signal::SIGINT].into_iter().cycle()) {
        let server = Server::start(model);
        let workers = server.status().pids();
        let mut idle = server.client();
        assert_eq!(idle.get("/hello.txt").status, 200);
        let mut slow = server.client();
        slow.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
        let head = slow.head();
        kill(server.pid(), signal).unwrap();
        assert!(idle.is_at_its_end(), "{model}"); // So it has begun to stop.
        assert!(slow.body(head.length()) == server.site.big, "{model}");
        assert!(slow.is_at_its_end(), "{model}");
        drop(slow);
        let (status, log) = server.end();
        assert_eq!(status.code(), Some(0), "{model}: {log}");
        assert!(log.contains(&format!("stopped by {signal}; 0 connections were cut off")), "{model}: {log}");
        workers.into_iter().for_each(wait_for_its_end);
    }
}

#[test]
fn a_stop_under_load_tears_no_answer() {
    for model in MODELS {
        let server = Server::start(model);
        let (begun, has_begun) = mpsc::channel();
        thread::scope(|s| {
            for _ in 0..8 {
                let (server, begun) = (&server, begun.clone());
                s.spawn(move || {
                    let mut client = server.client();
                    let mut answers = 0;
                    // A request that crosses the end is not answered at all; whatever begins is whole.
                    while let Some(answer) = client.try_get("/hello.txt") {
                        assert_eq!(answer.body, b"hello", "{model}");
                        answers += 1;
                        if answers == 5 {
                            begun.send(()).unwrap();
                        }
                        if answer.header("Connection") == Some("close") {
                            assert!(client.is_at_its_end(), "{model}");
                            return;
                        }
                    }
                });
            }
            has_begun.iter().take(8).for_each(drop);
            kill(server.pid(), Signal::SIGTERM).unwrap();
        });
        let (status, log) = server.end();
        assert_eq!(status.code(), Some(0), "{model}: {log}");
        assert!(log.contains("; 0 connections were cut off"), "{model}: {log}");
    }
}

#[test]
fn half_a_request_at_the_stop_is_answered_when_it_is_whole() {
    for model in MODELS {
        let server = Server::start(model);
        let mut idle = server.client();
        assert_eq!(idle.get("/hello.txt").status, 200);
        let mut silent = server.client();
        let mut first = server.client();
        first.send("GET /hello.txt HTTP/1.1\r\nHo");
        let mut later = server.client();
        assert_eq!(later.get("/hello.txt").status, 200);
        later.send("GET /hello.txt HTTP/1.1\r\nHo");
        let mut upload = server.client();
        upload.send("POST /hello.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345");
        kill(server.pid(), Signal::SIGTERM).unwrap();
        assert!(idle.is_at_its_end() && silent.is_at_its_end(), "{model}"); // So it has begun to stop.
        for client in [&mut first, &mut later] {
            let answer = client.ask("st: x\r\n\r\n");
            assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")), "{model}");
        }
        assert_eq!(upload.ask("67890").status, 405, "{model}");
        let (status, log) = server.end();
        assert_eq!(status.code(), Some(0), "{model}: {log}");
        assert!(log.contains("; 0 connections were cut off"), "{model}: {log}");
    }
}

#[test]
fn a_worker_that_stood_still_cuts_off_nobody_who_was_in_time() {
    let servers = MODELS.map(Server::start);
    let half = "POST /hello.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345";
    let mut clients: Vec<Client> = servers.iter().flat_map(|server| [server.client(), server.client()]).collect();
    clients.iter_mut().for_each(|client| client.send(half));
    let pids: Vec<Pid> = servers.iter().flat_map(|server| server.status().pids()).collect(); // So all have begun to read.
    pids.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
    clients.iter_mut().for_each(|client| client.send("67890"));
    thread::sleep(Duration::from_secs(11)); // Longer than a body may take: the time must pass, nothing else is waited for.
    pids.iter().for_each(|pid| kill(*pid, Signal::SIGCONT).unwrap());
    for client in &mut clients {
        assert_eq!(client.answer().status, 405); // Not 408.
    }
}

#[test]
fn each_request_is_logged_in_a_line_of_its_own() {
    for model in MODELS {
        let server = Server::start_by(Server::command(model).args(["--workers", "2"]));
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    let mut client = server.client();
                    (0..50).for_each(|_| assert_eq!(client.get("/hello.txt").status, 200));
                });
            }
        });
        server.client().ask("nonsense\r\n\r\n");
        kill(server.pid(), Signal::SIGTERM).unwrap();
        let (_, log) = server.end();
        let is_whole = |line: &&str| line.starts_with("127.0.0.1:") && line.contains("] \"GET /hello.txt\" 200 ");
        assert_eq!(log.lines().filter(is_whole).count(), 200, "{model}: {log}");
        assert_eq!(log.lines().filter(|line| line.contains("\" 400 ")).count(), 1, "{model}: {log}");
    }
}

#[test]
fn connections_beyond_the_limit_are_refused_with_its_number_and_the_others_served() {
    for model in MODELS {
        let server = Server::start_by(
            Command::new("sh")
                .args(["-c", "ulimit -n 100; exec \"$0\" \"$@\"", Server::program().to_str().unwrap()])
                .args(["--quiet", "--workers", "2", "--listen", "127.0.0.1:0", "--model", model]),
        );
        let mut clients: Vec<Client> = (0..120).map(|_| server.client()).collect();
        let answers: Vec<Answer> = clients.iter_mut().map(|client| client.answer_or_refusal("/hello.txt")).collect();
        let served = answers.iter().filter(|answer| answer.status == 200).count();
        let refused = answers.iter().filter(|answer| answer.status == 503).count();
        assert!(served > 0 && refused > 0 && served + refused == 120, "{model}: {served} served, {refused} refused");
        let words = answers.iter().find(|answer| answer.status == 503).map(|answer| answer.body.clone()).unwrap();
        assert!(String::from_utf8(words).unwrap().contains(" at most "), "{model}");
        let mut served: Vec<Client> = clients
            .into_iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.status == 200)
            .map(|(client, _)| client)
            .collect();
        served.iter_mut().for_each(|client| client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")); // Each holds a file.
        for client in &mut served {
            assert!(client.answer().body == server.site.big, "{model}"); // There was a descriptor for the last one too.
        }
        drop(served);
        while server.client().answer_or_refusal("/hello.txt").status != 200 {} // Once it has seen that they are gone.
    }
}

#[test]
fn a_server_whose_log_nobody_reads_any_more_serves_on() {
    for model in MODELS {
        let mut process =
            Server::command(model).args(["--workers", "2", "--root", "."]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        drop(lines);
        let address = first.split_whitespace().find_map(|word| word.trim_end_matches(',').parse().ok()).unwrap();
        let mut server = Server { process, address, log: None, site: Site::new() };
        assert_eq!(server.client().get("/nothing").status, 404, "{model}");
        if OF_PROCESSES.contains(&model) {
            let victim = server.status().pids()[0];
            kill(victim, Signal::SIGKILL).unwrap(); // The parent would tell of it.
            until_restarted(&server, 1);
        }
        assert_eq!(server.client().get("/nothing").status, 404, "{model}");
        kill(server.pid(), Signal::SIGTERM).unwrap();
        kill(server.pid(), Signal::SIGINT).unwrap(); // By somebody impatient.
        assert_eq!(server.process.wait().unwrap().code(), Some(0), "{model}");
    }
}

#[test]
fn a_log_whose_reader_stands_still_stops_nothing() {
    for model in MODELS {
        let mut command = Server::command(model);
        let mut process = command.args(["--workers", "2", "--root", "."]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()); // Open until the end, and never read again.
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let address = first.split_whitespace().find_map(|word| word.trim_end_matches(',').parse().ok()).unwrap();
        let mut server = Server { process, address, log: None, site: Site::new() };
        let mut client = server.client();
        let mut lost = 0;
        while lost < 100 {
            let status = client.get("/status");
            lost = Status(String::from_utf8(status.body).unwrap()).number("log_lines_lost");
        }
        if OF_PROCESSES.contains(&model) {
            kill(server.status().pids()[0], Signal::SIGKILL).unwrap(); // The parent would tell of it.
            until_restarted(&server, 1);
        }
        kill(server.pid(), Signal::SIGTERM).unwrap();
        assert_eq!(server.process.wait().unwrap().code(), Some(0), "{model}");
    }
}

fn until_restarted(server: &Server, times: usize) {
    while server.try_status().is_none_or(|status| status.number("restarts") < times) {
        thread::yield_now();
    }
}

#[test]
fn a_stranger_cannot_end_a_word_of_the_log() {
    let server = Server::start_by(Server::command("threads").args(["--workers", "1"]));
    assert_eq!(server.client().get("/x\"\\y").status, 404);
    kill(server.pid(), Signal::SIGTERM).unwrap();
    let (_, log) = server.end();
    assert!(log.contains(r#"] "GET /x\"\\y" 404 "#), "{log}");
}

#[test]
fn a_date_of_the_future_is_not_told() {
    let server = Server::start("threads");
    let file = fs::File::options().write(true).open(server.site.root.join("hello.txt")).unwrap();
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(1_000_000)).unwrap();
    let answer = server.client().get("/hello.txt");
    let date = |name: &str| httpdate::parse_http_date(answer.header(name).unwrap()).unwrap();
    assert!(date("Last-Modified") <= date("Date"), "{}", answer.head);
}

#[test]
fn what_cannot_start_says_why_in_one_sentence() {
    let site = Site::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for model in MODELS {
        for (option, value, says) in [
            ("--listen", &*taken, "Address already in use"),
            ("--root", "/nothing/of/this/name", "No such file or directory"),
            ("--workers", "0", "0 is not in 1..=1024"),
            ("--model", "donkeys", "donkeys"),
        ] {
            let mut command = Command::new(Server::program());
            let all = [("--listen", "127.0.0.1:0"), ("--root", site.root.to_str().unwrap()), ("--model", model)];
            for (name, usual) in all.into_iter().filter(|(name, _)| *name != option) {
                command.args([name, usual]);
            }
            let output = command.args([option, value]).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{model} {option} {value}: {said}");
            assert!(said.contains(says) && said.contains(option), "{model} {option} {value}: {said}");
        }
    }
}

/// A directory to serve, beside a secret.
struct Site {
    root: PathBuf,
    big: Vec<u8>,
    _place: TempDir,
}

impl Site {
    fn new() -> Site {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        fs::create_dir_all(root.join("folder")).unwrap();
        let part: Vec<u8> = (0..PART_BYTES).map(|at| (at / 3 % 251) as u8).collect();
        let big = part.repeat(BIG_BYTES.div_ceil(PART_BYTES))[..BIG_BYTES].to_vec();
        for (name, body) in [
            ("index.html", "<h1>index</h1>"),
            ("folder/index.html", "<h1>folder</h1>"),
            ("hello.txt", "hello"),
            ("a b.CSS", "p {}"),
            ("unknown", "?"),
            ("../secret", "secret"),
        ] {
            fs::write(root.join(name), body).unwrap();
        }
        fs::write(root.join("big"), &big).unwrap();
        symlink("../secret", root.join("link")).unwrap();
        symlink("..", root.join("linked")).unwrap();
        Site { root, big, _place: place }
    }
}

/// A running server, and what it writes to standard error; it is killed when this is dropped.
struct Server {
    process: Child,
    address: SocketAddr,
    log: Option<JoinHandle<String>>,
    site: Site,
}

impl Server {
    fn start(model: &str) -> Server {
        Server::start_by(Server::command(model).args(["--quiet", "--workers", "2"]))
    }

    fn command(model: &str) -> Command {
        let mut command = Command::new(Server::program());
        command.args(["--listen", "127.0.0.1:0", "--model", model]);
        command
    }

    fn start_by(command: &mut Command) -> Server {
        let site = Site::new();
        let mut process = command.arg("--root").arg(&site.root).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let address = first.split_whitespace().find_map(|word| word.trim_end_matches(',').parse().ok());
        let address = address.unwrap_or_else(|| panic!("it did not say where it listens: {first}"));
        // Read to the end, for a full pipe would stop it.
        let log = thread::spawn(move || rest_of(lines));
        Server { process, address, log: Some(log), site }
    }

    /// The example beside this test. Cargo builds it for a run of all tests only, so this asks for it once more.
    fn program() -> &'static Path {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        PROGRAM.get_or_init(|| {
            let own = env::current_exe().unwrap();
            let program = own.ancestors().nth(2).unwrap().join("examples/web_server");
            let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args([
                "build",
                "--quiet",
                "--package",
                "process-demo",
                "--example",
                "web_server",
                "--profile",
                profile,
            ]);
            // Where it may not build (a foreign user's directory, no cargo), what is there already must do.
            let _ = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output();
            assert!(program.is_file(), "{}: build it by `cargo build --example web_server`", program.display());
            program
        })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap(); // A server that hangs fails its test.
        Client { stream: BufReader::new(stream) }
    }

    fn status(&self) -> Status {
        Status(String::from_utf8(self.client().get("/status").body).unwrap())
    }

    fn try_status(&self) -> Option<Status> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(Status(text.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// Waits for its own end.
    fn end(mut self) -> (ExitStatus, String) {
        (self.process.wait().unwrap(), self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn rest_of(mut lines: BufReader<ChildStderr>) -> String {
    let mut text = String::new();
    let _ = lines.read_to_string(&mut text);
    text
}

/// What `/status` says: `key: value` lines.
struct Status(String);

impl Status {
    fn text(&self, key: &str) -> &str {
        let line = self.0.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {key} in {}", self.0))
    }

    fn number(&self, key: &str) -> usize {
        self.text(key).parse().unwrap()
    }

    fn pids(&self) -> Vec<Pid> {
        let workers = self.0.lines().filter(|line| line.starts_with("worker "));
        let pids = workers.map(|line| line.split(' ').nth(3).unwrap().parse().unwrap());
        pids.filter(|pid| *pid != 0).map(Pid::from_raw).collect() // 0 is nobody; and a signal to 0 would hit this test.
    }
}

/// One connection of a client that reads answers as RFC 9112 says.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn get(&mut self, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    fn ask(&mut self, words: &str) -> Answer {
        self.send(words);
        self.answer()
    }

    fn send(&mut self, words: &str) {
        self.stream.get_mut().write_all(words.as_bytes()).unwrap();
    }

    fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if answer.status != 304 {
            answer.body = self.body(answer.length());
        }
        answer
    }

    /// Whoever is refused may be so before it has asked; then its question can be lost.
    fn answer_or_refusal(&mut self, target: &str) -> Answer {
        let question = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let _ = self.stream.get_mut().write_all(question.as_bytes());
        self.answer()
    }

    /// Nothing if the connection ends before the first byte of the answer.
    fn try_get(&mut self, target: &str) -> Option<Answer> {
        let question = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.stream.get_mut().write_all(question.as_bytes()).ok()?;
        if self.stream.fill_buf().ok()?.is_empty() { None } else { Some(self.answer()) }
    }

    /// Whether the whole answer came: a worker may be killed at any moment.
    fn is_served(&mut self, target: &str) -> bool {
        let question = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut line = String::new();
        let (mut head, mut body) = (String::new(), [0; 5]);
        let whole = self.stream.get_mut().write_all(question.as_bytes()).and_then(|()| {
            while line != "\r\n" {
                line.clear();
                if self.stream.read_line(&mut line)? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                head.push_str(&line);
            }
            self.stream.read_exact(&mut body)
        });
        assert!(whole.is_err() || head.starts_with("HTTP/1.1 200 ") && &body == b"hello", "{head}");
        whole.is_ok()
    }

    fn head(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "the connection ended within a head: {head:?}");
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.unwrap_or_else(|| panic!("{head}")), head, body: Vec::new() }
    }

    fn body(&mut self, bytes: usize) -> Vec<u8> {
        let mut body = vec![0; bytes];
        self.stream.read_exact(&mut body).unwrap();
        body
    }

    fn is_at_its_end(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn length(&self) -> usize {
        self.header("Content-Length").unwrap_or_else(|| panic!("{}", self.head)).parse().unwrap()
    }
}

/// Of a process that is not ours to wait for: until nothing of its number is there but, perhaps, a zombie of init's.
fn wait_for_its_end(pid: Pid) {
    let is_alive = || {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        text.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    };
    while is_alive() {
        thread::yield_now();
    }
}
