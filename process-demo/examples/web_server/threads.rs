//! How does a thread for each connection serve?

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Write};
use std::net::{self, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use process_demo::connections::{Beyond, Bounds, serve_one};
use process_demo::shutdown::{InFlight, Shutdown};

use crate::site::{Clerk, Site};
use crate::visit::Visit;

const STACK_BYTES: usize = 256 << 10; // What is large lies on the heap.
const REST_MS: u16 = 100; // Before it tries again to accept, when the machine had no room for one more.

/// Serves until it is asked to stop; then all that is in flight is finished, or cut off at the deadline.
pub fn serve(listener: &TcpListener, site: &Site, bounds: &Bounds, stop: &Shutdown) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    site.status.slots()[0].begin();
    let hall = Hall { site, bounds, visits: InFlight::new()?, streams: Mutex::default() };
    thread::scope(|s| {
        let mut number = 0;
        while is_wanted(listener, stop)? {
            match listener.accept() {
                Ok((stream, peer)) => hall.admit(s, number, Arc::new(stream), peer),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => {}
                Err(_) => _ = poll(&mut [PollFd::new(stop.as_fd(), PollFlags::POLLIN)], REST_MS), // EMFILE, ENOMEM.
            }
            number += 1;
        }
        let now = Instant::now();
        site.stops.store(true, Relaxed); // Publishes nothing; who misses it ends below.
        hall.visits.drain(now + bounds.last_call)?;
        hall.shut(net::Shutdown::Read); // Whoever waits for a request finds its end; who writes a response goes on.
        let cut_off = hall.visits.drain(now + bounds.drain)?;
        site.status.slots()[0].cut_off.store(cut_off as u64, Relaxed);
        hall.shut(net::Shutdown::Both);
        Ok(())
    })
}

/// Waits for a connection or the stop; tells whether it is a connection. What waits in the queue comes first.
fn is_wanted(listener: &TcpListener, stop: &Shutdown) -> io::Result<bool> {
    loop {
        let mut awaited =
            [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        match poll(&mut awaited, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(awaited[0].any().unwrap_or(false)),
        }
    }
}

struct Hall<'a> {
    site: &'a Site,
    bounds: &'a Bounds,
    visits: InFlight,
    streams: Mutex<HashMap<u64, Arc<TcpStream>>>, // To reach the threads that wait in a read.
}

impl Hall<'_> {
    fn admit<'s>(&'s self, s: &'s thread::Scope<'s, '_>, number: u64, stream: Arc<TcpStream>, peer: SocketAddr) {
        let counters = &self.site.status.slots()[0].connections;
        let entered = if self.visits.count() < self.bounds.connections { self.visits.enter() } else { None };
        let Some(entered) = entered else { return self.refuse(&stream) };
        self.streams.lock().unwrap().insert(number, Arc::clone(&stream));
        let own = Arc::clone(&stream);
        let visit = move || {
            let clerk = RefCell::new(Clerk::new(self.site, &self.site.status.slots()[0]));
            let _ = serve_one(&own, self.bounds, &mut Visit::new(&clerk, peer)); // An error ends this visit alone.
            self.streams.lock().unwrap().remove(&number);
            counters.open.fetch_sub(1, Relaxed);
            drop(entered);
        };
        counters.open.fetch_add(1, Relaxed);
        counters.accepted.fetch_add(1, Relaxed);
        if thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(s, visit).is_err() {
            self.streams.lock().unwrap().remove(&number);
            counters.open.fetch_sub(1, Relaxed);
            self.refuse(&stream); // No room for one more thread.
        }
    }

    fn refuse(&self, stream: &TcpStream) {
        self.site.status.slots()[0].connections.refused.fetch_add(1, Relaxed);
        if let Beyond::Refuse(words) = &self.bounds.beyond {
            let _ = (&*stream).write(words); // It fits into the empty buffer of a new connection.
        }
    }

    fn shut(&self, side: net::Shutdown) {
        for stream in self.streams.lock().unwrap().values() {
            let _ = stream.shutdown(side); // It may be closed already.
        }
    }
}
