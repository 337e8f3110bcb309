//! Which mechanisms carry a message, and between whom? One list, from which the comparisons and their legend are made.

use shared::Placement::{self, Free, OtherCpu, SameCpu};
use shared::measure::Rival;
use shared::{Cell, Column, RowRole, Table};

use super::bench::Bench;
use super::exchange::{self, End, Pair};
use super::{
    condvar, crossbeam, event, fifo, futex, ipc_channel, mpsc, park, pipe, queue, remote, ring, semaphore, signal,
    socket, spin,
};
use crate::link::Way;
use crate::version;

/// A way for a message, and the rows in which it is measured.
pub struct Mechanism {
    pub name: &'static str,
    /// By what it is made, exactly.
    what: &'static str,
    /// The crate whose work it is, unless it is the standard library's, the kernel's or a snippet's.
    by: Option<&'static str>,
    between: &'static [Between],
    on: &'static [Placement],
    rival: for<'a> fn(Draft<'a>) -> Rival<'a>,
}

/// Who talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    Threads,
    Processes,
    /// The same calls, and no other party: the control.
    Nobody,
}

use Between::{Nobody, Processes, Threads};

const T: &[Between] = &[Threads];
const P: &[Between] = &[Processes];
const BOTH: &[Between] = &[Threads, Processes];
const AND_ALONE: &[Between] = &[Nobody, Threads, Processes];

const PINNED: &[Placement] = &[SameCpu, OtherCpu];
const EVERYWHERE: &[Placement] = &[SameCpu, OtherCpu, Free];

pub const PIPE: &str = "pipe";
pub const RING: &str = "ring";
pub const SPIN: &str = "spin";
pub const YIELD: &str = "yield";
pub const FUTEX: &str = "futex";

const UNIX_STREAM: &str = "Unix stream";

/// The rows that a reader sees in short: what is copied most, each between threads and between processes where it can be.
const SHOWN: [&str; 5] = [RING, CHANNELS[3], FUTEX, PIPE, UNIX_STREAM];

/// What threads use instead.
pub const CHANNELS: [&str; 6] =
    ["std channel", "crossbeam", "std sync(1)", "crossbeam(1)", "std sync(0)", "crossbeam(0)"];

/// In the order in which they stand; like stands beside like.
pub const MECHANISMS: &[Mechanism] = &[
    row(CHANNELS[0], "std::sync::mpsc::channel()", T, PINNED, |at| at.rival(|_| Ok(mpsc::unbounded()))),
    row(CHANNELS[1], "crossbeam_channel::unbounded()", T, PINNED, |at| at.rival(|_| Ok(crossbeam::unbounded())))
        .of("crossbeam-channel"),
    row(CHANNELS[2], "std::sync::mpsc::sync_channel(1)", T, PINNED, |at| at.rival(|_| Ok(mpsc::bounded(1)))),
    row(CHANNELS[3], "crossbeam_channel::bounded(1)", T, EVERYWHERE, |at| at.rival(|_| Ok(crossbeam::bounded(1))))
        .of("crossbeam-channel"),
    row(CHANNELS[4], "std::sync::mpsc::sync_channel(0), a rendezvous", T, PINNED, |at| {
        at.rival(|_| Ok(mpsc::bounded(0)))
    }),
    row(CHANNELS[5], "crossbeam_channel::bounded(0), a rendezvous", T, PINNED, |at| {
        at.rival(|_| Ok(crossbeam::bounded(0)))
    })
    .of("crossbeam-channel"),
    row("condvar", "std::sync::Mutex and Condvar around an Option", T, PINNED, |at| at.rival(|_| Ok(condvar::pair()))),
    row("park", "std::thread::park and Thread::unpark", T, PINNED, |at| at.rival(|_| park::pair())),
    row(PIPE, "pipe_pair(): std::io::pipe() twice", AND_ALONE, EVERYWHERE, |at| at.rival(|_| pipe::pair())),
    row("named FIFO", "fifo: mkfifo(3) twice, opened and then unlinked", BOTH, PINNED, |at| {
        at.rival(|bench| fifo::pair(&bench.directory))
    }),
    row(UNIX_STREAM, "socket_pair(): UnixStream::pair()", BOTH, PINNED, |at| at.rival(|_| socket::stream_pair())),
    row("Unix datagram", "socketpair(AF_UNIX, SOCK_DGRAM)", BOTH, PINNED, |at| {
        at.rival(|bench| socket::pair(Way::UnixDatagram, bench))
    }),
    row("Unix seqpacket", "socketpair(AF_UNIX, SOCK_SEQPACKET)", BOTH, PINNED, |at| {
        at.rival(|bench| socket::pair(Way::UnixSeqpacket, bench))
    }),
    row("TCP", "one connection on loopback, with TCP_NODELAY", BOTH, PINNED, |at| at.rival(socket::tcp_pair)),
    row("UDP", "two connected sockets on loopback", BOTH, PINNED, |at| at.rival(|bench| socket::pair(Way::Udp, bench))),
    row("POSIX queue", "MessageQueue::create(name, 1, 64) twice", BOTH, PINNED, |at| {
        at.rival(|bench| queue::pair(&bench.queue))
    }),
    row("eventfd", "Event::counter() twice; it carries a count only", BOTH, PINNED, |at| at.rival(|_| event::pair())),
    row("signal", "queued_signal: sigqueue(3) and sigtimedwait(2)", BOTH, PINNED, |at| at.rival(|_| signal::pair())),
    row("semaphore", "sem_init(3) for processes, at each place of a message", BOTH, PINNED, |at| {
        at.rival(|_| semaphore::pair())
    }),
    row(FUTEX, "FUTEX_WAKE for each message, FUTEX_WAIT at once", BOTH, PINNED, |at| at.rival(|_| futex::pair())),
    row(YIELD, "looking again and again, and sched_yield(2)", BOTH, &[SameCpu], |at| {
        at.rival(|_| spin::yielding_pair())
    }),
    row(SPIN, "looking again and again, without a pause", BOTH, &[OtherCpu], |at| at.rival(|_| spin::pair())),
    row(RING, "Ring::new(16, 64) twice; spins, then a futex", AND_ALONE, EVERYWHERE, |at| at.rival(|_| ring::pair())),
    row("vm_writev", "process_vm_writev there, process_vm_readv back; a futex tells when", P, PINNED, |at| {
        at.rival(|_| remote::pair())
    }),
    row("ipc bytes", "ipc_channel::ipc::bytes_channel() twice", P, PINNED, |at| {
        at.rival(|_| ipc_channel::bytes_ends())
    })
    .of("ipc-channel"),
    row("ipc typed", "typed_pair(): ipc_channel::ipc::channel() twice", P, PINNED, |at| {
        at.rival(|_| ipc_channel::typed_ends())
    })
    .of("ipc-channel"),
];

const fn row(
    name: &'static str,
    what: &'static str,
    between: &'static [Between],
    on: &'static [Placement],
    rival: for<'a> fn(Draft<'a>) -> Rival<'a>,
) -> Mechanism {
    Mechanism { name, what, by: None, between, on, rival }
}

impl Mechanism {
    const fn of(self, by: &'static str) -> Mechanism {
        Mechanism { by: Some(by), ..self }
    }

    /// Its rows at that placement, but for the control: nobody is no rival.
    pub fn rivals<'a>(&self, placement: Placement, bench: &'a Bench) -> Vec<Rival<'a>> {
        let parties = self.between.iter().filter(|between| **between != Nobody && self.on.contains(&placement));
        parties.map(|between| self.rival(*between, placement, bench)).collect()
    }

    /// One row, wherever the list puts it.
    pub fn rival<'a>(&self, between: Between, placement: Placement, bench: &'a Bench) -> Rival<'a> {
        let row = (self.rival)(Draft { label: label(self.name, between), between, placement, bench });
        let row = if SHOWN.contains(&self.name) { row } else { row.in_detail() };
        match (between, self.name) {
            (Nobody, _) => row,
            (_, SPIN | YIELD) => row.known_as(self.name, RowRole::Busy),
            (Threads, _) => row.known_as(self.name, RowRole::Threads),
            (Processes, _) => row.known_as(self.name, RowRole::Processes),
        }
    }

    pub fn is_for_both(&self) -> bool {
        self.between == BOTH
    }

    /// Whether each message takes a system call, which carries it or wakes its reader.
    pub fn asks_the_kernel(&self) -> bool {
        ![RING, SPIN, YIELD].contains(&self.name)
    }
}

pub fn label(name: &str, between: Between) -> String {
    let who = match between {
        Threads => "threads",
        Processes => "processes",
        Nobody => "alone",
    };
    format!("{name}, {who}")
}

pub fn named(name: &str) -> Option<&'static Mechanism> {
    MECHANISMS.iter().find(|mechanism| mechanism.name == name)
}

/// A row that only lacks its ends.
pub struct Draft<'a> {
    label: String,
    between: Between,
    placement: Placement,
    bench: &'a Bench,
}

impl<'a> Draft<'a> {
    fn rival<E: End>(self, pair: Pair<E>) -> Rival<'a> {
        let Draft { label, between, placement, bench } = self;
        match between {
            Threads => exchange::threads(label, placement, bench, pair),
            Processes => exchange::processes(label, placement, bench, pair),
            Nobody => exchange::alone(label, placement, bench, pair),
        }
    }
}

/// What each name stands for.
pub fn legend() -> Table {
    let version = |mechanism: &Mechanism| match mechanism.by {
        None => Cell::Nothing,
        Some(name) => Cell::Text(version::of(name).to_owned()),
    };
    let row = |mechanism: &Mechanism| {
        vec![Cell::Text(mechanism.name.to_owned()), Cell::Text(mechanism.what.to_owned()), version(mechanism)]
    };
    Table {
        title: "The mechanisms".to_owned(),
        columns: vec![Column::label("mechanism"), Column::label("made of"), Column::label("version")],
        rows: MECHANISMS.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use shared::measure::{Budget, Contest, SystemClock, Timing};

    use super::super::desk::PLACES;
    use super::super::message::BYTES;
    use super::*;

    #[test]
    fn every_crate_of_the_legend_has_a_version_in_the_lock_file() {
        for name in MECHANISMS.iter().filter_map(|mechanism| mechanism.by) {
            assert_eq!(version::of(name).split('.').count(), 3, "{name}");
        }
    }

    /// All but the signals: the test harness has threads that they would end.
    #[test]
    fn every_way_between_threads_carries_its_messages_and_so_does_each_control() {
        let own = format!("round-trip-{}", std::process::id());
        let directory = std::env::temp_dir().join(&own);
        fs::create_dir(&directory).unwrap();
        let bench = Bench { directory: directory.clone(), queue: format!("/{own}"), ..Bench::default() };
        let mut contest = Contest::new("all", "the way", Timing::Events);
        let mut controls = 0;
        for way in MECHANISMS.iter().filter(|way| way.name != "signal") {
            for between in way.between.iter().filter(|between| **between != Processes) {
                controls += usize::from(*between == Nobody);
                contest.add(way.rival(*between, Free, &bench));
            }
        }
        let budget = Budget { rounds: 3, time_ns: 0, sample_ns: 0, events: 2, warm_up_ns: 0 };
        let measured = contest.measure_with(&SystemClock, &budget).unwrap();
        fs::remove_dir(&directory).unwrap(); // Empty: no name is left.
        let done =
            measured.rows.iter().filter(|row| measured.figures(&row.name.label, row.placement).is_some()).count();
        let rows = bench.rows.borrow();
        assert_eq!(done, rows.len() + controls);
        for row in rows.iter() {
            assert!(row.sent > 0 && row.returned == row.sent && row.seen_by_peer == row.sent, "{row:?}");
            assert!(row.peer_ended_well, "{row:?}");
        }
    }

    #[test]
    fn the_legend_names_the_sizes_that_are_used() {
        let says = |name: &str, what: String| assert!(named(name).unwrap().what.starts_with(&what), "{what}");
        says(RING, format!("Ring::new({}, {BYTES}) twice", ring::SLOTS));
        assert_eq!(PLACES, ring::SLOTS);
        says("POSIX queue", format!("MessageQueue::create(name, {}, {BYTES}) twice", queue::MESSAGES));
    }

    #[test]
    fn names_are_unique_and_short_enough_for_a_line() {
        const ROOM: usize = 25; // What the figures leave of 80 columns.
        for (index, mechanism) in MECHANISMS.iter().enumerate() {
            let widest = mechanism.between.iter().map(|between| label(mechanism.name, *between).len()).max();
            assert!(widest.is_some_and(|widest| widest <= ROOM), "{}", mechanism.name);
            assert!(MECHANISMS[..index].iter().all(|other| other.name != mechanism.name), "{}", mechanism.name);
        }
    }
}
