//! Many connections in one thread: whoever has sent something is served, and nobody waits for a slow one.
//!
//! Needs: nix 0.31 (event, net, poll, socket)
//! Runs on: Linux
//!
//! An event loop over epoll, edge-triggered: a connection is registered once, and a request costs one `recv`, one `send`
//! and its share of an `epoll_wait`. An idle connection holds its socket and no buffer. Several threads or processes may
//! run one loop each on the same listener; then one of them is woken for a new connection, not all.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::io::{Read, Write};
//! use std::net::{Shutdown, TcpListener, TcpStream};
//! use std::os::fd::AsFd;
//! use std::os::unix::net::UnixStream;
//!
//! struct Louder;
//! impl Session for Louder {
//!     fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> Step {
//!         output.extend(input.to_ascii_uppercase());
//!         Step { consumed: input.len(), next: Next::Receive }
//!     }
//! }
//!
//! let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//! let address = listener.local_addr().unwrap();
//! let (stop, stopped) = UnixStream::pair().unwrap();
//! let counters = Counters::default();
//! std::thread::scope(|scope| {
//!     scope.spawn(|| serve(listener, stopped.as_fd(), &Bounds::default(), &counters, |_peer| Louder).unwrap());
//!     let mut client = TcpStream::connect(address).unwrap();
//!     client.write_all(b"hello").unwrap();
//!     client.shutdown(Shutdown::Write).unwrap();
//!     let mut answer = String::new();
//!     client.read_to_string(&mut answer).unwrap();
//!     assert_eq!(answer, "HELLO");
//!     drop(stop);
//! });
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};

/// What is on the other side of the bytes of one connection: a protocol, and what answers.
pub trait Session {
    /// Turns received bytes into bytes to send. `input` is all that has been received and not been consumed; `output` is
    /// what waits to be sent, to which this adds. One request a call is enough: while input is left and some of it was
    /// consumed, this is called again before anything is sent, so that pipelined requests share one `send`.
    ///
    /// It must not block: all other connections of the loop would wait with it. [`Next::After`] waits without blocking.
    fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> Step;

    /// A request was begun and not whole in time. What this adds to the output is sent, and the connection closes.
    fn timed_out(&mut self, _output: &mut Vec<u8>) {}

    /// The server stops: the next response should tell the client that the connection closes. Called once.
    fn stopping(&mut self) {}
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many bytes of the input are done with.
    pub consumed: usize,
    /// What shall happen now.
    pub next: Next,
}

/// When a session is to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When there is more input.
    Receive,
    /// When the output is sent: there is more of it than should be held at once. Nothing is received until then. A step
    /// that says so adds output, or it will be called again at once.
    Send,
    /// After so long; nothing is received meanwhile. Until then the loop serves others.
    After(Duration),
    /// Never: the connection closes when the output is sent.
    Close,
}

/// What the clients of one loop may ask for.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections open at once.
    pub connections: usize,
    /// What happens to those beyond.
    pub beyond: Beyond,
    /// Input held for a session that has not consumed it; a connection with more is closed.
    pub input_bytes: usize,
    /// While more output than this waits to be sent, the session is not called and nothing is received.
    pub output_bytes: usize,
    /// From accepting, or from the first byte of a request, until it is consumed.
    pub request: Duration,
    /// From the last response until the next request begins.
    pub idle: Duration,
    /// From one byte sent to the next, while output waits. The rest of a closing connection's input is awaited as long.
    pub send: Duration,
    /// How long after the stop a connection that waits for its next request is kept. A client that has not heard of the
    /// stop may have sent one; it is answered. With zero, such a client finds its connection closed or reset.
    pub last_call: Duration,
    /// How long connections may go on after the stop.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            connections: 10_000,
            beyond: Beyond::Wait,
            input_bytes: 8 << 20,
            output_bytes: 256 << 10,
            request: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            send: Duration::from_secs(10),
            last_call: Duration::from_millis(100), // Longer than most round trips.
            drain: Duration::from_secs(10),
        }
    }
}

/// What happens to the connections beyond the most that are allowed.
#[derive(Clone, Debug)]
pub enum Beyond {
    /// They wait in the listener's queue until one of those open closes, or another process takes them.
    Wait,
    /// They are sent this, as far as it fits into the socket's buffer, and closed. Nobody waits for their request: one
    /// that comes later is answered by a reset.
    Refuse(Vec<u8>),
}

/// Counts that others may read while the loop runs. All are only counts: nothing else is published by them.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Counters {
    /// Connections taken on since the start.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections turned away because of [`Bounds::connections`].
    pub refused: AtomicU64,
    /// Connections closed because a time-out passed, the idle ones among them.
    pub timed_out: AtomicU64,
    /// How often the system refused a connection (EMFILE: no descriptor left, ENOMEM), and accepting had to rest.
    pub rested: AtomicU64,
}

/// Serves the connections of a listener until `stop` becomes readable (or its other end closes), and then finishes:
/// takes on what waits in the listener's queue, closes the listener, answers who asks within [`Bounds::last_call`],
/// closes the other idle connections, and lets those with a request under way have their response. Returns how many were
/// cut off at the end of [`Bounds::drain`], before they had all of it.
///
/// # Errors
/// Whatever epoll or the listener refuse as such (EMFILE at the start, EBADF). What goes wrong with one connection ends
/// that connection. When the system lacks descriptors or memory for a new one, accepting rests, and serving goes on.
pub fn serve<S: Session>(
    listener: TcpListener,
    stop: BorrowedFd<'_>,
    bounds: &Bounds,
    counters: &Counters,
    new_session: impl FnMut(SocketAddr) -> S,
) -> io::Result<usize> {
    listener.set_nonblocking(true)?;
    listen(&listener, Backlog::MAXALLOWABLE)?; // Again, for a longer queue than the standard library's 128.
    setsockopt(&listener, sockopt::TcpNoDelay, &true)?; // Every accepted connection inherits it: a response never waits.
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
    let mut event_loop = EventLoop {
        epoll,
        listener: Some(listener),
        accepting: Accepting::Rests { until: Instant::now() },
        bounds,
        counters,
        new_session,
        slots: Vec::new(),
        free: Vec::new(),
        unfinished: BTreeSet::new(),
        alarms: BTreeSet::new(),
        scratch: Scratch { received: vec![0; RECEIVE_BYTES], output: Vec::new() },
        now: Instant::now(),
        stops_at: None,
    };
    event_loop.run(stop)
}

const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;
const RECEIVE_BYTES: usize = 64 << 10; // One read takes a whole pipeline of requests, or a good part of a body.
const EVENTS: usize = 256;
const TURNS: usize = 16; // Then the others get their turn.
const LAST_LINGER: Duration = Duration::from_secs(1); // A stop waits no longer for those who have their response.
const REST: Duration = Duration::from_millis(100); // Descriptors are free again when somebody closes one.

struct EventLoop<'a, S, F> {
    epoll: Epoll,
    listener: Option<TcpListener>,
    accepting: Accepting,
    bounds: &'a Bounds,
    counters: &'a Counters,
    new_session: F,
    slots: Vec<Slot<S>>,
    free: Vec<usize>,
    unfinished: BTreeSet<usize>, // Slots of connections that could go on, but had their turn; each stands here once.
    alarms: BTreeSet<(Instant, usize)>, // One for each slot at most.
    scratch: Scratch,
    now: Instant,
    stops_at: Option<Instant>,
}

enum Accepting {
    Goes,
    Rests { until: Instant },
    AtMost, // As many connections as may be.
}

struct Slot<S> {
    generation: u32,        // An event that was meant for an earlier connection of this slot has another.
    alarm: Option<Instant>, // When its deadline is looked at next: not later than the deadline, and perhaps earlier.
    connection: Option<Connection<S>>,
}

/// Buffers that serve one connection after the other; only what is left over is kept with its connection.
struct Scratch {
    received: Vec<u8>,
    output: Vec<u8>,
}

impl<S: Session, F: FnMut(SocketAddr) -> S> EventLoop<'_, S, F> {
    fn run(&mut self, stop: BorrowedFd<'_>) -> io::Result<usize> {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            self.resume_accepting()?;
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Err(Errno::EINTR) => 0,
                count => count?,
            };
            self.now = Instant::now();
            for event in &events[..count] {
                match event.data() {
                    STOP => self.begin_to_stop(stop)?,
                    LISTENER => _ = self.accept()?,
                    token => self.woken(token, event.events()),
                }
            }
            for slot in mem::take(&mut self.unfinished) {
                self.drive(slot);
            }
            self.ring_alarms();
            if let Some(stops_at) = self.stops_at {
                let open = self.slots.len() - self.free.len();
                if open == 0 || self.now >= stops_at {
                    self.counters.open.fetch_sub(open as u64, Relaxed);
                    return Ok(self.in_flight());
                }
            }
        }
    }

    /// Who lingers has been sent its whole response.
    fn in_flight(&self) -> usize {
        let open = self.slots.iter().filter_map(|slot| slot.connection.as_ref());
        open.filter(|connection| connection.state != State::Lingers).count()
    }

    fn timeout(&self) -> PollTimeout {
        if !self.unfinished.is_empty() {
            return PollTimeout::ZERO;
        }
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let rests = if let Accepting::Rests { until } = self.accepting { Some(until) } else { None };
        let first = alarm.into_iter().chain(rests).chain(self.stops_at).min();
        first.map_or(PollTimeout::NONE, |at| whole_milliseconds(at.saturating_duration_since(Instant::now())))
    }

    /// Takes on one connection; the next one only after those that are open have had their turn, and perhaps another
    /// process took it meanwhile. Tells whether there was one.
    fn accept(&mut self) -> io::Result<bool> {
        let Some(listener) = &self.listener else { return Ok(false) };
        match listener.accept() {
            Ok((stream, peer)) => {
                self.take_on(stream, peer)?;
                self.queue_last()?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false), // Another was faster.
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EINTR | Errno::ECONNABORTED) => {}
                Some(Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK | Errno::EOPNOTSUPP) => return Err(error),
                _ => {
                    self.counters.rested.fetch_add(1, Relaxed);
                    self.pause_accepting(Accepting::Rests { until: self.now + REST })?;
                    return Ok(false);
                }
            },
        }
        Ok(true)
    }

    fn take_on(&mut self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        if self.slots.len() - self.free.len() >= self.bounds.connections {
            match &self.bounds.beyond {
                Beyond::Refuse(words) => {
                    self.counters.refused.fetch_add(1, Relaxed);
                    let _ = stream.set_nonblocking(true).and_then(|()| (&stream).write(words)); // What fits must do.
                    // A request that is there already and never read would turn the end into a reset.
                    let _ = stream.shutdown(Shutdown::Write).and_then(|()| (&stream).read(&mut self.scratch.received));
                    return Ok(());
                }
                Beyond::Wait => {}
            }
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, alarm: None, connection: None });
            self.slots.len() - 1
        });
        let token = u64::from(self.slots[slot].generation) << 32 | slot as u64;
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        if stream
            .set_nonblocking(true)
            .and_then(|()| Ok(self.epoll.add(&stream, EpollEvent::new(interest, token))?))
            .is_err()
        {
            self.free.push(slot); // ENOMEM or ENOSPC: this connection ends, the others go on.
            return Ok(());
        }
        let session = (self.new_session)(peer);
        self.slots[slot].connection = Some(Connection::new(stream, session, self.now));
        self.counters.accepted.fetch_add(1, Relaxed);
        self.counters.open.fetch_add(1, Relaxed);
        self.arm(slot);
        let is_full = self.slots.len() - self.free.len() >= self.bounds.connections;
        if is_full && matches!(self.bounds.beyond, Beyond::Wait) {
            self.pause_accepting(Accepting::AtMost)?;
        }
        Ok(())
    }

    /// The kernel wakes who has waited on the listener longest, and whoever stays registered stays the first: one worker
    /// would get nearly all connections. Registered anew after each, they take turns.
    fn queue_last(&mut self) -> io::Result<()> {
        if let (Some(listener), Accepting::Goes) = (&self.listener, &self.accepting) {
            self.epoll.delete(listener)?;
            self.epoll.add(listener, awaits_connections())?;
        }
        Ok(())
    }

    fn pause_accepting(&mut self, pause: Accepting) -> io::Result<()> {
        if let (Some(listener), Accepting::Goes) = (&self.listener, &self.accepting) {
            self.epoll.delete(listener)?; // As long as it is registered, each wait would return at once.
        }
        self.accepting = pause;
        Ok(())
    }

    fn resume_accepting(&mut self) -> io::Result<()> {
        let is_due = match self.accepting {
            Accepting::Goes => false,
            Accepting::Rests { until } => until <= self.now,
            Accepting::AtMost => self.slots.len() - self.free.len() < self.bounds.connections,
        };
        if let (true, Some(listener)) = (is_due, &self.listener) {
            self.epoll.add(listener, awaits_connections())?;
            self.accepting = Accepting::Goes;
        }
        Ok(())
    }

    fn begin_to_stop(&mut self, stop: BorrowedFd<'_>) -> io::Result<()> {
        let stops_at = after(self.now, self.bounds.drain);
        self.stops_at = Some(stops_at);
        self.epoll.delete(stop)?;
        // Who waits in the queue counts as there; but a flood of newcomers does not put the end off.
        while matches!(self.accepting, Accepting::Goes) && self.accept()? && Instant::now() <= stops_at {}
        self.pause_accepting(Accepting::AtMost)?;
        self.listener = None;
        for slot in 0..self.slots.len() {
            if let Some(connection) = &mut self.slots[slot].connection {
                connection.session.stopping();
                connection.stopped_at = Some(self.now);
                connection.readable = true; // What has arrived before the stop is answered.
                self.drive(slot);
            }
        }
        Ok(())
    }

    fn woken(&mut self, token: u64, events: EpollFlags) {
        let slot = (token & u64::from(u32::MAX)) as usize;
        let Slot { generation, connection: Some(connection), .. } = &mut self.slots[slot] else { return };
        if u64::from(*generation) != token >> 32 {
            return;
        }
        connection.readable |= events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP);
        connection.half_closed |= events.contains(EpollFlags::EPOLLRDHUP);
        connection.writable |= events.contains(EpollFlags::EPOLLOUT);
        if events.contains(EpollFlags::EPOLLERR) {
            self.close(slot); // Reset: nobody is there to be answered.
        } else if !self.unfinished.contains(&slot) {
            self.drive(slot); // Else its turn comes after these events, and one is enough.
        }
    }

    /// Lets a connection go on until it has to wait.
    fn drive(&mut self, slot: usize) {
        let Some(connection) = &mut self.slots[slot].connection else { return };
        for _ in 0..TURNS {
            match connection.turn(&mut self.scratch, self.bounds, self.now) {
                Turn::GoesOn => {}
                Turn::Waits => return self.arm(slot),
                Turn::Ends => return self.close(slot),
            }
        }
        self.unfinished.insert(slot);
    }

    fn close(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        if place.connection.take().is_some() {
            place.generation = place.generation.wrapping_add(1);
            self.free.push(slot);
            self.counters.open.fetch_sub(1, Relaxed);
        }
    }

    /// Sees to it that the connection's deadline is noticed. A deadline that moves back costs nothing: the alarm of
    /// before rings, and is set anew.
    fn arm(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        let Some(connection) = &place.connection else { return };
        let deadline = connection.deadline(self.bounds).0;
        if place.alarm.is_some_and(|alarm| alarm <= deadline) {
            return;
        }
        if let Some(later) = place.alarm.replace(deadline) {
            self.alarms.remove(&(later, slot));
        }
        self.alarms.insert((deadline, slot));
    }

    fn ring_alarms(&mut self) {
        while let Some((at, slot)) = self.alarms.first().copied() {
            if at > self.now {
                return;
            }
            self.alarms.pop_first();
            let place = &mut self.slots[slot];
            place.alarm = None;
            let Some(connection) = &mut place.connection else { continue };
            match connection.deadline(self.bounds) {
                (deadline, _) if deadline > self.now => self.arm(slot),
                (_, Reason::Wake) => self.drive(slot),
                (_, Reason::Stop) => self.close(slot),
                (_, reason) => {
                    self.counters.timed_out.fetch_add(1, Relaxed);
                    if connection.expire(reason) { self.drive(slot) } else { self.close(slot) }
                }
            }
        }
    }
}

/// Exclusive: of all processes and threads that wait on this listener, one is woken. Level-triggered: as long as a
/// connection waits, none of them sleeps.
fn awaits_connections() -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE, LISTENER)
}

struct Connection<S> {
    stream: TcpStream,
    session: S,
    input: Vec<u8>, // Received, and not consumed.
    output: Vec<u8>,
    sent: usize, // So many bytes of the output are sent.
    state: State,
    since: Instant, // When what it waits for now began.
    readable: bool, // Until a read comes back short, the kernel says nothing new.
    writable: bool,
    half_closed: bool, // The client has sent its last byte, but may wait for answers.
    ended: bool,       // And we have read it.
    served: bool,
    stopped_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Receives,
    Sends, // The session is called when the output is sent.
    WaitsUntil(Instant),
    Closes,  // Once the output is sent.
    Lingers, // Our side is closed; what the client still sends is thrown away, for a reset would destroy the response.
}

enum Turn {
    GoesOn,
    Waits,
    Ends,
}

#[derive(Clone, Copy)]
enum Reason {
    Idle,
    Request,
    Send,
    Wake,
    Stop,
}

impl<S: Session> Connection<S> {
    fn new(stream: TcpStream, session: S, now: Instant) -> Connection<S> {
        Connection {
            stream,
            session,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            state: State::Receives,
            since: now,
            readable: false, // Registering it tells.
            writable: true,
            half_closed: false,
            ended: false,
            served: false,
            stopped_at: None,
        }
    }

    fn turn(&mut self, scratch: &mut Scratch, bounds: &Bounds, now: Instant) -> Turn {
        if self.sent < self.output.len() {
            return self.send(scratch, now);
        }
        match self.state {
            State::WaitsUntil(time) if time > now => Turn::Waits,
            State::Sends | State::WaitsUntil(_) => self.step_again(scratch, bounds, now),
            State::Receives if self.readable => self.receive(scratch, bounds, now),
            State::Receives if self.ended => Turn::Ends,
            State::Receives => Turn::Waits,
            State::Closes if self.ended => Turn::Ends,
            State::Closes => {
                (self.state, self.since) = (State::Lingers, now);
                if self.stream.shutdown(Shutdown::Write).is_ok() { Turn::GoesOn } else { Turn::Ends }
            }
            State::Lingers if self.readable => self.receive(scratch, bounds, now),
            State::Lingers => Turn::Waits,
        }
    }

    fn send(&mut self, scratch: &mut Scratch, now: Instant) -> Turn {
        if !self.writable {
            return Turn::Waits;
        }
        match (&self.stream).write(&self.output[self.sent..]) {
            Ok(bytes) => {
                (self.sent, self.since) = (self.sent + bytes, now);
                self.writable = self.sent == self.output.len(); // A short count: the socket's buffer is full.
                if self.writable {
                    (self.sent, scratch.output) = (0, mem::take(&mut self.output)); // Its memory serves the next one.
                    scratch.output.clear();
                }
                Turn::GoesOn
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                Turn::Waits
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Turn::GoesOn,
            Err(_) => Turn::Ends,
        }
    }

    fn receive(&mut self, scratch: &mut Scratch, bounds: &Bounds, now: Instant) -> Turn {
        let count = match (&self.stream).read(&mut scratch.received) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                return Turn::GoesOn;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Turn::GoesOn,
            Err(_) => return Turn::Ends,
        };
        self.ended = count == 0;
        // A short count means that there is no more for now; the end of the stream is told only once, so it is read.
        self.readable = count == scratch.received.len() || self.half_closed && !self.ended;
        if self.state == State::Lingers {
            return if self.ended { Turn::Ends } else { Turn::GoesOn };
        }
        if count == 0 {
            return Turn::GoesOn;
        }
        if self.input.is_empty() {
            self.since = now;
            let received = mem::take(&mut scratch.received);
            let consumed = self.steps(&received[..count], scratch, bounds, now);
            self.input.extend_from_slice(&received[consumed..count]);
            scratch.received = received;
        } else {
            self.input.extend_from_slice(&scratch.received[..count]);
            return self.step_again(scratch, bounds, now);
        }
        self.after_steps(bounds)
    }

    fn step_again(&mut self, scratch: &mut Scratch, bounds: &Bounds, now: Instant) -> Turn {
        let mut input = mem::take(&mut self.input);
        let consumed = self.steps(&input, scratch, bounds, now);
        if consumed < input.len() {
            input.drain(..consumed);
            self.input = input;
        }
        self.after_steps(bounds)
    }

    fn after_steps(&self, bounds: &Bounds) -> Turn {
        let is_stuck = self.state == State::Receives && self.input.len() >= bounds.input_bytes;
        if is_stuck { Turn::Ends } else { Turn::GoesOn }
    }

    /// Calls the session as often as it has something to do and there is room for its output; returns what it consumed.
    fn steps(&mut self, input: &[u8], scratch: &mut Scratch, bounds: &Bounds, now: Instant) -> usize {
        if self.output.is_empty() {
            self.output = mem::take(&mut scratch.output);
        }
        let mut consumed = 0;
        loop {
            let step = self.session.step(&input[consumed..], &mut self.output);
            consumed += step.consumed;
            if step.consumed > 0 {
                (self.since, self.served) = (now, true);
            }
            self.state = match step.next {
                Next::Receive => State::Receives,
                Next::Send => State::Sends,
                Next::After(wait) => State::WaitsUntil(after(now, wait)),
                Next::Close => State::Closes,
            };
            if self.state != State::Receives || step.consumed == 0 || consumed >= input.len() {
                break;
            }
            if self.output.len() >= bounds.output_bytes {
                self.state = State::Sends; // There is input left: it goes on when this is sent.
                break;
            }
        }
        if self.output.is_empty() {
            scratch.output = mem::take(&mut self.output); // It may wait for long now, and shall not hold a buffer.
        }
        consumed
    }

    /// Until when it may wait, and for what.
    fn deadline(&self, bounds: &Bounds) -> (Instant, Reason) {
        match self.state {
            _ if self.sent < self.output.len() => (after(self.since, bounds.send), Reason::Send),
            State::WaitsUntil(time) => (time, Reason::Wake),
            State::Lingers if self.stopped_at.is_some() => {
                (after(self.since, bounds.send.min(LAST_LINGER)), Reason::Send)
            }
            State::Lingers => (after(self.since, bounds.send), Reason::Send),
            State::Receives if self.served && self.input.is_empty() => match self.stopped_at {
                Some(stopped_at) => (after(stopped_at, bounds.last_call), Reason::Stop),
                None => (after(self.since, bounds.idle), Reason::Idle),
            },
            State::Receives | State::Sends | State::Closes => (after(self.since, bounds.request), Reason::Request),
        }
    }

    /// What it waited for did not come. Tells whether there is something to be sent.
    fn expire(&mut self, reason: Reason) -> bool {
        if let (Reason::Request, false) = (reason, self.input.is_empty()) {
            self.session.timed_out(&mut self.output);
            self.state = State::Closes;
        }
        self.state == State::Closes
    }
}

/// Serves one connection and returns when it is over: for a thread or a process of its own. It blocks.
///
/// The bounds count as for [`serve`]. To end it from elsewhere, shut the stream's reading side down: what has been
/// received is answered, and this returns.
///
/// # Errors
/// Whatever `recv` and `send` report: ECONNRESET when the client is gone; EAGAIN when a time-out has passed.
pub fn serve_one<S: Session>(mut stream: &TcpStream, bounds: &Bounds, session: &mut S) -> io::Result<()> {
    stream.set_nonblocking(false)?; // Where it was accepted may have been an event loop's listener.
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(bounds.send))?;
    let (mut input, mut output, mut received) = (Vec::new(), Vec::new(), vec![0; RECEIVE_BYTES]);
    let mut patience = Patience { stream, allowed: Duration::ZERO, until: after(Instant::now(), bounds.request) };
    patience.allow(bounds.request)?;
    loop {
        match stream.read(&mut received) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                if input.is_empty() {
                    patience.until = after(Instant::now(), bounds.request);
                }
                input.extend_from_slice(&received[..count]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                if error.kind() == ErrorKind::WouldBlock && !input.is_empty() {
                    session.timed_out(&mut output);
                    stream.write_all(&output)?;
                }
                return Err(error);
            }
        }
        if !answer(stream, bounds, session, &mut input, &mut output)? {
            return linger(stream, bounds, &mut received);
        }
        if input.len() >= bounds.input_bytes {
            return Ok(());
        }
        patience.allow(if input.is_empty() { bounds.idle } else { patience.left() })?;
    }
}

/// Calls the session and sends its output until it wants input that is not there; tells whether the connection stays.
fn answer<S: Session>(
    mut stream: &TcpStream,
    bounds: &Bounds,
    session: &mut S,
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut consumed = 0;
    loop {
        let step = session.step(&input[consumed..], output);
        consumed += step.consumed;
        let has_more = step.next == Next::Receive && step.consumed > 0 && consumed < input.len();
        if has_more && output.len() < bounds.output_bytes {
            continue;
        }
        stream.write_all(output)?;
        output.clear();
        match step.next {
            Next::Receive if has_more => {}
            Next::Receive => {
                input.drain(..consumed);
                return Ok(true);
            }
            Next::Send => {}
            Next::After(wait) => pause(wait)?,
            Next::Close => return Ok(false),
        }
    }
}

/// Until when a request must be whole, as the socket's time-out; a system call only when that changes.
struct Patience<'a> {
    stream: &'a TcpStream,
    allowed: Duration,
    until: Instant,
}

impl Patience<'_> {
    fn allow(&mut self, time: Duration) -> io::Result<()> {
        if time != self.allowed {
            self.allowed = time;
            self.stream.set_read_timeout(Some(time))?;
        }
        Ok(())
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)) // None at all would mean for ever.
    }
}

/// Closes our side, and reads on until the client has closed its own: a reset would destroy the response on its way.
fn linger(mut stream: &TcpStream, bounds: &Bounds, received: &mut [u8]) -> io::Result<()> {
    let until = after(Instant::now(), bounds.send);
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(bounds.send))?;
    while stream.read(received)? > 0 && Instant::now() < until {}
    Ok(())
}

fn pause(wait: Duration) -> io::Result<()> {
    let until = after(Instant::now(), wait);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match poll(&mut [], whole_milliseconds(left)) {
            _ if left.is_zero() => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A time-out may be as long as a `Duration` can be, but an `Instant` has an end.
fn after(since: Instant, time: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    since + time.min(CENTURY)
}

/// Rounded up, so that a wait never ends before its time and then spins.
fn whole_milliseconds(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}
