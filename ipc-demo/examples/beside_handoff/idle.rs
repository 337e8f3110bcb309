//! What does a waiting ring cost, and how fast does it wake?

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;
use std::{ptr, thread};

use anyhow::{Context, Result, ensure};
use ipc_demo::ring::Ring;
use ipc_demo::shared_region::SharedRegion;
use nix::libc;
use nix::unistd::Pid;
use shared::Placement::OtherCpu;
use shared::measure::{Pinning, SystemClock};

use super::figures::{Figures, Goal};
use super::peer::Peer;

const SETTLE: Duration = Duration::from_millis(100);
const WAIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

const COPYING: &str = "wake-up, copying";
const IN_PLACE: &str = "wake-up, in place";

/// The CPU time of a process that waits for a message. Both kinds of ends wait by the same code.
pub fn waiting(figures: &mut Figures) -> Result<()> {
    let pinning =
        Pinning::of(OtherCpu).or_else(|| Pinning::of(shared::Placement::SameCpu)).context("no CPU to sit on")?;
    let ring = Ring::new(16, 64)?;
    let mut peer = Peer::process(pinning, || {
        let mut receiver = ring.receiver()?;
        Ok(move |steps| {
            let mut buffer = [0; 64];
            Ok((0..steps).filter(|_| receiver.receive(&mut buffer).is_ok()).count() as u64)
        })
    })?;
    let mut sender = ring.sender()?;
    let pid = peer.child().context("the peer is a process")?.pid();
    let mut used_ns = 0;
    let right = peer.play(1, || {
        thread::sleep(SETTLE); // Not to wait for anything: what is measured is time in which nothing happens.
        let before_ns = cpu_ns(pid)?;
        thread::sleep(WAIT);
        used_ns = cpu_ns(pid)? - before_ns;
        sender.send(b"enough")?;
        Ok(1)
    })?;
    ensure!(right == 1, "the message did not arrive");
    let per_second_ns = used_ns as f64 / WAIT.as_secs_f64();
    let limit_ns = 1e6; // A thousandth of a second.
    let samples = (&[per_second_ns][..], &[limit_ns][..]);
    figures.add("CPU time per second idle", "0.1 %", samples, Goal::AtMost(1.0));
    Ok(())
}

/// From the sender's clock before the call to the receiver's after it, both asleep before.
pub fn waking(figures: &mut Figures, rounds: usize) -> Result<()> {
    let (theirs, goal) = ("bare futex", Goal::AtMost(1.2));
    let Some(pinning) = Pinning::of(OtherCpu) else {
        [COPYING, IN_PLACE].iter().for_each(|what| figures.skip(what, theirs, goal));
        return Ok(());
    };
    let mut rivals = [copying(pinning)?, in_place(pinning)?, futex(pinning)?];
    let _pinned = pinning.own.pin()?;
    let mut samples_ns = [vec![], vec![], vec![]];
    for round in 0..=rounds {
        let order = if round % 2 == 0 { [0, 1, 2] } else { [2, 1, 0] };
        for index in order {
            let (peer, wake) = &mut rivals[index];
            let latency_ns = peer.play(1, || {
                thread::sleep(PAUSE);
                wake(SystemClock.now_ns())?;
                Ok(u64::MAX)
            })?;
            if round > 0 {
                samples_ns[index].push(latency_ns as f64); // The first round has warmed up.
            }
        }
    }
    let [copying_ns, in_place_ns, futex_ns] = &samples_ns;
    figures.add(COPYING, theirs, (copying_ns, futex_ns), goal);
    figures.add(IN_PLACE, theirs, (in_place_ns, futex_ns), goal);
    Ok(())
}

/// A peer that waits for a time and answers how long ago that is, and what sends it.
type Sleeper = (Peer, Box<dyn FnMut(u64) -> Result<()>>);

fn copying(pinning: Pinning) -> Result<Sleeper> {
    let ring = Ring::new(16, 64)?;
    let peer = Peer::process(pinning, || {
        let mut receiver = ring.receiver()?;
        Ok(move |_| {
            let mut sent_ns = [0; 8];
            receiver.receive(&mut sent_ns)?;
            Ok(SystemClock.now_ns() - u64::from_ne_bytes(sent_ns))
        })
    })?;
    let mut sender = ring.sender()?;
    Ok((peer, Box::new(move |now_ns| Ok(sender.send(&now_ns.to_ne_bytes())?))))
}

fn in_place(pinning: Pinning) -> Result<Sleeper> {
    let ring = Ring::new(16, 64)?;
    let peer = Peer::process(pinning, || {
        // SAFETY: the ring's two ends are this program's, and each is used by the process that claims it here.
        let mut receiver = unsafe { ring.receiver_in_place() }?;
        Ok(move |_| {
            let sent_ns = u64::from_ne_bytes((*receiver.receive()?).try_into()?);
            Ok(SystemClock.now_ns() - sent_ns)
        })
    })?;
    // SAFETY: as above.
    let mut sender = unsafe { ring.sender_in_place() }?;
    let send = move |now_ns: u64| {
        let mut room = sender.reserve(8)?;
        room.copy_from_slice(&now_ns.to_ne_bytes());
        room.commit();
        Ok(())
    };
    Ok((peer, Box::new(send)))
}

struct Word {
    count: AtomicU32,
    sent_ns: AtomicU64,
}

fn futex(pinning: Pinning) -> Result<Sleeper> {
    let region = SharedRegion::new(size_of::<Word>())?;
    let peer = Peer::process(pinning, || {
        let (region, mut known) = (&region, 0);
        Ok(move |_| {
            let word = word_in(region);
            while word.count.load(Acquire) == known {
                futex_call(&word.count, libc::FUTEX_WAIT, known);
            }
            known += 1;
            Ok(SystemClock.now_ns() - word.sent_ns.load(Relaxed))
        })
    })?;
    let wake = move |now_ns| {
        let word = word_in(&region);
        word.sent_ns.store(now_ns, Relaxed);
        word.count.fetch_add(1, Release); // Publishes the time.
        futex_call(&word.count, libc::FUTEX_WAKE, 1);
        Ok(())
    };
    Ok((peer, Box::new(wake)))
}

fn word_in(region: &SharedRegion) -> &Word {
    // SAFETY: the region is as large, zeroed, aligned to a page, and lives as long as the reference; these are atomics.
    unsafe { &*region.as_ptr().cast() }
}

fn futex_call(word: &AtomicU32, operation: libc::c_int, value: u32) {
    let no_limit = ptr::null::<libc::timespec>();
    // nix has no futex. It may return early, or find nobody asleep: the callers' loop looks again.
    // SAFETY: the word outlives the call, and the kernel only reads it.
    unsafe { libc::syscall(libc::SYS_futex, ptr::from_ref(word), operation, value, no_limit) };
}

/// Of a running child.
fn cpu_ns(pid: Pid) -> Result<u64> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: both write to what is passed, which outlives the calls.
    let read = unsafe {
        libc::clock_getcpuclockid(pid.as_raw(), &raw mut clock) == 0 && libc::clock_gettime(clock, &raw mut time) == 0
    };
    ensure!(read, "the CPU clock of process {pid} cannot be read");
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
