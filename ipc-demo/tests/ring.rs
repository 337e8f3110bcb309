//! What does the ring do beside a peer that is killed, or hostile, and wherever its counters and slots wrap round?

use std::collections::VecDeque;
use std::ffi::c_void;
use std::io::stdin;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Child, Command, Stdio};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use std::{env, fs, hint, thread};

use ipc_demo::ring::{Error, Receiver, Ring, Sender};
use ipc_demo::shared_region::SharedRegion;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use proptest::prelude::*;

// ---- The wrap-around of slots and counters, which start just below their largest value ----

proptest! {
    #[test]
    fn the_ring_is_a_bounded_queue(
        slots in 1_usize..10,
        message_bytes in 0_usize..300,
        steps in prop::collection::vec((any::<bool>(), 0_usize..320), 0..200),
    ) {
        let ring = Ring::new(slots, message_bytes).unwrap();
        let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
        let mut queue = VecDeque::new();
        let batch = (slots / 4).max(1);
        for (number, (sends, length)) in steps.into_iter().enumerate() {
            if sends {
                let message = filled(number as u64, length);
                match sender.try_send(&message) {
                    Ok(()) => queue.push_back(message),
                    Err(Error::TooLarge) => prop_assert!(length > message_bytes),
                    Err(error) => {
                        prop_assert_eq!(error, Error::Full);
                        prop_assert!(queue.len() + batch > slots, "full with {} of {slots}", queue.len());
                    }
                }
                prop_assert!(queue.len() <= slots);
            } else {
                let mut buffer = [0; 300];
                let received = receiver.try_receive(&mut buffer).map(|length| buffer[..length].to_vec());
                prop_assert_eq!(received, queue.pop_front().ok_or(Error::Empty));
            }
        }
    }
}

fn filled(number: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|byte| (number.wrapping_mul(31).wrapping_add(byte.wrapping_mul(7))) as u8).collect()
}

// ---- A hostile peer ----

/// The layout, as whoever attacks the ring would look it up.
const ROLES_BYTE: usize = 24;
const BELLS_BYTE: usize = 128;
const RELEASED_BYTE: usize = 384;
const SLOTS_BYTE: usize = 512;
const SLOT_BYTES: usize = 128;
const SLOTS: usize = 28; // The whole is a page, so an inaccessible one follows at once.
const MESSAGE_BYTES: usize = 100; // Less than a slot has room for, so that a length can lie within it too.
const SENT: u8 = 0xA5; // The only byte that the hostile peer ever puts into a message.
const FIRST: u64 = u64::MAX - 1;

#[test]
fn a_hostile_sender_can_end_the_connection_and_no_more() {
    let (mut ends, mut whole) = ([0_usize; 3], 0);
    for seed in 0..ROUNDS {
        let target = Target::new();
        let mut receiver = target.ring.receiver().unwrap();
        let end = target.under_attack(Part::Sender, seed, || {
            let mut buffer = [0; MESSAGE_BYTES + 8];
            for _ in 0..LOOKS {
                buffer.fill(0);
                match receiver.receive_timeout(&mut buffer, Duration::ZERO) {
                    Ok(length) => {
                        assert!(length <= MESSAGE_BYTES);
                        assert!(buffer[..length].iter().all(|byte| *byte == SENT), "a byte that was never sent");
                        assert!(buffer[length..].iter().all(|byte| *byte == 0), "more than the message was written");
                        whole += 1;
                    }
                    Err(Error::TimedOut) => thread::yield_now(), // On one CPU the other side would not come to run.
                    Err(error) => return Some(error),
                }
            }
            None
        });
        count(&mut ends, end);
    }
    assert!(ends[0] > 0 && whole > ROUNDS, "it never came to the worst: {ends:?}, {whole} messages");
}

#[test]
fn a_hostile_receiver_can_end_the_connection_and_no_more() {
    let mut ends = [0_usize; 3];
    for seed in 0..ROUNDS {
        let target = Target::new();
        let mut sender = target.ring.sender().unwrap();
        let end = target.under_attack(Part::Receiver, seed, || {
            for _ in 0..LOOKS {
                match sender.send_timeout(&[SENT; MESSAGE_BYTES], Duration::ZERO) {
                    Ok(()) => {}
                    Err(Error::TimedOut) => thread::yield_now(),
                    Err(error) => return Some(error),
                }
            }
            None
        });
        count(&mut ends, end);
    }
    assert!(ends[0] > 0, "it never came to the worst: {ends:?}");
}

const ROUNDS: u64 = if cfg!(debug_assertions) { 200 } else { 5000 };
const LOOKS: usize = 500;

fn count(ends: &mut [usize; 3], end: Option<Error>) {
    match end {
        Some(Error::Corrupt) => ends[0] += 1,
        Some(Error::PeerGone) => ends[1] += 1,
        None => ends[2] += 1,
        Some(other) => panic!("{other}"),
    }
}

/// A ring whose mapping lies between two pages that nobody can touch, and the hostile peer's own mapping of it.
struct Target {
    ring: Ring,
    hostile: SharedRegion,
    guards: Vec<NonNull<c_void>>,
}

impl Target {
    fn new() -> Target {
        let made = Ring::new(SLOTS, MESSAGE_BYTES).unwrap();
        let hostile = SharedRegion::from_fd(made.fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(hostile.len(), PAGE);
        let (mut crowded, mut guards) = (Vec::new(), Vec::new());
        loop {
            assert!(crowded.len() < 100, "no place between inaccessible pages");
            guards.extend(guard(None)); // The kernel puts the next mapping beside the last one, so beside this.
            let known = mappings_of(&made);
            let ring = Ring::attach(made.fd().try_clone_to_owned().unwrap()).unwrap();
            let start = mappings_of(&made).into_iter().find(|start| !known.contains(start)).unwrap();
            guards.extend([start - PAGE, start + PAGE].into_iter().filter_map(|page| guard(Some(page))));
            if is_inaccessible(start - PAGE) && is_inaccessible(start + PAGE) {
                return Target { ring, hostile, guards };
            }
            crowded.push(ring); // It keeps this place, so the next one lies elsewhere.
        }
    }

    /// Runs `work` while another thread writes to the words of the protocol.
    fn under_attack(&self, part: Part, seed: u64, work: impl FnOnce() -> Option<Error>) -> Option<Error> {
        let over = AtomicBool::new(false);
        self.fill();
        thread::scope(|s| {
            let (hostile, over) = (&self.hostile, &over);
            let attacker = s.spawn(move || attack(hostile, part, seed, over));
            let end = catch_unwind(AssertUnwindSafe(work));
            over.store(true, Relaxed); // After a failure too, or the attack would never end.
            attacker.join().unwrap();
            end.unwrap_or_else(|failure| resume_unwind(failure))
        })
    }

    /// Puts the byte that is ever sent wherever a message can be.
    fn fill(&self) {
        let base = self.hostile.as_ptr();
        (0..SLOTS).for_each(|slot| {
            (2..SLOT_BYTES / 8).for_each(|word| {
                let filling = if word < 2 + MESSAGE_BYTES.div_ceil(8) { u64::from_ne_bytes([SENT; 8]) } else { 0 };
                word_at(base, SLOTS_BYTE + slot * SLOT_BYTES + word * 8).store(filling, Relaxed);
            });
        });
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.guards.drain(..).for_each(unguard);
    }
}

const PAGE: usize = 4096;

fn word_at<'a>(base: *mut u8, byte: usize) -> &'a AtomicU64 {
    // SAFETY: the caller's region is a page, aligned to it, made of atomics, and outlives the use.
    unsafe { &*base.add(byte).cast() }
}

fn half_word_at<'a>(base: *mut u8, byte: usize) -> &'a AtomicU32 {
    // SAFETY: as above.
    unsafe { &*base.add(byte).cast() }
}

/// Keeps the protocol as that role for the most part, or it would be found out at once; flips what the other reads.
fn attack(region: &SharedRegion, part: Part, seed: u64, over: &AtomicBool) {
    let (base, mut random, mut position) = (region.as_ptr(), Random(seed), FIRST);
    let slot_of = |position: u64| SLOTS_BYTE + position.wrapping_sub(FIRST) as usize % SLOTS * SLOT_BYTES;
    let released = word_at(base, RELEASED_BYTE);
    while !over.load(Relaxed) {
        let any_slot = SLOTS_BYTE + random.below(SLOTS as u64) as usize * SLOT_BYTES;
        let any_length = random.below(MESSAGE_BYTES as u64 + 1);
        match random.below(20_000) {
            0 => word_at(base, any_slot).store(random.next(), Relaxed),
            1 => word_at(base, any_slot + 8).store(random.next() >> random.below(64), Relaxed),
            2..=5 => word_at(base, any_slot + 8).store(MESSAGE_BYTES as u64 + 1, Relaxed),
            6 => released.store(random.next(), Relaxed),
            7 => half_word_at(base, ROLES_BYTE + 4 * random.below(2) as usize).store(random.below(4) as u32, Relaxed),
            8..=50 => {
                half_word_at(base, BELLS_BYTE + 128 * random.below(2) as usize).store(random.below(3) as u32, Relaxed)
            }
            51 => word_at(base, random.below(3) as usize * 8).store(random.next(), Relaxed),
            52..=5000 => word_at(base, any_slot + 8).store(any_length, Relaxed),
            _ => match part {
                Part::Sender if position.wrapping_sub(released.load(Relaxed)) < SLOTS as u64 => {
                    word_at(base, slot_of(position)).store(position, Relaxed);
                    position = position.wrapping_add(1);
                }
                Part::Receiver if word_at(base, slot_of(position)).load(Relaxed) == position => {
                    position = position.wrapping_add(1);
                    released.store(position, Relaxed);
                }
                Part::Sender | Part::Receiver => hint::spin_loop(),
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Sender,
    Receiver,
}

/// Where this process has mapped the ring's memory.
fn mappings_of(ring: &Ring) -> Vec<usize> {
    let inode = fs::File::from(ring.fd().try_clone_to_owned().unwrap()).metadata().unwrap().ino().to_string();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let lines = maps.lines().filter(|line| line.split_whitespace().nth(4) == Some(&inode));
    lines.map(|line| usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap()).collect()
}

/// Makes that page inaccessible, or any; `None` if something is there.
fn guard(page: Option<usize>) -> Option<NonNull<c_void>> {
    let (bytes, page) = (NonZeroUsize::new(PAGE)?, page.and_then(NonZeroUsize::new));
    let fixed = if page.is_some() { MapFlags::MAP_FIXED_NOREPLACE } else { MapFlags::empty() };
    // SAFETY: the flag keeps whatever is mapped there; without it the kernel chooses a free page.
    unsafe { mmap_anonymous(page, bytes, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE | fixed) }.ok()
}

fn is_inaccessible(page: usize) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).unwrap());
        (start..end).contains(&page) && rest.starts_with("---")
    })
}

fn unguard(page: NonNull<c_void>) {
    // SAFETY: the page was mapped by `guard`, and nobody uses it.
    unsafe { munmap(page, PAGE) }.unwrap();
}

/// Steele, Lea and Flood's SplitMix: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

// ---- A peer that is killed: this test program, started again for one part ----

const PART: &str = "RING_PART";
const KILLS: u64 = if cfg!(debug_assertions) { 40 } else { 1000 };
const LARGE_BYTES: usize = 64 << 10; // Long enough to be killed in the middle of.
const AT_MOST: Duration = Duration::from_millis(20);

/// No test by itself: what a peer does, in a process of its own, with the ring's memory as its standard input.
#[test]
fn plays_a_part() {
    let Ok(part) = env::var(PART) else { return };
    set_pdeathsig(Signal::SIGKILL).unwrap(); // Nothing else would end it if the test fails before it kills.
    let ring = Ring::attach(stdin().as_fd().try_clone_to_owned().unwrap()).unwrap();
    let bytes = ring.message_bytes();
    match part.as_str() {
        "sends" => {
            let mut sender = ring.sender().unwrap();
            (0..).find(|number| sender.send(&filled(*number, bytes)).is_err());
        }
        "sends one" => {
            let mut sender = ring.sender().unwrap();
            sender.send(&filled(0, bytes)).unwrap();
            thread::park();
        }
        "attacks as a sender" => attack_for_ever(Part::Sender, &ring),
        "attacks as a receiver" => attack_for_ever(Part::Receiver, &ring),
        "receives" => {
            let (mut receiver, mut buffer) = (ring.receiver().unwrap(), vec![0; bytes]);
            while receiver.receive(&mut buffer).is_ok() {}
        }
        other => panic!("no part is called {other}"),
    }
}

/// With the role claimed as an honest peer would, so that its death can be noticed.
fn attack_for_ever(part: Part, ring: &Ring) {
    let region = SharedRegion::from_fd(ring.fd().try_clone_to_owned().unwrap()).unwrap();
    let _role: Box<dyn Send> = match part {
        Part::Sender => Box::new(ring.sender().unwrap()),
        Part::Receiver => Box::new(ring.receiver().unwrap()),
    };
    attack(&region, part, std::process::id().into(), &AtomicBool::new(false));
}

fn start(ring: &Ring, part: &str) -> Child {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "plays_a_part", "--nocapture", "--test-threads", "1"]).env(PART, part);
    command.stdin(Stdio::from(ring.fd().try_clone_to_owned().unwrap())).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
}

#[test]
fn who_receives_from_a_killed_process_gets_all_it_had_sent_and_then_an_answer() {
    let mut random = Random(1);
    for _ in 0..KILLS {
        let ring = Ring::new(4, LARGE_BYTES).unwrap();
        let child = start(&ring, "sends");
        let mut receiver = ring.receiver().unwrap();
        let mut received = 0;
        let moment = 1 + random.below(30);
        while received < moment {
            received = receive_whole(&mut receiver, received).unwrap();
        }
        (0..random.below(100_000)).for_each(|_| hint::spin_loop()); // The moment is any, in the middle of a message too.
        kill(child);
        let end = loop {
            match receive_whole(&mut receiver, received) {
                Ok(next) => received = next,
                Err(error) => break error,
            }
        };
        assert_eq!(end, Error::PeerGone);
    }
}

fn receive_whole(receiver: &mut Receiver, number: u64) -> Result<u64, Error> {
    let mut buffer = vec![0; LARGE_BYTES];
    loop {
        match receiver.receive_timeout(&mut buffer, AT_MOST) {
            Err(Error::TimedOut) => {} // It may not have started yet, or not get the CPU.
            Err(error) => return Err(error),
            Ok(length) => {
                assert!(buffer[..length] == filled(number, LARGE_BYTES), "message {number} is not as it was sent");
                return Ok(number + 1);
            }
        }
    }
}

#[test]
fn who_sends_to_a_killed_process_gets_an_answer() {
    let mut random = Random(2);
    for _ in 0..KILLS {
        let ring = Ring::new(4, LARGE_BYTES).unwrap();
        let child = start(&ring, "receives");
        let mut sender = ring.sender().unwrap();
        let message = filled(0, LARGE_BYTES);
        (0..5 + random.below(30)).for_each(|_| sender.send(&message).unwrap()); // More than fit: it has received one.
        (0..random.below(100_000)).for_each(|_| hint::spin_loop());
        kill(child);
        let end = (0..=4).find_map(|_| sender.send_timeout(&message, AT_MOST).err());
        assert_eq!(end, Some(Error::PeerGone), "after the kill at most four more fit");
    }
}

#[test]
fn who_sleeps_without_a_time_out_learns_that_the_peer_was_killed() {
    let ring = Ring::new(4, 64).unwrap();
    let child = start(&ring, "sends one");
    let mut receiver = ring.receiver().unwrap();
    let mut buffer = [0; 64];
    assert_eq!(receiver.receive(&mut buffer), Ok(64));
    thread::scope(|s| {
        s.spawn(|| kill(child));
        assert_eq!(receiver.receive(&mut buffer), Err(Error::PeerGone)); // Nobody rings: it looks by itself.
    });
    assert_eq!(receiver.try_receive(&mut buffer), Err(Error::PeerGone), "once known, it stays so");
}

/// Signals end a sleep early, each time; so who gets many never sleeps for long.
#[test]
fn who_sleeps_among_signals_learns_that_the_peer_was_killed() {
    extern "C" fn does_nothing(_: libc::c_int) {}
    const MOST: u32 = 2000;
    let action = SigAction::new(SigHandler::Handler(does_nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing at all.
    unsafe { sigaction(Signal::SIGUSR2, &action) }.unwrap();
    let ring = Ring::new(4, 64).unwrap();
    let child = start(&ring, "sends one");
    let mut receiver = ring.receiver().unwrap();
    receiver.spin_at_most(0);
    let mut buffer = [0; 64];
    assert_eq!(receiver.receive(&mut buffer), Ok(64));
    kill(child);
    // SAFETY: it only names the calling thread.
    let (sleeper, answered) = (unsafe { libc::pthread_self() }, AtomicBool::new(false));
    thread::scope(|s| {
        let signals = s.spawn(|| {
            let sends = |_: &u32| {
                thread::park_timeout(Duration::from_millis(1)); // Their pace: far faster than it looks by itself.
                // SAFETY: the sleeper lives until this thread was joined.
                unsafe { libc::pthread_kill(sleeper, libc::SIGUSR2) };
                answered.load(Relaxed)
            };
            (0..MOST).find(sends)
        });
        assert_eq!(receiver.receive(&mut buffer), Err(Error::PeerGone));
        answered.store(true, Relaxed);
        assert!(signals.join().unwrap().is_some(), "no answer as long as there were signals");
    });
}

/// As the threads above, and killed in the middle of it; whatever it wrote last, there is an answer within the time-out.
#[test]
fn a_hostile_process_that_is_killed_costs_the_connection_and_no_more() {
    let mut ends = [0_usize; 3];
    for round in 0..KILLS.div_ceil(4) {
        let target = Target::new();
        target.fill();
        let mut random = Random(round);
        let moment = random.below(300);
        if round % 2 == 0 {
            let mut receiver = target.ring.receiver().unwrap();
            let child = start(&target.ring, "attacks as a sender");
            let mut looks = |most: u64| {
                (0..most).find_map(|_| {
                    let mut buffer = [0; MESSAGE_BYTES + 8];
                    let length = match receiver.receive_timeout(&mut buffer, AT_MOST) {
                        Ok(length) => length,
                        Err(error) => return Some(error).filter(|error| *error != Error::TimedOut),
                    };
                    let (message, rest) = buffer.split_at(length);
                    assert!(message.iter().all(|byte| *byte == SENT) && rest.iter().all(|byte| *byte == 0));
                    None
                })
            };
            let before = looks(moment);
            kill(child);
            count(&mut ends, before.or_else(|| looks(SLOTS as u64 + 1)));
        } else {
            let mut sender = target.ring.sender().unwrap();
            let child = start(&target.ring, "attacks as a receiver");
            let mut sends = |most: u64| {
                let send = |_| sender.send_timeout(&[SENT; MESSAGE_BYTES], AT_MOST).err();
                (0..most).find_map(send).filter(|error| *error != Error::TimedOut)
            };
            let before = sends(moment);
            kill(child);
            count(&mut ends, before.or_else(|| sends(SLOTS as u64 + 1)));
        }
    }
    assert!(ends[0] > 0, "it never came to the worst: {ends:?}");
}

/// The seals keep the size, not the contents: a hole reads as zeros, in the header and in the slots.
#[test]
fn a_peer_that_punches_holes_costs_the_connection() {
    let ring = Ring::new(4, 64).unwrap();
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    sender.send(b"first").unwrap();
    assert_eq!(receiver.receive(&mut [0; 64]), Ok(5));
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(ring.fd(), flags, 0, 1 << 20).unwrap();
    assert_eq!(receiver.receive(&mut [0; 64]), Err(Error::Corrupt));
    let end = (0..100).find_map(|_| sender.send_timeout(b"more", Duration::ZERO).err());
    assert!(end.is_some(), "it takes no more than there are slots");
}

#[test]
fn a_killed_senders_role_stays_taken() {
    let ring = Ring::new(1, 64).unwrap();
    let child = start(&ring, "sends one");
    ring.receiver().unwrap().receive(&mut [0; 64]).unwrap();
    let second: Result<Sender, _> = ring.sender();
    assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    kill(child);
    assert_eq!(ring.sender().unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
}
