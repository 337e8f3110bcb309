//! How does one worker serve its connections, and stop?

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{self, SocketAddr};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;

use crate::site::{Log, Rest, Site};
use crate::status::Slot;

const HEAD: Duration = Duration::from_secs(60); // From the last response to the next whole head: hyper has one for both.
const SEND_MS: u32 = 60_000; // From one byte that the client takes to the next.
pub const DRAIN: Duration = Duration::from_secs(10); // Of what is in flight at the stop.
const REST: Duration = Duration::from_millis(100); // Before it tries again to accept, if there was no room for one more.
const AT_ONCE: u32 = 16; // Newcomers: far fewer than the tasks that tokio runs before it looks at this one again, 61.
const LINGER: Duration = Duration::from_secs(1); // Longer than a response takes to the client.
pub const PORCH: usize = 16; // Refused connections that may linger.
const GRACE: Duration = Duration::from_millis(100); // Longer than a look at all connections, and than most round trips.
const BUFFER_BYTES: usize = 16 << 10; // Of a connection, each way, for a head of that size: 10,000 hostile ones fill 320 MB.

/// Serves until `stop` becomes readable; then what is in flight is finished, or cut off at the deadline.
pub async fn serve(
    listener: net::TcpListener,
    stop: BorrowedFd<'_>,
    site: &'static Site,
    slot: &'static Slot,
    most: u32,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    // SAFETY: the borrow keeps the descriptor open, and the same, for longer than this function and with it the `AsyncFd`.
    let stop = unsafe { AsyncFd::register_with_interest(stop, Interest::READABLE) }?;
    let mut http = http1::Builder::new();
    http.timer(Patient).header_read_timeout(HEAD).max_buf_size(BUFFER_BYTES).half_close(true);
    let (room, porch) = (Semaphore::new(most as usize), Semaphore::new(PORCH));
    let hall = Hall { site, slot, http, room, porch, most, last_call: CancellationToken::new() };
    let hall: &Hall = Box::leak(Box::new(hall)); // For all its tasks, as long as the process lives.
    select! {
        biased; // The stop wins, however many newcomers there are.
        asked = stop.readable() => drop(asked?),
        never = hall.accept(&listener) => match never {},
    }
    site.stopping.store(true, Relaxed); // Publishes nothing: each response says from now on that it is the last.
    select! {
        () = patient(Instant::now()) => {} // Who has not heard of the stop may have asked, or connected.
        never = hall.accept(&listener) => match never {},
    }
    drop(listener);
    hall.last_call.cancel();
    let _ = hall.room.acquire_many(most).await; // All of it: each connection has ended. Nobody closes the semaphore.
    Ok(())
}

struct Hall {
    site: &'static Site,
    slot: &'static Slot,
    http: http1::Builder,
    room: Semaphore,
    porch: Semaphore,
    most: u32,
    last_call: CancellationToken,
}

impl Hall {
    async fn accept(&'static self, listener: &TcpListener) -> Infallible {
        loop {
            for _ in 0..AT_ONCE {
                match listener.accept().await {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    Err(_) => sleep(REST).await, // EMFILE, ENOMEM: whoever waits in the queue does so until there is room.
                }
            }
            yield_now().await;
        }
    }

    fn admit(&'static self, stream: TcpStream, peer: SocketAddr) {
        let Ok(place) = self.room.try_acquire() else { return self.refuse(stream) };
        self.slot.accepted.fetch_add(1, Relaxed);
        self.slot.connections.fetch_add(1, Relaxed);
        tokio::spawn(self.converse(stream, peer, Counted { slot: self.slot, _place: place }));
    }

    fn refuse(&'static self, stream: TcpStream) {
        self.slot.refused.fetch_add(1, Relaxed);
        let body = format!("This worker holds at most {} connections, and has them.\n", self.most);
        let head =
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Type: text/plain";
        // It fits into the empty buffer of a new connection.
        let _ = stream.try_write(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        // Beyond those who may linger, whoever is in a hurry may lose it.
        if let Ok(place) = self.porch.try_acquire() {
            tokio::spawn(async {
                linger(stream).await;
                drop(place);
            });
        }
    }

    async fn converse(&'static self, stream: TcpStream, peer: SocketAddr, _counted: Counted) {
        let _ = stream.set_nodelay(true); // An error would show in the first write too.
        // The kernel sees each byte that the client takes; a write here waits for megabytes of room in a buffer. And a
        // worker that was stopped for a while cuts nobody off by it.
        let _ = setsockopt(&stream, sockopt::TcpUserTimeout, &SEND_MS);
        let unanswered = Arc::new(AtomicBool::new(false)); // Whether something has come that has no response yet.
        let (comes, answers) = (Arc::clone(&unanswered), Arc::clone(&unanswered));
        let stream = InspectReader::new(stream, move |bytes: &[u8]| {
            if !bytes.is_empty() {
                comes.store(true, Relaxed);
            }
        });
        let service = service_fn(|request| {
            let answers = &answers;
            Box::pin(async move {
                let (response, rest) = self.site.answer(self.slot, peer, request).await;
                answers.store(rest == Rest::Unread, Relaxed);
                Ok::<_, Infallible>(response)
            })
        });
        let mut connection = self.http.serve_connection(TokioIo::new(stream), service);
        let ended = select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => Ok(ended),
            () = self.last_call.cancelled() => {
                if !unanswered.load(Relaxed) {
                    Pin::new(&mut connection).graceful_shutdown(); // Idle ones close; the response under way is the last.
                }
                timeout(DRAIN, poll_fn(|context| connection.poll_without_shutdown(context))).await
            }
        };
        let Ok(ended) = ended else {
            self.slot.cut_off.fetch_add(1, Relaxed);
            return;
        };
        self.look_at(peer, &ended);
        if ended.is_err() || unanswered.load(Relaxed) {
            linger(connection.into_parts().io.into_inner().into_inner()).await;
        }
    }

    /// Tells of what is no request; hyper has answered it.
    fn look_at(&self, peer: SocketAddr, ended: &hyper::Result<()>) {
        let Err(error) = ended else { return };
        if error.is_timeout() {
            self.slot.timed_out.fetch_add(1, Relaxed);
        }
        if error.is_parse() && self.site.log == Log::Requests {
            let status = if error.is_parse_too_large() {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            self.site.tell(peer, "-", status, 0);
        }
    }
}

/// Closes without a reset, which what comes unread would be, and before which the client may not read its response (RFC
/// 9112, 9.6).
async fn linger(mut stream: TcpStream) {
    let mut rest = [0; 4096];
    let read = async {
        let _ = stream.shutdown().await; // Whoever is gone already is not read from either.
        while stream.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
    };
    let _ = timeout(LINGER, read).await;
}

/// A connection's place in the hall, and among the counters: given back also by a panic.
struct Counted {
    slot: &'static Slot,
    _place: SemaphorePermit<'static>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.slot.connections.fetch_sub(1, Relaxed);
    }
}

/// Passes when the time is over and whatever came in time has been read: after a standstill (SIGSTOP, a suspended machine)
/// the deadlines ring first, and what has come meanwhile is seen only in the next look at the connections. So a last short
/// wait counts only if the process ran while it lasted; on a machine that never lets it run so long, the tenth one does.
pub async fn patient(deadline: Instant) {
    sleep_until(deadline.into()).await;
    for _ in 0..10 {
        let before = Instant::now();
        sleep(GRACE).await;
        if before.elapsed() < 2 * GRACE {
            return;
        }
    }
}

/// Such waits, for hyper.
struct Patient;

struct Wait<F>(Pin<Box<F>>);

impl Timer for Patient {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait(Box::pin(patient(deadline))))
    }
}

impl<F: Future<Output = ()>> Future for Wait<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl<F: Future<Output = ()> + Send + Sync> Sleep for Wait<F> {}
