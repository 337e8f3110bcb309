//! HTTP/1.1 as a server needs it: reads requests out of received bytes, and writes responses.
//!
//! Needs: httparse 1
//! Runs on: anything with threads
//!
//! It does no input or output of its own, so it serves a thread per connection as well as an event loop. What two
//! servers in a row could understand in two ways (and so smuggle one request inside another) is refused: a bare line
//! feed, a folded line, two lengths, a length beside a transfer coding, an unknown transfer coding.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! let mut reader = Reader::new(Limits::default());
//! let half = b"GET /hello HTTP/1.1\r\nHost: here";
//! assert!(matches!(reader.read(half), Ok(Reading::NotYet)));
//!
//! let whole = b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\nGET /next";
//! let Ok(Reading::Whole(request)) = reader.read(whole) else { panic!("it is whole") };
//! assert_eq!((request.method, request.target, request.host), ("GET", "/hello", "here"));
//! assert_eq!(&whole[request.consumed..], b"GET /next");
//!
//! let mut output = Vec::new();
//! respond(&mut output, &request, 200, &imf_fixdate(0), &[("Content-Type", "text/plain")], b"Hello!");
//! assert_eq!(
//!     output,
//!     b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 6\r\n\
//!       Content-Type: text/plain\r\n\r\nHello!"
//! );
//!
//! let evil = b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
//! let refusal = reader.read(evil).unwrap_err();
//! assert_eq!(refusal.status, 400);
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io::Write;
use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{error, fmt};

use httparse::{Header, Status};

/// How much a client may ask the server to hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Request line and headers together, with their line ends.
    pub head_bytes: usize,
    /// Headers of one request; at most 128.
    pub headers: usize,
    /// The body, decoded.
    pub body_bytes: usize,
}

impl Default for Limits {
    /// 8 KiB of head with 64 headers, as most servers allow, and a body of 1 MiB.
    fn default() -> Limits {
        Limits { head_bytes: 8 << 10, headers: 64, body_bytes: 1 << 20 }
    }
}

impl Limits {
    /// The most bytes of one request that a connection may have to keep until the request is whole.
    pub fn received_bytes(&self) -> usize {
        3 * self.head_bytes + (1 + FRAMING_PER_BYTE) * self.body_bytes
    }
}

/// Reads the requests of one connection, one after the other.
///
/// It keeps the memory of a body that came in chunks for the next one. Between two requests a new reader is as good, so
/// a server that holds many idle connections makes one.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    parsed_bytes: usize, // The lines of a head up to here have been looked at, and it was not whole.
    frame: Option<Frame>,
    decoded: Vec<u8>, // The chunks of a body, put together.
}

/// What has been received so far.
#[derive(Debug)]
pub enum Reading<'a> {
    /// The beginning of a request.
    NotYet,
    /// A head whose sender wants to hear [`CONTINUE`] before it sends the body; told once per request.
    AwaitsContinue,
    /// A request; the next one begins after [`Request::consumed`] bytes.
    Whole(Request<'a>),
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// As sent: methods are case-sensitive.
    pub method: &'a str,
    /// The path with the query, as sent, beginning with `/`; or `*` (OPTIONS), or an authority (CONNECT).
    pub target: &'a str,
    /// Whom it was sent to, from the target if that names it, else from Host; empty only in HTTP/1.0.
    pub host: &'a str,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Whether the client will use the connection again. A server that will not sets it to false before it responds.
    pub keep_alive: bool,
    /// Decoded; empty without one.
    pub body: &'a [u8],
    /// How many of the received bytes it took up.
    pub consumed: usize,
    fields: &'a [u8],
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Closes the connection unless told otherwise, and knows no chunks.
    Http10,
    /// Keeps the connection unless told otherwise.
    Http11,
}

impl<'a> Request<'a> {
    /// The value of the first header of that name, without the white space around it; case does not matter.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().find(|(one, _)| one.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// All headers in their order: name as sent, value without the white space around it.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        // The parser has seen to it that each line is a name, a colon and a value, and that CR stands only before LF.
        self.fields.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }
}

/// A request that is answered with an error, after which the connection must close: where the next one begins is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400, 413, 414, 417, 431, 501 or 505.
    pub status: u16,
    /// What is wrong with it, in a few words for its sender.
    pub why: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, reason_phrase(self.status), self.why)
    }
}

impl error::Error for Refusal {}

impl Reader {
    /// A reader for a new connection.
    pub fn new(limits: Limits) -> Reader {
        Reader { limits, parsed_bytes: 0, frame: None, decoded: Vec::new() }
    }

    /// Reads the next request out of what has been received and not consumed yet, from its beginning.
    ///
    /// Call it again with the same bytes and more after [`Reading::NotYet`], and without the consumed ones after
    /// [`Reading::Whole`]. What has been read is not read again, so a byte at a time costs no more than its lines do.
    ///
    /// # Errors
    /// The refusal that the client is due, after which there is no further request. See RFC 9110 and RFC 9112.
    pub fn read<'a>(&'a mut self, received: &'a [u8]) -> Result<Reading<'a>, Refusal> {
        let mut parsed = None;
        if self.frame.is_none() {
            let Some(head) = self.read_head(received)? else { return Ok(Reading::NotYet) };
            self.frame = Some(head.frame);
            self.decoded.clear();
            parsed = Some(head);
        }
        let Some(frame) = &mut self.frame else { return Ok(Reading::NotYet) };
        let Some(consumed) = frame.end(received, &self.limits, &mut self.decoded)? else {
            let awaits = frame.awaits_continue && received.len() == frame.head_bytes;
            frame.awaits_continue &= !awaits;
            return Ok(if awaits { Reading::AwaitsContinue } else { Reading::NotYet });
        };
        let frame = *frame;
        let head = match parsed {
            Some(head) => head,
            // Its lines had to wait for the body, so they are read a second time, and never a third.
            None => match self.read_head(received)? {
                Some(head) => head,
                None => return Ok(Reading::NotYet),
            },
        };
        (self.frame, self.parsed_bytes) = (None, 0);
        let body = match frame.body {
            Body::Bytes(_) => &received[frame.head_bytes..consumed],
            Body::Chunks { .. } => &self.decoded,
        };
        Ok(Reading::Whole(Request { body, consumed, ..head.request }))
    }

    fn read_head<'a>(&mut self, received: &'a [u8]) -> Result<Option<Head<'a>>, Refusal> {
        let empty_line_bytes = if received.starts_with(b"\r\n") { 2 } else { 0 }; // One is forgiven: RFC 9112, 2.2.
        let head = &received[empty_line_bytes..];
        match head.first() {
            None => return Ok(None),
            Some(first) if first.is_ascii_graphic() => {}
            Some(_) if head == b"\r" && empty_line_bytes == 0 => return Ok(None),
            Some(_) => return Err(bad("it does not begin with a method")), // A TLS client knocks like this.
        }
        // Whole lines only, and only if there is a new one: so the answer never depends on how the bytes came in pieces.
        let allowed = &head[..head.len().min(self.limits.head_bytes)];
        let lines = &allowed[..allowed.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)];
        if self.frame.is_some() || lines.len() > self.parsed_bytes {
            let most_headers = self.limits.headers.min(MOST_HEADERS);
            if let Some(mut head) = parse_head(lines, most_headers, self.limits.body_bytes)? {
                head.frame.starts_after(empty_line_bytes);
                return Ok(Some(head));
            }
            self.parsed_bytes = lines.len();
        }
        match (allowed.len() == self.limits.head_bytes, lines.len()) {
            (false, _) => Ok(None),
            (true, 0) => Err(Refusal { status: 414, why: "the request line is too long" }),
            (true, _) => Err(Refusal { status: 431, why: "the headers are too long" }),
        }
    }
}

/// What a client waits for that sent `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes a whole response: its head, and its body unless the request was HEAD or the status has none.
///
/// `date` is the time as [`imf_fixdate`] writes it. Content-Length and Connection are written as needed.
pub fn respond(
    output: &mut Vec<u8>,
    request: &Request<'_>,
    status: u16,
    date: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) {
    if write_head(output, request, status, date, headers, body.len() as u64) {
        output.extend_from_slice(body);
    }
}

/// Writes the head of a response, and returns whether a body of `body_bytes` must follow.
///
/// None does after HEAD, nor with 204 and 304, which have none. A line break in a header's value becomes a space: a
/// value that a client chose must not become a header of its own.
#[must_use]
pub fn write_head(
    output: &mut Vec<u8>,
    request: &Request<'_>,
    status: u16,
    date: &str,
    headers: &[(&str, &str)],
    body_bytes: u64,
) -> bool {
    let may_have_body = !matches!(status, 100..=199 | 204 | 304);
    start(output, status, date);
    if may_have_body {
        let _ = write!(output, "Content-Length: {body_bytes}\r\n"); // A write to a vector cannot fail.
    }
    match (request.keep_alive, request.version) {
        (true, Version::Http11) => {}
        (true, Version::Http10) => output.extend_from_slice(b"Connection: keep-alive\r\n"),
        (false, _) => output.extend_from_slice(b"Connection: close\r\n"),
    }
    for (name, value) in headers {
        output.extend_from_slice(name.as_bytes());
        output.extend_from_slice(b": ");
        output.extend(value.bytes().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }));
        output.extend_from_slice(b"\r\n");
    }
    output.extend_from_slice(b"\r\n");
    may_have_body && request.method != "HEAD"
}

/// Writes the response to what was no request; the connection must close after it.
pub fn refuse(output: &mut Vec<u8>, refusal: Refusal, date: &str) {
    let body = format!("{refusal}\n");
    start(output, refusal.status, date);
    let length = body.len();
    let _ = write!(output, "Content-Length: {length}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{body}");
}

/// The words that go with a status; of the class, if it is not one of the usual.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => match status / 100 {
            1 => "Informational",
            2 => "Success",
            3 => "Redirection",
            4 => "Client Error",
            _ => "Server Error",
        },
    }
}

/// The time of day as responses state it, put into words once a second.
#[derive(Debug)]
pub struct Date {
    unix_s: u64,
    text: String,
}

impl Date {
    /// The time now.
    pub fn new() -> Date {
        let unix_s = unix_time_s();
        Date { unix_s, text: imf_fixdate(unix_s) }
    }

    /// The time now, as [`imf_fixdate`] writes it.
    pub fn now(&mut self) -> &str {
        if self.unix_s != unix_time_s() {
            *self = Date::new();
        }
        &self.text
    }
}

impl Default for Date {
    fn default() -> Date {
        Date::new()
    }
}

/// A time, in seconds since the beginning of 1970, as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
pub fn imf_fixdate(unix_s: u64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]; // 1970 began on a Thursday.
    const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Counted from 1 March of the year 0, each leap day is the last day of its year, so the lengths of months are regular.
    let since_march = days + 719_468;
    let (era, day) = (since_march / 146_097, since_march % 146_097); // The calendar repeats after 400 years.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // From March on, five months have 153 days.
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month >= 10);
    let (weekday, month) = (WEEKDAYS[(days % 7) as usize], MONTHS[month as usize]);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

const MOST_HEADERS: usize = 128;
const FRAMING_PER_BYTE: usize = 6; // A chunk of one byte has five bytes around it; nobody needs more.
const CHUNK_LINE_BYTES: usize = 256; // Sixteen digits and an extension, which nobody uses.

fn unix_time_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn start(output: &mut Vec<u8>, status: u16, date: &str) {
    let _ = write!(output, "HTTP/1.1 {status} {}\r\nDate: {date}\r\n", reason_phrase(status));
}

struct Head<'a> {
    request: Request<'a>, // Without its body.
    frame: Frame,
}

/// Where a request's body is.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head_bytes: usize,
    awaits_continue: bool,
    body: Body,
}

#[derive(Clone, Copy, Debug)]
enum Body {
    Bytes(usize),
    Chunks { decoded_to: usize, part: Part },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Chunk,
    Trailer,
}

impl Frame {
    fn starts_after(&mut self, bytes: usize) {
        self.head_bytes += bytes;
        if let Body::Chunks { decoded_to, .. } = &mut self.body {
            *decoded_to += bytes;
        }
    }

    /// Where the request ends, once it has been received as a whole.
    fn end(&mut self, received: &[u8], limits: &Limits, decoded: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
        let (decoded_to, part) = match &mut self.body {
            Body::Bytes(bytes) => {
                let end = self.head_bytes + *bytes;
                return Ok(if received.len() >= end { Some(end) } else { None });
            }
            Body::Chunks { decoded_to, part } => (decoded_to, part),
        };
        while let Some(taken) = take_chunk(&received[*decoded_to..], part, limits, decoded)? {
            *decoded_to += taken.bytes;
            let framing_bytes = *decoded_to - self.head_bytes - decoded.len();
            if framing_bytes > limits.head_bytes + FRAMING_PER_BYTE * decoded.len() {
                return Err(Refusal { status: 413, why: "there is more around the chunks than in them" });
            }
            if taken.is_last {
                return Ok(Some(*decoded_to));
            }
        }
        Ok(None)
    }
}

struct Taken {
    bytes: usize,
    is_last: bool,
}

/// Takes one chunk, or one line of the trailer, which says nothing that a server must know.
fn take_chunk(rest: &[u8], part: &mut Part, limits: &Limits, decoded: &mut Vec<u8>) -> Result<Option<Taken>, Refusal> {
    let Some(line) = whole_line(rest, if *part == Part::Chunk { CHUNK_LINE_BYTES } else { limits.head_bytes })? else {
        return Ok(None);
    };
    if *part == Part::Trailer {
        return Ok(Some(Taken { bytes: line.len(), is_last: line == b"\r\n" }));
    }
    let size = match httparse::parse_chunk_size(line) {
        // Without a digit, the parser takes the line for a zero.
        Ok(Status::Complete((_, size))) if line[0].is_ascii_hexdigit() => size,
        _ => return Err(bad("a chunk's size is no number")),
    };
    if size == 0 {
        *part = Part::Trailer;
        return Ok(Some(Taken { bytes: line.len(), is_last: false }));
    }
    if size > (limits.body_bytes - decoded.len()) as u64 {
        return Err(TOO_LARGE);
    }
    let data_end = line.len() + size as usize;
    let Some(end) = rest.get(data_end..data_end + 2) else { return Ok(None) };
    if end != b"\r\n" {
        return Err(bad("a chunk does not end where it should"));
    }
    decoded.extend_from_slice(&rest[line.len()..data_end]);
    Ok(Some(Taken { bytes: data_end + 2, is_last: false }))
}

/// The first line with its end, once there is one.
fn whole_line(rest: &[u8], most_bytes: usize) -> Result<Option<&[u8]>, Refusal> {
    let allowed = &rest[..rest.len().min(most_bytes)];
    match allowed.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        Some(at) if allowed[at] == b'\r' && at + 1 == allowed.len() && allowed.len() < most_bytes => Ok(None),
        Some(at) if allowed[at..].starts_with(b"\r\n") => Ok(Some(&allowed[..at + 2])),
        Some(_) => Err(bad("a line among the chunks has no proper end")),
        None if allowed.len() == most_bytes => Err(bad("a line among the chunks is too long")),
        None => Ok(None),
    }
}

const TOO_LARGE: Refusal = Refusal { status: 413, why: "the body is too large" };

fn bad(why: &'static str) -> Refusal {
    Refusal { status: 400, why }
}

/// The head of a request, if `lines` hold it as a whole.
fn parse_head(lines: &[u8], most_headers: usize, most_body_bytes: usize) -> Result<Option<Head<'_>>, Refusal> {
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(lines, &mut headers[..most_headers]);
    match parsed {
        Ok(Status::Complete(bytes)) if bare_line_feed(&lines[..bytes]).is_none() => {
            return understand(&request, &lines[..bytes], most_body_bytes).map(Some);
        }
        _ => {}
    }
    // What is wrong first counts, as if the lines had come one by one.
    let (lines, is_bare) = match bare_line_feed(lines) {
        Some(at) => (&lines[..=at], true),
        None => (lines, false),
    };
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let parsed = httparse::Request::new(&mut []).parse_with_uninit_headers(lines, &mut headers[..most_headers]);
    match parsed {
        Err(httparse::Error::TooManyHeaders) => Err(Refusal { status: 431, why: "there are too many headers" }),
        Err(httparse::Error::Version) if names_other_version(lines) => {
            Err(Refusal { status: 505, why: "this server speaks HTTP/1.0 and HTTP/1.1" })
        }
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => Err(bad("a header is malformed")),
        Err(_) => Err(bad("the request line is malformed")),
        Ok(_) if is_bare => Err(bad("a line ends without a carriage return")),
        Ok(_) => Ok(None),
    }
}

fn bare_line_feed(bytes: &[u8]) -> Option<usize> {
    let mut before = 0;
    bytes.iter().position(|byte| {
        *byte == b'\n' && before != b'\r' || {
            before = *byte;
            false
        }
    })
}

fn names_other_version(lines: &[u8]) -> bool {
    let line = lines.split(|byte| *byte == b'\r').next().unwrap_or(lines);
    let mut words = line.splitn(3, |byte| *byte == b' ');
    matches!(words.nth(2), Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']))
}

/// What the headers say of the request's end, its connection and whom it is for.
fn understand<'a>(
    parsed: &httparse::Request<'_, 'a>,
    head: &'a [u8],
    most_body_bytes: usize,
) -> Result<Head<'a>, Refusal> {
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(bad("the request line is malformed"));
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let said = Said::by(parsed.headers)?;
    let (target, authority) = split_target(method, target)?;
    let host = match (said.host, version) {
        (Some(host), _) => authority.unwrap_or(host),
        (None, Version::Http11) => return Err(bad("HTTP/1.1 needs a Host")),
        (None, Version::Http10) => authority.unwrap_or(""),
    };
    let keep_alive = !said.close && (version == Version::Http11 || said.keep_alive);
    let body = match (said.chunked, said.length, version) {
        (true, Some(_), _) => return Err(bad("it has a length and a transfer coding")),
        (true, None, Version::Http10) => return Err(bad("HTTP/1.0 has no transfer codings")),
        (true, None, Version::Http11) => Body::Chunks { decoded_to: head.len(), part: Part::Chunk },
        (false, Some(length), _) if length > most_body_bytes as u64 => return Err(TOO_LARGE),
        (false, length, _) => Body::Bytes(length.unwrap_or(0) as usize),
    };
    let awaits_continue = said.expects_continue && version == Version::Http11;
    let request_line = head.iter().position(|byte| *byte == b'\n').map_or(head.len(), |at| at + 1);
    let fields = &head[request_line..];
    let request = Request { method, target, host, version, keep_alive, body: &[], consumed: 0, fields };
    Ok(Head { request, frame: Frame { head_bytes: head.len(), awaits_continue, body } })
}

#[derive(Default)]
struct Said<'a> {
    host: Option<&'a str>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl<'a> Said<'a> {
    fn by(headers: &[Header<'a>]) -> Result<Said<'a>, Refusal> {
        let mut said = Said::default();
        for Header { name, value } in headers {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("Host") {
                if said.host.replace(valid_host(value)?).is_some() {
                    return Err(bad("it has two Hosts"));
                }
            } else if is("Content-Length") {
                if said.length.replace(valid_length(value)?).is_some() {
                    return Err(bad("it has two lengths"));
                }
            } else if is("Transfer-Encoding") {
                said.transfer_encoding(value)?;
            } else if is("Connection") {
                said.close |= lists(value, "close");
                said.keep_alive |= lists(value, "keep-alive");
            } else if is("Expect") {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal { status: 417, why: "it expects what this server does not know" });
                }
                said.expects_continue = true;
            }
        }
        Ok(said)
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for coding in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            match coding {
                [] => return Err(bad("a transfer coding has no name")),
                _ if !coding.eq_ignore_ascii_case(b"chunked") => {
                    return Err(Refusal { status: 501, why: "the transfer coding is unknown" });
                }
                _ if self.chunked => return Err(bad("it is chunked twice")),
                _ => self.chunked = true,
            }
        }
        Ok(())
    }
}

fn lists(value: &[u8], word: &str) -> bool {
    value.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

fn valid_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad("the length is no number"));
    }
    let digits = std::str::from_utf8(value).unwrap_or_default();
    digits.parse().map_err(|_| TOO_LARGE) // Digits only, so it can only be too many.
}

fn valid_host(value: &[u8]) -> Result<&str, Refusal> {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%[]".contains(byte);
    match std::str::from_utf8(value) {
        Ok(host) if value.iter().all(is_allowed) => Ok(host),
        _ => Err(bad("the Host is malformed")),
    }
}

/// The path, and the authority if the target names one (RFC 9112, 3.2).
fn split_target<'a>(method: &str, target: &'a str) -> Result<(&'a str, Option<&'a str>), Refusal> {
    let malformed = bad("the target is malformed");
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) || target.contains('#') {
        return Err(malformed);
    }
    if method == "CONNECT" {
        return Ok((target, Some(valid_host(target.as_bytes())?)));
    }
    if target.starts_with('/') || target == "*" && method == "OPTIONS" {
        return Ok((target, None));
    }
    let Some((scheme, rest)) = target.split_once("://") else { return Err(malformed) };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(malformed);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() {
        return Err(malformed);
    }
    let host = valid_host(authority.as_bytes())?;
    match path {
        "" if method == "OPTIONS" => Ok(("*", Some(host))),
        "" => Ok(("/", Some(host))),
        _ if path.starts_with('/') => Ok((path, Some(host))),
        _ => Err(malformed), // A query without a path: whoever joins them with a slash changes the request.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "Host: h\r\n";

    /// Method, target, host, body, keep-alive, consumed bytes; or the status of the refusal; or nothing yet.
    type Outcome = Result<Option<(String, String, String, Vec<u8>, bool, usize)>, u16>;

    fn outcome(reading: Result<Reading<'_>, Refusal>) -> Outcome {
        match reading {
            Ok(Reading::Whole(request)) => Ok(Some((
                request.method.to_owned(),
                request.target.to_owned(),
                request.host.to_owned(),
                request.body.to_vec(),
                request.keep_alive,
                request.consumed,
            ))),
            Ok(_) => Ok(None),
            Err(refusal) => Err(refusal.status),
        }
    }

    /// What a new reader says to all of it, after it was shown the first `split` bytes; if these were enough, to them.
    fn read_in_two(limits: Limits, received: &[u8], split: usize) -> Outcome {
        let mut reader = Reader::new(limits);
        match outcome(reader.read(&received[..split])) {
            Ok(None) => outcome(reader.read(received)),
            enough => enough,
        }
    }

    fn read_by_bytes(limits: Limits, received: &[u8]) -> Outcome {
        let mut reader = Reader::new(limits);
        (0..=received.len())
            .map(|end| outcome(reader.read(&received[..end])))
            .find(|one| *one != Ok(None))
            .unwrap_or(Ok(None))
    }

    /// The same outcome however the bytes come in pieces.
    fn read(received: &str) -> Outcome {
        let limits = Limits { head_bytes: 400, headers: 8, body_bytes: 64 };
        let whole = outcome(Reader::new(limits).read(received.as_bytes()));
        for split in 0..received.len() {
            assert_eq!(read_in_two(limits, received.as_bytes(), split), whole, "split at {split}: {received:?}");
        }
        assert_eq!(read_by_bytes(limits, received.as_bytes()), whole, "{received:?}");
        whole
    }

    #[test]
    fn good_requests_are_understood() {
        let table: &[(&str, &str, &str, &str, &str, bool)] = &[
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/", "h", "", true),
            ("\r\nGET /a?b=c%20d HTTP/1.1\r\nhost:h:80 \r\n\r\n", "GET", "/a?b=c%20d", "h:80", "", true),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET", "/", "", "", true),
            ("GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n", "GET", "/", "h", "", false),
            ("GET / HTTP/1.1\r\nHost: h\r\nConnection: te ,\tclose\r\n\r\n", "GET", "/", "h", "", false),
            ("GET / HTTP/1.0\r\n\r\n", "GET", "/", "", "", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET", "/", "", "", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET", "/", "", "", false),
            ("GET http://other/x HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/x", "other", "", true),
            ("GET HTTPS://[::1]:8 HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/", "[::1]:8", "", true),
            ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS", "*", "h", "", true),
            ("OPTIONS http://o HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS", "*", "o", "", true),
            ("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT", "h:443", "h:443", "", true),
            ("BREW /pot HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "BREW", "/pot", "h", "", true),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "POST", "/", "h", "hello", true),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST", "/", "h", "", true),
            (
                "\r\nPOST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                "POST",
                "/",
                "h",
                "x",
                true,
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-encoding: Chunked\r\nHost: h\r\n\r\n5\r\nhello\r\n0A;x=\"y\"\r\n, my world\r\n0\r\nT: 1\r\n\r\n",
                "POST",
                "/",
                "h",
                "hello, my world",
                true,
            ),
        ];
        for &(text, method, target, host, body, keep_alive) in table {
            let expected = (method.to_owned(), target.to_owned(), host.to_owned(), body.into(), keep_alive, text.len());
            assert_eq!(read(text), Ok(Some(expected)), "{text:?}");
        }
    }

    #[test]
    fn evil_requests_are_refused_with_the_right_status() {
        let line = |line: &str| format!("{line}\r\n{HOST}\r\n");
        let with = |headers: &str| format!("POST / HTTP/1.1\r\n{HOST}{headers}\r\n\r\n");
        let chunks = |chunks: &str| format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{chunks}");
        let table = [
            (
                400,
                vec![
                    "\x16\x03\x01\x02".to_owned(),
                    "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
                    "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
                    "GET / HTTP/1.1\nHost: h\n\n".to_owned(),
                    "GET / HTTP/1.1\r\nHost: h\n\r\n".to_owned(),
                    "GET / HTTP/1.1\r\nHost: h\r\n\n".to_owned(),
                    "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n".to_owned(),
                    "GET / HTTP/1.1\r\n Host: h\r\n\r\n".to_owned(),
                    "GET / HTTP/1.1\r\n\r\n".to_owned(),
                    line("GET /"),
                    line("GET  / HTTP/1.1"),
                    line("GET /a b HTTP/1.1"),
                    line("GET / HTTP/1.1 "),
                    line("GET / HTTP/1"),
                    line("GET / HTTP/11"),
                    line("GET / http/1.1"),
                    line("GET /\x7f HTTP/1.1"),
                    line("GET /\u{e9} HTTP/1.1"),
                    line("GET /#x HTTP/1.1"),
                    line("GET x HTTP/1.1"),
                    line("GET * HTTP/1.1"),
                    line("GET ftp://h/ HTTP/1.1"),
                    line("GET http:///x HTTP/1.1"),
                    line("GET http://h?x HTTP/1.1"),
                    line("GET http://a@b/ HTTP/1.1"),
                    line("CONNECT /x HTTP/1.1"),
                    line("G(T / HTTP/1.1"),
                    with("Host: h"),
                    with("Host: other"),
                    with("X : y"),
                    with("X: a\r\n b"),
                    with("X: a\0b"),
                    with(": x"),
                    with("no colon"),
                    with("Content-Length: 1\r\nContent-Length: 2"),
                    with("Content-Length: 1\r\nContent-Length: 1"),
                    with("Content-Length: 1, 1"),
                    with("Content-Length: +1"),
                    with("Content-Length: -1"),
                    with("Content-Length: 0x1"),
                    with("Content-Length: 1 2"),
                    with("Content-Length:"),
                    with("Content-Length: 0\r\nTransfer-Encoding: chunked"),
                    with("Transfer-Encoding: chunked, chunked"),
                    with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
                    with("Transfer-Encoding:"),
                    with("Transfer-Encoding: chunked,"),
                    "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
                    "GET / HTTP/1.1\r\nHost: h/x\r\n\r\n".to_owned(),
                    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
                    "GET / HTTP/1.0\r\nHost: a@b\r\n\r\n".to_owned(),
                    chunks("\r\n"),
                    chunks("x\r\n"),
                    chunks("-1\r\n"),
                    chunks("0x5\r\n"),
                    chunks(" 5\r\nhello\r\n"),
                    chunks("5\nhello\r\n"),
                    chunks("5;a\nb\r\nhello\r\n"),
                    chunks("5\r\nhelloXX"),
                    chunks("5\r\nhello\n0\r\n\r\n"),
                    chunks("10000000000000000\r\n"),
                    chunks(&format!("5;{}\r\n", "x".repeat(300))),
                    chunks("0\r\nT: 1\n\r\n"),
                ],
            ),
            (
                413,
                vec![
                    with("Content-Length: 65"),
                    with("Content-Length: 99999999999999999999999"),
                    chunks("41\r\n"),
                    chunks("ffffffffffffffff\r\n"),
                    chunks("30\r\n012345678901234567890123456789012345678901234567\r\n11\r\n"),
                    chunks(&"1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nx\r\n".repeat(9)),
                    chunks(&format!("0\r\n{}", "T: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(9))),
                ],
            ),
            (414, vec![format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "x".repeat(400))]),
            (417, vec![with("Expect: a miracle")]),
            (
                431,
                vec![
                    with(&"X: y\r\n".repeat(8)),
                    with(&format!("X: {}", "y".repeat(400))),
                    format!("GET / HTTP/1.1\r\n{HOST}X: {}", "y".repeat(400)),
                ],
            ),
            (
                501,
                vec![
                    with("Transfer-Encoding: gzip, chunked"),
                    with("Transfer-Encoding: xchunked"),
                    with("Transfer-Encoding: identity"),
                ],
            ),
            (505, vec![line("GET / HTTP/2.0"), line("GET / HTTP/0.9"), line("GET / HTTP/1.2")]),
        ];
        for (status, requests) in table {
            for request in requests {
                assert_eq!(read(&request), Err(status), "{request:?}");
            }
        }
    }

    #[test]
    fn a_hundred_requests_in_one_piece_are_read_one_after_the_other() {
        let one = |number| {
            if number % 3 == 0 {
                format!("POST /{number} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            } else {
                format!("POST /{number} HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc")
            }
        };
        let received: String = (0..100).map(one).collect();
        let (mut reader, mut rest) = (Reader::new(Limits::default()), received.as_bytes());
        for number in 0..100 {
            let Ok(Reading::Whole(request)) = reader.read(rest) else { panic!("request {number}") };
            assert_eq!((request.target, request.body), (format!("/{number}").as_str(), &b"abc"[..]));
            rest = &rest[request.consumed..];
        }
        assert_eq!(rest, b"");
        assert!(matches!(reader.read(rest), Ok(Reading::NotYet)));
    }

    #[test]
    fn a_megabyte_that_comes_by_single_bytes_is_not_read_again_and_again() {
        let limits = Limits { body_bytes: 1 << 20, ..Limits::default() };
        let body = "x".repeat(1 << 20);
        for received in [
            format!("POST / HTTP/1.1\r\n{HOST}Content-Length: {}\r\n\r\n{body}", body.len()),
            format!(
                "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                format!("80\r\n{}\r\n", &body[..128]).repeat(8192)
            ),
        ] {
            // With all of it read for each byte, these would be a million million steps.
            let Ok(Some((.., found, _, consumed))) = read_by_bytes(limits, received.as_bytes()) else {
                panic!("it is whole")
            };
            assert_eq!((found == body.as_bytes(), consumed), (true, received.len()));
        }
    }

    #[test]
    fn a_client_that_waits_for_it_is_told_once_to_continue() {
        let head = format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 2\r\nExpect: 100-Continue\r\n\r\n");
        let mut reader = Reader::new(Limits::default());
        assert!(matches!(reader.read(head.as_bytes()), Ok(Reading::AwaitsContinue)));
        assert!(matches!(reader.read(head.as_bytes()), Ok(Reading::NotYet)));
        let whole = format!("{head}ab");
        assert!(matches!(reader.read(whole.as_bytes()), Ok(Reading::Whole(Request { body: b"ab", .. }))));
        let too_long = head.replace("Length: 2", "Length: 9999999");
        assert_eq!(outcome(reader.read(too_long.as_bytes())), Err(413)); // Before a byte of it is sent.
    }

    fn whole<'a>(reader: &'a mut Reader, received: &'a str) -> Request<'a> {
        let Ok(Reading::Whole(request)) = reader.read(received.as_bytes()) else { panic!("it is whole") };
        request
    }

    #[test]
    fn headers_are_found_whatever_their_case_and_in_their_order() {
        let received = format!("GET / HTTP/1.1\r\n{HOST}X-One: \t a b\t\r\nEmpty:\r\nx-one: c:d\r\n\r\n");
        let mut reader = Reader::new(Limits::default());
        let request = whole(&mut reader, &received);
        assert_eq!(request.header("x-ONE"), Some(&b"a b"[..]));
        assert_eq!((request.header("empty"), request.header("none")), (Some(&b""[..]), None));
        let names: Vec<&[u8]> = request.headers().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"Host"[..], b"X-One", b"Empty", b"x-one"]);
        assert_eq!(request.headers().last(), Some((&b"x-one"[..], &b"c:d"[..])));
    }

    fn response(request: &str, status: u16, headers: &[(&str, &str)]) -> String {
        let (mut reader, mut output) = (Reader::new(Limits::default()), Vec::new());
        respond(&mut output, &whole(&mut reader, request), status, "D", headers, b"body");
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_response_has_a_body_only_where_one_belongs() {
        let get = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
        let head = format!("HEAD / HTTP/1.1\r\n{HOST}\r\n");
        assert_eq!(response(&get, 200, &[]), "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(response(&head, 200, &[]), "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 4\r\n\r\n");
        assert_eq!(response(&get, 304, &[]), "HTTP/1.1 304 Not Modified\r\nDate: D\r\n\r\n");
        assert_eq!(response(&get, 204, &[]), "HTTP/1.1 204 No Content\r\nDate: D\r\n\r\n");
    }

    #[test]
    fn a_response_says_what_becomes_of_the_connection() {
        let old = "GET / HTTP/1.0\r\n\r\n";
        let old_kept = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        let closed = format!("GET / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n");
        let kept = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
        assert!(response(old, 200, &[]).contains("\r\nConnection: close\r\n"));
        assert!(response(old_kept, 200, &[]).contains("\r\nConnection: keep-alive\r\n"));
        assert!(response(&closed, 200, &[]).contains("\r\nConnection: close\r\n"));
        assert!(!response(&kept, 200, &[]).contains("Connection"));
    }

    #[test]
    fn a_value_cannot_become_a_header_of_its_own() {
        let get = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
        let answer = response(&get, 301, &[("Location", "/x\r\nSet-Cookie: evil")]);
        assert!(answer.contains("\r\nLocation: /x  Set-Cookie: evil\r\n"), "{answer}");
    }

    #[test]
    fn a_refusal_is_a_whole_response() {
        let mut output = Vec::new();
        refuse(&mut output, bad("why"), "D");
        let text = String::from_utf8(output).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "400 Bad Request: why\n");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n") && head.ends_with("Connection: close"));
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        // By `date --utc --date=@... "+%a, %d %b %Y %H:%M:%S GMT"`.
        for (unix_s, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (1_735_689_600, "Wed, 01 Jan 2025 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (13_574_563_200, "Tue, 29 Feb 2400 00:00:00 GMT"),
        ] {
            assert_eq!(imf_fixdate(unix_s), text);
        }
        assert_eq!(Date::new().now().len(), 29);
    }
}
