//! Which response does a request get?

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use process_demo::beneath::{Refusal, Root, path_of};
use process_demo::http::{self, Date, Request, imf_fixdate};

use crate::shelf::Shelf;
use crate::status::{Slot, Status};

/// What is the same for all workers.
pub struct Site {
    pub root: Root,
    pub status: Status,
    pub log: Log,
    pub stops: AtomicBool,    // Told to those that no event loop tells.
    pub shelf: RwLock<Shelf>, // Of all threads of a process: one for each connection would be a memory without a bound.
}

/// Whether each response is told on standard error.
#[derive(Clone, Copy, PartialEq)]
pub enum Log {
    Requests,
    Nothing,
}

/// What one worker needs to answer: buffers that it uses again and again.
pub struct Clerk<'a> {
    site: &'a Site,
    slot: &'a Slot,
    date: Date,
    modified: Dated,
    text: Vec<u8>,
    line: Vec<u8>,
}

/// The part of a body that does not stand in the output yet.
pub struct Rest {
    pub file: File,
    pub bytes: u64,
}

/// Small files go out together with their head, by one system call; what is larger must not fill the memory.
const SMALL_BYTES: u64 = 64 << 10;

const METHODS: &str = "GET, HEAD";
const SERVER: (&str, &str) = ("Server", "web_server");
const PLAIN_TEXT: (&str, &str) = ("Content-Type", "text/plain; charset=utf-8");

impl<'a> Clerk<'a> {
    pub fn new(site: &'a Site, slot: &'a Slot) -> Clerk<'a> {
        Clerk { site, slot, date: Date::new(), modified: Dated::new(0), text: Vec::new(), line: Vec::new() }
    }

    /// Writes the response, but for the end of a large body, which it returns. `peer` is told in the log.
    pub fn answer(&mut self, request: &Request<'_>, peer: SocketAddr, output: &mut Vec<u8>) -> Option<Rest> {
        self.slot.requests.fetch_add(1, Relaxed);
        let before = output.len();
        let (status, rest) = match request.method {
            "GET" | "HEAD" if request.target == "/status" => (self.own_status(request, peer, output), None),
            "GET" | "HEAD" => match self.kept_or_found(request, output) {
                Ok(answered) => answered,
                Err(refusal) => (self.refusal(request, &refusal, output), None),
            },
            _ => (self.words(request, 405, &[("Allow", METHODS)], output), None),
        };
        if self.site.log == Log::Requests {
            let bytes = (output.len() - before) as u64 + rest.as_ref().map_or(0, |rest| rest.bytes);
            self.tell(peer, request.method, request.target, status, bytes);
        }
        rest
    }

    /// Whether the server stops, so that this response is the last of its connection.
    pub fn is_last(&self) -> bool {
        self.site.stops.load(Relaxed)
    }

    /// Writes the response to what is no request, after which the connection must close.
    pub fn refuse(&mut self, refusal: http::Refusal, peer: SocketAddr, output: &mut Vec<u8>) {
        let before = output.len();
        http::refuse(output, refusal, self.date.now());
        if self.site.log == Log::Requests {
            self.tell(peer, "-", refusal.why, refusal.status, (output.len() - before) as u64);
        }
    }

    /// For this machine only: whoever knows which worker is busy, or how often one died, attacks better.
    fn own_status(&mut self, request: &Request<'_>, peer: SocketAddr, output: &mut Vec<u8>) -> u16 {
        if !peer.ip().to_canonical().is_loopback() {
            return self.words(request, 403, &[], output);
        }
        let headers = [SERVER, PLAIN_TEXT, ("Cache-Control", "no-store")];
        http::respond(output, request, 200, self.date.now(), &headers, self.site.status.text().as_bytes());
        200
    }

    fn kept_or_found(&mut self, request: &Request<'_>, output: &mut Vec<u8>) -> Result<(u16, Option<Rest>), Refusal> {
        let path = path_of(request.target)?;
        if let Some(kept) = self.site.shelf.read().unwrap().find(&self.site.root, &path) {
            let head = Head { date: self.date.now(), modified: self.modified.text_of(kept.modified_s), path: &path };
            return Ok((respond(request, &head, kept.modified_s, &kept.text, output), None));
        }
        let found = self.site.root.open(&path)?;
        let (bytes, modified_s) = (found.metadata.len(), modified_s(&found.metadata));
        let head = Head { date: self.date.now(), modified: self.modified.text_of(modified_s), path: &path };
        if bytes > SMALL_BYTES && !has_not_changed(request, modified_s) {
            let body_follows = http::write_head(output, request, 200, head.date, &head.headers(), bytes);
            return Ok((200, body_follows.then_some(Rest { file: found.file, bytes })));
        }
        self.text.clear();
        if bytes <= SMALL_BYTES {
            // What was cut off since it was opened is not missed: the length is that of what was read.
            read_whole(&found.file, bytes, &mut self.text).map_err(Refusal::Failed)?;
            if let Some(stamp) = found.stamp().filter(|_| self.text.len() as u64 == bytes) {
                self.site.shelf.write().unwrap().keep(&path, stamp, &self.text, modified_s);
            }
        }
        Ok((respond(request, &head, modified_s, &self.text, output), None))
    }

    fn refusal(&mut self, request: &Request<'_>, refusal: &Refusal, output: &mut Vec<u8>) -> u16 {
        match refusal {
            Refusal::Malformed => self.words(request, 400, &[], output),
            Refusal::Missing => self.words(request, 404, &[], output),
            Refusal::Forbidden => self.words(request, 403, &[], output),
            Refusal::Failed(error) => {
                self.write_line(|line| writeln!(line, "{}: {error}", loggable(request.target)));
                self.words(request, 503, &[], output)
            }
            Refusal::Directory => {
                let (path, query) = request.target.split_at(request.target.find('?').unwrap_or(request.target.len()));
                // With two slashes in front it would lead to another host.
                let location = format!("/{}/{query}", path.trim_matches('/'));
                self.words(request, 301, &[("Location", &location)], output)
            }
        }
    }

    /// A response whose body is its status in words.
    fn words(&mut self, request: &Request<'_>, status: u16, headers: &[(&str, &str)], output: &mut Vec<u8>) -> u16 {
        let body = format!("{status} {}\n", http::reason_phrase(status));
        let mut all = vec![SERVER, PLAIN_TEXT];
        all.extend(headers);
        http::respond(output, request, status, self.date.now(), &all, body.as_bytes());
        status
    }

    fn tell(&mut self, peer: SocketAddr, method: &str, target: &str, status: u16, bytes: u64) {
        let date = self.date.now().to_owned();
        self.write_line(|line| {
            writeln!(line, "{peer} [{date}] \"{} {}\" {status} {bytes}", loggable(method), loggable(target))
        });
    }

    /// By one write: the lines of several workers never mix, also in a pipe, up to 4096 bytes.
    fn write_line(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        self.line.clear();
        let _ = write(&mut self.line).and_then(|()| io::stderr().write_all(&self.line)); // A lost log stops nothing.
    }
}

/// A word of a stranger's: cut off, so that a line keeps below PIPE_BUF, and without a quote that would seem to end it.
fn loggable(word: &str) -> String {
    const MOST_BYTES: usize = 1024; // A quote or a backslash becomes two; what is not printable, the parser refuses.
    word.get(..MOST_BYTES).unwrap_or(word).replace('\\', "\\\\").replace('"', "\\\"")
}

/// A time in words, kept for as long as it stays the same.
struct Dated {
    unix_s: u64,
    text: String,
}

impl Dated {
    fn new(unix_s: u64) -> Dated {
        Dated { unix_s, text: imf_fixdate(unix_s) }
    }

    fn text_of(&mut self, unix_s: u64) -> &str {
        if self.unix_s != unix_s {
            *self = Dated::new(unix_s);
        }
        &self.text
    }
}

/// What stands above the text of a file.
struct Head<'h> {
    date: &'h str,
    modified: &'h str,
    path: &'h Path,
}

impl Head<'_> {
    fn headers(&self) -> [(&str, &str); 3] {
        [SERVER, ("Content-Type", media_type(self.path)), ("Last-Modified", self.modified)]
    }
}

/// Writes the whole of a small file, or only that the client's copy is as new; returns the status.
fn respond(request: &Request<'_>, head: &Head<'_>, modified_s: u64, text: &[u8], output: &mut Vec<u8>) -> u16 {
    if has_not_changed(request, modified_s) {
        http::respond(output, request, 304, head.date, &[SERVER, ("Last-Modified", head.modified)], b"");
        return 304;
    }
    http::respond(output, request, 200, head.date, &head.headers(), text);
    200
}

fn modified_s(metadata: &Metadata) -> u64 {
    // No date of the future: for a client's copy of then, it would hide each change until then (RFC 9110, 8.8.2.1).
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH).min(SystemTime::now());
    modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether the client's copy, of the date that it names, is not older than the file; a tag that it names goes before,
/// and no file here has one (RFC 9110, 13.1.3).
fn has_not_changed(request: &Request<'_>, modified_s: u64) -> bool {
    if request.header("If-None-Match").is_some() {
        return false;
    }
    let since = request.header("If-Modified-Since").and_then(|since| std::str::from_utf8(since).ok());
    let date = since.and_then(|since| httpdate::parse_http_date(since).ok());
    date.is_some_and(|date| date >= UNIX_EPOCH + Duration::from_secs(modified_s))
}

/// Up to so many bytes, and no more than the file has.
fn read_whole(file: &File, bytes: u64, text: &mut Vec<u8>) -> io::Result<()> {
    text.resize(usize::try_from(bytes).unwrap_or(usize::MAX), 0);
    let mut filled = 0;
    while filled < text.len() {
        match (&*file).read(&mut text[filled..]) {
            Ok(0) => break, // It has become shorter.
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(filled);
    Ok(())
}

/// What a browser must know to show a file; of what is not listed here it only offers to save it.
fn media_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let known = MEDIA_TYPES.iter().find(|(one, _)| extension.eq_ignore_ascii_case(one));
    known.map_or("application/octet-stream", |(_, media_type)| media_type)
}

const MEDIA_TYPES: [(&str, &str); 27] = [
    ("txt", "text/plain; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("xml", "application/xml"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("ico", "image/vnd.microsoft.icon"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("pdf", "application/pdf"),
    ("wasm", "application/wasm"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
];
