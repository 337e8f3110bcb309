//! Which mechanisms carry a message, and between whom? One list, from which the comparisons and their legend are made.

pub mod channels;
pub mod kernel;
pub mod memory;

use anyhow::Result;
use process_demo::duel::Between::{self, Nobody, Processes, Threads};
use process_demo::duel::{Duels, Endpoint};
use shared::measure::Rival;
use shared::{Cell, Placement, Table};

use crate::version;
use kernel::{Names, Way};

/// What carries a message.
pub struct Mechanism {
    pub name: &'static str,
    /// What it is made of, exactly.
    made_of: &'static str,
    /// The crate whose work it is, unless it is the standard library's, the kernel's or a snippet's.
    by: Option<&'static str>,
    between: &'static [Between],
    keeps_boundaries: bool,
    /// Whether the reader learns that no writer is left.
    tells_the_end: bool,
    pub waits: Waits,
    open: Open,
}

/// Makes both ends, and so completes a row: for each mechanism they are of a type of its own.
type Open = for<'a> fn(Row<'a>) -> Rival<'a>;

/// What a reader does until there is a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// It sleeps in the kernel, which is asked for each message.
    Asleep,
    /// It looks for a while, and sleeps then.
    Adaptive,
    /// It looks again and again, and lets others run in between.
    Yielding,
    /// It looks again and again.
    Spinning,
}

use Waits::{Adaptive, Asleep, Spinning, Yielding};

pub const PIPE: &str = Way::Pipe.name();
pub const UNIX_STREAM: &str = Way::UnixStream.name();

pub const FUTEX: &str = "futex";
pub const SPIN: &str = "spin";
pub const RING: &str = "ring";
pub const IPC_TYPED: &str = "ipc typed";

/// What threads use instead: they move a value.
pub const CHANNELS: [&str; 6] =
    ["std channel", "crossbeam", "std sync(1)", "crossbeam(1)", "std sync(0)", "crossbeam(0)"];

const T: &[Between] = &[Threads];
const P: &[Between] = &[Processes];
const BOTH: &[Between] = &[Threads, Processes];
const AND_ALONE: &[Between] = &[Nobody, Threads, Processes];

/// In the order in which they stand; like stands beside like.
pub const MECHANISMS: &[Mechanism] = &[
    row(CHANNELS[0], "std::sync::mpsc::channel()", T, Adaptive, |row| row.of(|_| channels::std_unbounded())),
    row(CHANNELS[1], "unbounded()", T, Adaptive, |row| row.of(|_| channels::crossbeam(crossbeam_channel::unbounded)))
        .by("crossbeam-channel"),
    row(CHANNELS[2], "std::sync::mpsc::sync_channel(1)", T, Adaptive, |row| row.of(|_| channels::std_bounded(1))),
    row(CHANNELS[3], "bounded(1)", T, Adaptive, |row| {
        row.of(|_| channels::crossbeam(|| crossbeam_channel::bounded(1)))
    })
    .by("crossbeam-channel"),
    row(CHANNELS[4], "sync_channel(0), a rendezvous", T, Adaptive, |row| row.of(|_| channels::std_bounded(0))),
    row(CHANNELS[5], "bounded(0), a rendezvous", T, Adaptive, |row| {
        row.of(|_| channels::crossbeam(|| crossbeam_channel::bounded(0)))
    })
    .by("crossbeam-channel"),
    row("condvar", "std's Mutex and Condvar around an Option", T, Asleep, |row| row.of(|_| channels::condvar()))
        .untold(),
    row("park", "std::thread::park and Thread::unpark", T, Asleep, |row| row.of(|_| memory::unpark())).untold(),
    kernel(Way::Pipe, "pipe_pair(): std::io::pipe() twice", AND_ALONE, |row| row.of(|_| kernel::pipes())),
    kernel(Way::Fifo, "mkfifo(3) twice, opened and unlinked", BOTH, |row| row.of(|names| Way::Fifo.both_ways(names))),
    kernel(Way::UnixStream, "socket_pair(): UnixStream::pair()", BOTH, |row| row.of(|_| kernel::unix_streams())),
    kernel(Way::UnixDatagram, "socketpair(2), SOCK_DGRAM", BOTH, |row| {
        row.of(|names| Way::UnixDatagram.both_ways(names))
    }),
    kernel(Way::UnixSeqpacket, "socketpair(2), SOCK_SEQPACKET", BOTH, |row| {
        row.of(|names| Way::UnixSeqpacket.both_ways(names))
    }),
    kernel(Way::Tcp, "a connection on loopback, TCP_NODELAY", BOTH, |row| row.of(|names| Way::Tcp.both_ways(names))),
    kernel(Way::Udp, "two connected sockets on loopback", BOTH, |row| row.of(|names| Way::Udp.both_ways(names))),
    kernel(Way::Queue, "mq_open(3) twice, for 10 messages", BOTH, |row| row.of(|names| Way::Queue.both_ways(names))),
    row("eventfd", "Event::counter() twice: a count only", BOTH, Asleep, |row| row.of(|_| memory::events())).untold(),
    row("signal", "sigqueue(3) and sigtimedwait(2)", BOTH, Asleep, |row| row.of(|_| memory::signals())).untold(),
    row("semaphore", "sem_init(3), one in each slot", BOTH, Asleep, |row| row.of(|_| memory::semaphores())).untold(),
    row(FUTEX, "FUTEX_WAKE for each message, FUTEX_WAIT", BOTH, Asleep, |row| {
        row.of(|_| memory::with(|_, _| Ok(memory::Futex)))
    })
    .untold(),
    row("yield", "looking, and sched_yield(2)", BOTH, Yielding, |row| {
        row.of(|_| memory::with(|_, _| Ok(memory::Yield)))
    })
    .untold(),
    row(SPIN, "looking, without a pause", BOTH, Spinning, |row| row.of(|_| memory::with(|_, _| Ok(memory::Spin))))
        .untold(),
    row(RING, "Ring::new(16, 64) twice", AND_ALONE, Adaptive, |row| row.of(|_| channels::rings())),
    row("ipc bytes", "ipc::bytes_channel() twice", P, Asleep, |row| row.of(|_| channels::ipc_bytes()))
        .by("ipc-channel"),
    row(IPC_TYPED, "typed_pair(): ipc::channel() twice", P, Asleep, |row| row.of(|_| channels::ipc_typed()))
        .by("ipc-channel"),
];

/// Of messages that stay whole, and whose reader learns of the end.
const fn row(
    name: &'static str,
    made_of: &'static str,
    between: &'static [Between],
    waits: Waits,
    open: Open,
) -> Mechanism {
    Mechanism { name, made_of, by: None, between, keeps_boundaries: true, tells_the_end: true, waits, open }
}

const fn kernel(way: Way, made_of: &'static str, between: &'static [Between], open: Open) -> Mechanism {
    let (keeps_boundaries, tells_the_end) = (way.keeps_boundaries(), way.tells_the_end());
    Mechanism { keeps_boundaries, tells_the_end, ..row(way.name(), made_of, between, Asleep, open) }
}

impl Mechanism {
    const fn by(self, package: &'static str) -> Mechanism {
        Mechanism { by: Some(package), ..self }
    }

    /// The reader of bare memory: nobody tells it of a writer's end.
    const fn untold(self) -> Mechanism {
        Mechanism { tells_the_end: false, ..self }
    }

    /// Its rows at that placement. Who yields needs the other side on its CPU, who spins must not have it there.
    pub fn rivals<'a>(
        &self,
        placement: Placement,
        duels: &'a Duels,
        names: &'a Names<'a>,
    ) -> impl Iterator<Item = (Between, Rival<'a>)> {
        let elsewhere = match self.waits {
            Yielding => placement != Placement::SameCpu,
            Spinning => placement != Placement::OtherCpu,
            Asleep | Adaptive => false,
        };
        let between = self.between.iter().copied().filter(move |_| !elsewhere);
        between.map(move |between| (between, (self.open)(Row { name: self.name, between, placement, duels, names })))
    }

    pub fn is_for_threads_and_processes(&self) -> bool {
        self.between.ends_with(BOTH)
    }
}

/// A row that lacks nothing but its two ends.
struct Row<'a> {
    name: &'static str,
    between: Between,
    placement: Placement,
    duels: &'a Duels,
    names: &'a Names<'a>,
}

impl<'a> Row<'a> {
    fn of<E: Endpoint>(self, open: fn(&Names<'_>) -> Result<(E, E)>) -> Rival<'a> {
        let Row { name, between, placement, duels, names } = self;
        duels.rival(name, between, placement, move || open(names))
    }
}

/// What each name stands for.
pub fn legend() -> Table {
    let yes_or_no = |is_so| if is_so { Cell::good("yes") } else { Cell::bad("no") };
    let cells = |one: &Mechanism| {
        let made_of = match one.by {
            Some(package) => format!("{package} {}: {}", version::of(package), one.made_of),
            None => one.made_of.to_owned(),
        };
        let waits = match one.waits {
            Asleep => "asleep",
            Adaptive => "spins first",
            Yielding => "yields",
            Spinning => "spins",
        };
        let promises = [one.keeps_boundaries, one.tells_the_end].map(yes_or_no);
        [one.name.into(), made_of.into(), waits.into()].into_iter().chain(promises).collect()
    };
    let columns = ["mechanism", "made of", "reader waits", "whole", "end told"];
    Table::new("The mechanisms, and what they promise", columns, MECHANISMS.iter().map(cells))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use process_demo::duel::BYTES;
    use shared::Placement::{OtherCpu, SameCpu};
    use shared::measure::{Budget, Contest, SystemClock, Timing};

    use super::*;

    fn named(name: &str) -> &'static Mechanism {
        MECHANISMS.iter().find(|one| one.name == name).unwrap()
    }

    /// All but the signals: the test harness has threads that they would end.
    #[test]
    fn each_carries_its_messages_between_threads_and_so_does_each_baseline() {
        let own = format!("mechanisms-{}", std::process::id());
        let directory = std::env::temp_dir().join(&own);
        fs::create_dir(&directory).unwrap();
        let (queue, names) = (format!("/{own}"), |queue| Names { directory: &directory, queue });
        let names = names(&queue);
        // SAFETY: nothing is forked here.
        let duels = unsafe { Duels::new() };
        let mut contest = Contest::new("all", "the mechanism", Timing::Events);
        let mut rows = 0;
        for one in MECHANISMS.iter().filter(|one| one.name != "signal") {
            let placement = if one.waits == Spinning { OtherCpu } else { SameCpu };
            for (_, rival) in one.rivals(placement, &duels, &names).filter(|(between, _)| *between != Processes) {
                contest.add(rival);
                rows += 1;
            }
        }
        let budget = Budget { rounds: 3, time_ns: 0, sample_ns: 0, events: 2, warm_up_ns: 0 };
        let measured = contest.measure_with(&SystemClock, &budget).unwrap();
        fs::remove_dir(&directory).unwrap(); // Empty: no name is left.
        let done =
            measured.rows.iter().filter(|row| measured.figures(&row.name.label, row.placement).is_some()).count();
        let tally = duels.tally();
        assert!(rows > 20 && tally.sent > 0);
        assert_eq!([tally.rows, tally.ended_well, tally.in_place], [done as u64; 3]);
        assert_eq!([tally.returned, tally.seen_by_peer], [tally.sent; 2]);
    }

    #[test]
    fn each_crate_of_the_legend_has_a_version_in_the_lock_file() {
        for name in MECHANISMS.iter().filter_map(|one| one.by) {
            assert_eq!(version::of(name).split('.').count(), 3, "{name}");
        }
    }

    #[test]
    fn the_legend_names_the_sizes_that_are_used() {
        assert_eq!(named(RING).made_of, format!("Ring::new({}, {BYTES}) twice", memory::SLOTS));
        assert_eq!(kernel::QUEUE_MESSAGE_BYTES, BYTES);
        let queue = format!("mq_open(3) twice, for {} messages", kernel::QUEUE_MESSAGES);
        assert_eq!(named(Way::Queue.name()).made_of, queue);
    }

    #[test]
    fn names_are_unique_and_short_enough_for_a_line() {
        const ROOM: usize = 25; // What the figures leave of 80 columns.
        for (index, mechanism) in MECHANISMS.iter().enumerate() {
            let widest = mechanism.between.iter().map(|between| between.label(mechanism.name).len()).max();
            assert!(widest.is_some_and(|widest| widest <= ROOM), "{}", mechanism.name);
            assert!(MECHANISMS[..index].iter().all(|other| other.name != mechanism.name), "{}", mechanism.name);
        }
    }
}
