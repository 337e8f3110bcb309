//! Which response does a request get?

use std::future::{Ready, ready};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, str};

use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Version};
use process_demo::beneath::{Refusal, Root};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::ServeDir;
use tower_http::services::fs::{self as served, Backend, DefaultServeDirFallback, ServeFileSystemResponseBody};

use crate::status::{Slot, Status};
use crate::worker::patient;

/// What is the same for all connections.
pub struct Site {
    pub status: Status,
    pub log: Log,
    pub stopping: AtomicBool,
    files: ServeDir<DefaultServeDirFallback, Files>,
}

/// Whether each response is told on standard error.
#[derive(Clone, Copy, PartialEq)]
pub enum Log {
    Requests,
    Nothing,
}

/// Whether the body of a request has been taken in; if not, there may be more to come of it.
#[derive(Clone, Copy, PartialEq)]
pub enum Rest {
    Read,
    Unread,
}

pub type Body = Either<Full<Bytes>, ServeFileSystemResponseBody>;

const HELLO_PATH: &str = "/.well-known/hello"; // Shows the engine alone, without a file: to be compared with others.
const HELLO: &str = "hello world\n";
const MOST_BODY_BYTES: usize = 64 << 10; // Nobody has to send a body here.
const BODY: Duration = Duration::from_secs(10); // Until it is whole.
const MOST_TARGET_BYTES: usize = 8 << 10;

impl Site {
    pub fn new(status: Status, log: Log, root: Root) -> Site {
        let files = ServeDir::with_backend("", Files(Box::leak(Box::new(root))));
        Site { status, log, stopping: AtomicBool::new(false), files }
    }

    /// The response to one request, which is logged.
    pub async fn answer(&self, slot: &Slot, peer: SocketAddr, request: Request<Incoming>) -> (Response<Body>, Rest) {
        slot.requests.fetch_add(1, Relaxed);
        let asked = (self.log == Log::Requests).then(|| format!("{} {}", request.method(), request.uri()));
        // The length may have been told in a second way, which somebody before us believed: nothing follows on it.
        let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let (head, body) = request.into_parts();
        let (mut response, rest) = match received(body).await {
            Ok(()) => (self.respond(head, peer).await, Rest::Read),
            Err(status) => {
                slot.timed_out.fetch_add(u64::from(status == StatusCode::REQUEST_TIMEOUT), Relaxed);
                (words(status), Rest::Unread)
            }
        };
        let is_wrong = rest == Rest::Unread || response.status() == StatusCode::BAD_REQUEST;
        if is_chunked || is_wrong || self.stopping.load(Relaxed) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(asked) = asked {
            let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
            self.tell(peer, &asked, response.status(), length.or(response.size_hint().exact()).unwrap_or_default());
        }
        (response, rest)
    }

    /// A line of the log, in which a stranger's words cannot end their quotes; cut off, so that it keeps below PIPE_BUF.
    pub fn tell(&self, peer: SocketAddr, asked: &str, status: StatusCode, bytes: u64) {
        const MOST_BYTES: usize = 1024;
        let asked = asked.get(..MOST_BYTES).unwrap_or(asked);
        let date = httpdate::HttpDate::from(SystemTime::now());
        self.status.tell(&format!("{peer} [{date}] {asked:?} {} {bytes}", status.as_u16()));
    }

    async fn respond(&self, head: Parts, peer: SocketAddr) -> Response<Body> {
        let path = head.uri.path();
        match head.method {
            _ if !has_right_host(&head) => words(StatusCode::BAD_REQUEST),
            Method::CONNECT if head.uri.port_u16().is_none() => words(StatusCode::BAD_REQUEST),
            Method::GET | Method::HEAD if path == HELLO_PATH => text(StatusCode::OK, HELLO),
            // For this machine only: whoever knows which worker is busy, or how often one died, attacks better.
            Method::GET | Method::HEAD if path == "/status" && !peer.ip().to_canonical().is_loopback() => {
                words(StatusCode::FORBIDDEN)
            }
            Method::GET | Method::HEAD if path == "/status" => {
                with(text(StatusCode::OK, self.status.text()), CACHE_CONTROL, "no-store")
            }
            Method::GET | Method::HEAD => self.file(head).await,
            _ => with(words(StatusCode::METHOD_NOT_ALLOWED), ALLOW, "GET, HEAD"),
        }
    }

    async fn file(&self, head: Parts) -> Response<Body> {
        let path = head.uri.path().to_owned();
        if path.len() > MOST_TARGET_BYTES {
            return words(StatusCode::URI_TOO_LONG);
        }
        if path.starts_with("//") {
            return words(StatusCode::NOT_FOUND); // In a redirect to `//folder/`, a browser takes `folder` for a host.
        }
        match self.files.clone().try_call(Request::from_parts(head, ())).await {
            Ok(response) => response.map(Either::Right),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => words(StatusCode::FORBIDDEN),
            Err(error) if error.kind() == ErrorKind::NotFound => words(StatusCode::NOT_FOUND),
            Err(error) => {
                self.status.tell(&format!("{path:?}: {error}"));
                words(StatusCode::SERVICE_UNAVAILABLE) // No descriptor free, a broken disk.
            }
        }
    }
}

/// Takes in the body, which is of no use here: only then the next request on the connection can be found.
async fn received(body: Incoming) -> Result<(), StatusCode> {
    if body.is_end_stream() {
        return Ok(());
    }
    tokio::select! {
        biased;
        whole = Limited::new(body, MOST_BODY_BYTES).collect() => match whole {
            Ok(_) => Ok(()),
            Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
            Err(_) => Err(StatusCode::BAD_REQUEST), // A chunk or a trailer that is none.
        },
        () = patient(Instant::now() + BODY) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Whether there is one `Host` as RFC 9112, 3.2 asks for; hyper leaves that to its user.
fn has_right_host(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    let is_right = |host: &str| {
        let Ok(authority) = host.parse::<Authority>() else { return host.is_empty() };
        let port = host.strip_prefix(authority.host()).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
        port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) // With a user in front there is none.
    };
    match (hosts.next(), hosts.next()) {
        (None, _) => head.version < Version::HTTP_11,
        (Some(host), None) => str::from_utf8(host.as_bytes()).is_ok_and(is_right),
        _ => false,
    }
}

/// A response whose body is its status in words.
fn words(status: StatusCode) -> Response<Body> {
    text(status, format!("{status}\n"))
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(text.into())));
    *response.status_mut() = status;
    with(response, CONTENT_TYPE, "text/plain; charset=utf-8")
}

fn with(mut response: Response<Body>, name: HeaderName, value: &'static str) -> Response<Body> {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// Where tower-http finds its files. Its own backend follows symbolic links, also out of the root, and a check of the path
/// beforehand would be late: a link may be put there in between. So each file is opened by `beneath`, with which the kernel
/// refuses each link and each way out while it walks the path; what is served is what was opened then.
///
/// All is done at once, on the worker's own thread: a regular file lets wait for the disk alone, as nginx does it by
/// default too, and a worker process keeps its one thread. tokio's own files go through a pool of threads.
#[derive(Clone)]
struct Files(&'static Root);

impl Backend for Files {
    type File = Opened;
    type Metadata = Facts;
    type OpenFuture = Ready<io::Result<Opened>>;
    type MetadataFuture = Ready<io::Result<Facts>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        ready(self.0.open(&path).map(|found| Opened(found.file)).map_err(io_error))
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        ready(match self.0.open(&path) {
            Ok(found) => Ok(Facts::File(found.metadata)),
            Err(Refusal::Directory) => Ok(Facts::Directory),
            Err(refusal) => Err(io_error(refusal)),
        })
    }
}

fn io_error(refusal: Refusal) -> io::Error {
    match refusal {
        Refusal::Malformed | Refusal::Missing | Refusal::Directory => ErrorKind::NotFound.into(),
        Refusal::Forbidden => ErrorKind::PermissionDenied.into(),
        Refusal::Failed(error) => error,
    }
}

enum Facts {
    File(fs::Metadata),
    Directory,
}

impl served::Metadata for Facts {
    fn is_dir(&self) -> bool {
        matches!(self, Facts::Directory)
    }

    /// No date of the future: for a client's copy of then, it would hide each change until then (RFC 9110, 8.8.2.1).
    fn modified(&self) -> io::Result<SystemTime> {
        let Facts::File(metadata) = self else { return Err(ErrorKind::IsADirectory.into()) };
        Ok(metadata.modified()?.min(SystemTime::now()))
    }

    fn len(&self) -> u64 {
        if let Facts::File(metadata) = self { metadata.len() } else { 0 }
    }
}

struct Opened(fs::File);

impl served::File for Opened {
    type Metadata = Facts;
    type MetadataFuture<'a> = Ready<io::Result<Facts>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(self.0.metadata().map(Facts::File))
    }
}

impl AsyncRead for Opened {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.0.read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return Poll::Ready(read.map(|bytes| buffer.advance(bytes))),
            }
        }
    }
}

impl AsyncSeek for Opened {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        self.0.seek(position).map(drop)
    }

    fn poll_complete(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(self.0.stream_position())
    }
}
