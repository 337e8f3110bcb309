//! How do a few workers serve many connections each?
//!
//! Each has an event loop of its own.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use process_demo::connections::{self, Bounds};
use process_demo::prefork::{self, Event, Exit, Listeners, Worker};
use process_demo::shutdown::Shutdown;

use crate::site::{Clerk, Site};
use crate::status::Slot;
use crate::tell;
use crate::visit::Visit;

/// Threads; those that cannot be started are missed, and the others serve.
pub fn pool(listener: &TcpListener, listening: &str, site: &Site, bounds: &Bounds, stop: &Shutdown) -> io::Result<()> {
    let stop = stop.as_fd();
    let (begins, begun) = mpsc::channel();
    thread::scope(|s| {
        let mut workers = Vec::new();
        for slot in site.status.slots() {
            let (listener, begins) = (listener.try_clone()?, begins.clone());
            let work = move || {
                slot.begin();
                let _ = begins.send(());
                serve_as(slot, listener, site, bounds, stop)
            };
            match thread::Builder::new().spawn_scoped(s, work) {
                Ok(worker) => workers.push(worker),
                Err(error) => tell(&format!("a worker could not be started: {error}")),
            }
        }
        begun.iter().take(workers.len()).for_each(drop); // So `/status` knows them all from the first request on.
        tell(listening);
        workers.into_iter().try_for_each(|worker| worker.join().unwrap())
    })
}

/// Processes, each of which is replaced when it dies.
pub fn processes(
    listeners: Listeners,
    listening: &str,
    site: &Site,
    bounds: &Bounds,
    stop: &Shutdown,
) -> io::Result<()> {
    let slots = site.status.slots();
    let work = |worker: Worker| {
        let served = serve_as(&slots[worker.number], worker.listener, site, bounds, worker.stop.as_fd());
        served.inspect_err(|error| tell(&format!("worker {}: {error}", worker.number))).is_err().into()
    };
    let mut started = 0;
    let watch = |event| match event {
        Event::Started { number, pid } => {
            slots[number].begin_in(pid);
            started += 1;
            if started == slots.len() {
                tell(listening); // A listener of its own is there once its worker is.
            }
        }
        Event::Stopping => {}
        Event::Ended { number, pid, exit, again_in: Some(again_in) } => {
            slots[number].died();
            tell(&format!("worker {number}, process {pid}: {exit}; started again in {} ms", again_in.as_millis()));
        }
        Event::Ended { exit: Exit::Code(0), .. } => {}
        Event::Ended { number, pid, exit, .. } => tell(&format!("worker {number}, process {pid}: {exit} at the end")),
        Event::NotStarted { number, error, again_in } => {
            tell(&format!("worker {number} could not be started, tried again in {} ms: {error}", again_in.as_millis()));
        }
    };
    let drain = bounds.drain + Duration::from_secs(2); // By then they have cut off what was left, and ended.
    // SAFETY: what the workers share is the status, whose slots are atomics; nobody unmaps or unlocks anything in it.
    unsafe { prefork::serve(listeners, slots.len(), drain, stop.as_fd(), work, watch) }?;
    Ok(())
}

/// One worker's event loop.
fn serve_as(slot: &Slot, listener: TcpListener, site: &Site, bounds: &Bounds, stop: BorrowedFd<'_>) -> io::Result<()> {
    let clerk = RefCell::new(Clerk::new(site, slot));
    let cut_off = connections::serve(listener, stop, bounds, &slot.connections, |peer| Visit::new(&clerk, peer))?;
    slot.cut_off.store(cut_off as u64, Relaxed);
    Ok(())
}
