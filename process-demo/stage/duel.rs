//! Two sides that send a message back and forth, one at a time: a rival in a contest.
//!
//! Whoever compares mechanisms brings the two endpoints. Here is the rest: a peer, in a thread or in a process, that is
//! pinned and echoes; messages that are numbered, and checked by both sides; whose turn it is; and an orderly stop.
//!
//! ```
//! use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
//! use process_demo::duel::{BYTES, Between, Duels, Endpoint, Message};
//! use shared::measure::{Contest, Timing};
//! use shared::{Effort, Placement::SameCpu};
//!
//! struct Pipes(PipeReader, PipeWriter);
//!
//! impl Endpoint for Pipes {
//!     fn send(&mut self, message: Message) -> anyhow::Result<()> {
//!         Ok(self.1.write_all(&message.to_bytes())?)
//!     }
//!
//!     fn receive(&mut self) -> anyhow::Result<Message> {
//!         let mut bytes = [0; BYTES];
//!         self.0.read_exact(&mut bytes)?;
//!         Ok(Message::from_bytes(bytes))
//!     }
//! }
//!
//! // SAFETY: the endpoints are descriptors; nothing is in shared memory.
//! let duels = unsafe { Duels::new() };
//! let mut contest = Contest::new("64 bytes there and back", "who talks", Timing::Batches);
//! for between in [Between::Nobody, Between::Threads, Between::Processes] {
//!     contest.add(duels.rival("pipe", between, SameCpu, || {
//!         let ((from_peer, to_us), (from_us, to_peer)) = (pipe()?, pipe()?);
//!         Ok((Pipes(from_peer, to_peer), Pipes(from_us, to_us)))
//!     }));
//! }
//! let measured = contest.measure(Effort::Quick).unwrap();
//! let median_ns = |label| measured.figures(label, SameCpu).unwrap().median().value;
//! assert!(median_ns("pipe, alone") < median_ns("pipe, threads").min(median_ns("pipe, processes")));
//! let tally = duels.tally();
//! assert_eq!([tally.rows, tally.ended_well, tally.in_place], [3; 3]);
//! assert_eq!([tally.returned, tally.seen_by_peer], [tally.sent; 2]);
//! ```

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, ensure};
use nix::sched::sched_getcpu;
use nix::unistd::Pid;
use shared::measure::{PinTo, Pinning, Ready, Rival};
use shared::number::count;
use shared::{Placement, Stage};

use crate::child::{Child, Exit, fork};

/// Of a message: one cache line on most machines.
pub const BYTES: usize = 64;

/// The same in words.
pub const WORDS: usize = BYTES / size_of::<u64>();

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message(pub [u64; WORDS]);

impl Message {
    /// Tells the peer to say what it saw, and to end. No numbered message has two words alike.
    const STOP: Message = Message([u64::MAX; WORDS]);

    /// The peer's answer to a message that it did not expect.
    const WRONG: Message = Message([0; WORDS]);

    /// The message of that number: no other has any of its words at the same place.
    pub fn numbered(number: u64) -> Message {
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15; // Odd, so different numbers give different words, in all bits.
        Message(std::array::from_fn(|index| number.wrapping_add(index as u64).wrapping_mul(SPREAD)))
    }

    /// For what carries bytes.
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(self.0.map(u64::to_ne_bytes).as_flattened());
        bytes
    }

    /// The message that was sent as these.
    pub fn from_bytes(bytes: [u8; BYTES]) -> Message {
        let words = bytes.as_chunks().0;
        Message(std::array::from_fn(|index| u64::from_ne_bytes(words[index])))
    }
}

/// One of the two ends of a mechanism. Its calls wait, and fail once the other end is gone, if the mechanism tells.
pub trait Endpoint: Send + 'static {
    /// Sends a message.
    ///
    /// # Errors
    /// What the mechanism says.
    fn send(&mut self, message: Message) -> Result<()>;

    /// Waits for the next message.
    ///
    /// # Errors
    /// What the mechanism says.
    fn receive(&mut self) -> Result<Message>;

    /// Takes what only the process that uses this end may take. It may be called again, and then does nothing.
    ///
    /// # Errors
    /// If that is refused.
    fn claim(&mut self) -> Result<()> {
        Ok(())
    }

    /// For those that must know the other side's process.
    fn meet(&mut self, _peer: Pid) {}

    /// Of a mechanism whose peer does not sleep while it waits.
    fn gate(&self) -> Option<Gate> {
        None
    }
}

/// Sends a peer to sleep when the turn of its row ends, and wakes it when one begins.
pub type Gate = Rc<dyn Fn(Turn)>;

/// What a gate is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Another row was measured; now it is this one.
    Begins,
    /// From now on another row is measured.
    Ends,
}

/// Who talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// The baseline: the same calls by one thread, which has both ends and nobody to wait for.
    Nobody,
    /// Two threads of this process.
    Threads,
    /// This process and a child.
    Processes,
}

impl Between {
    /// What the row of that mechanism is called.
    pub fn label(self, mechanism: &str) -> String {
        let who = match self {
            Between::Nobody => "alone",
            Between::Threads => "threads",
            Between::Processes => "processes",
        };
        format!("{mechanism}, {who}")
    }
}

/// What the rows of one demonstration share: which of them has the turn, and what came of them all.
pub struct Duels {
    rows: Cell<usize>,
    /// The row that has the turn, from 1, and its gate.
    turn_of: Cell<usize>,
    gate: RefCell<Option<Gate>>,
    tally: Cell<Tally>,
}

/// What was exchanged in the rows that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that sent anything.
    pub rows: u64,
    /// Messages.
    pub sent: u64,
    /// Those that came back as they were sent.
    pub returned: u64,
    /// Those that the peer saw whole and in order.
    pub seen_by_peer: u64,
    /// Rows whose peer ended by itself when it was told to.
    pub ended_well: u64,
    /// Rows whose two sides were seen where they belong: on their CPUs, if they have any.
    pub in_place: u64,
}

impl Duels {
    /// None yet.
    ///
    /// # Safety
    /// After a fork both processes have a copy of both endpoints, and each drops the one that it does not use. So
    /// dropping a copy must take nothing away that the other process still uses in memory that both share.
    pub unsafe fn new() -> Duels {
        Duels { rows: Cell::default(), turn_of: Cell::default(), gate: RefCell::default(), tally: Cell::default() }
    }

    /// A row. The first of the two ends is this side's.
    pub fn rival<'a, E: Endpoint>(
        &'a self,
        mechanism: &str,
        between: Between,
        placement: Placement,
        open: impl FnOnce() -> Result<(E, E)> + 'a,
    ) -> Rival<'a> {
        let label = between.label(mechanism);
        let prepare = move |pinning| {
            let mut duel = Duel::start(self, between, pinning, open()?)?;
            let children = duel.child().into_iter().collect();
            Ok(Ready::with_children(move |steps| duel.turn(steps), children))
        };
        match between {
            Between::Processes => Rival::of_processes(label, placement, prepare),
            Between::Nobody | Between::Threads => Rival::of_threads(label, placement, prepare),
        }
    }

    /// What came of the rows that have ended.
    pub fn tally(&self) -> Tally {
        self.tally.get()
    }

    /// The same, as checks of the experiment.
    pub fn tell(&self, stage: &mut Stage) {
        let Tally { rows, sent, returned, seen_by_peer, ended_well, in_place } = self.tally();
        let checks = [
            ("Every message came back as it was sent", returned, sent, "messages"),
            ("Every message reached its peer whole and in order", seen_by_peer, sent, "messages"),
            ("Every peer ended by itself when it was told to", ended_well, rows, "rows"),
            ("Both sides of every row were seen on the CPUs that they were pinned to", in_place, rows, "rows"),
        ];
        for (says, right, all, unit) in checks {
            stage.check(says, right == all && all > 0, format!("{} of {} {unit}", count(right), count(all)));
        }
    }

    /// Cheap for the row that has the turn: it is asked before every message.
    fn give_turn_to(&self, row: usize, gate: Option<&Gate>) {
        if self.turn_of.replace(row) != row {
            if let Some(before) = self.gate.replace(gate.cloned()) {
                before(Turn::Ends);
            }
            gate.inspect(|gate| gate(Turn::Begins));
        }
    }
}

/// The side that asks, and is timed. Dropping it stops its peer.
pub struct Duel<'a, E: Endpoint> {
    duels: &'a Duels,
    row: usize,
    endpoint: E,
    peer: Option<Peer<E>>,
    gate: Option<Gate>,
    pinning: Pinning,
    own_cpu: Option<usize>,
    sent: u64,
    returned: u64,
}

enum Peer<E> {
    Nobody(E),
    Thread(JoinHandle<Result<()>>),
    Process(Child),
}

impl<'a, E: Endpoint> Duel<'a, E> {
    /// Starts the peer. It waits for messages until this is dropped.
    ///
    /// # Errors
    /// What the endpoints refuse, and EAGAIN or ENOMEM if there can be no peer.
    pub fn start(duels: &'a Duels, between: Between, pinning: Pinning, ends: (E, E)) -> Result<Duel<'a, E>> {
        let (mut endpoint, mut theirs) = ends;
        if between != Between::Processes {
            endpoint.claim()?; // Both before a thread starts: what is refused leaves nobody waiting.
            theirs.claim()?;
        }
        let mut endpoint = Some(endpoint);
        let peer = match between {
            Between::Nobody => Peer::Nobody(theirs),
            Between::Threads => {
                let thread = Builder::new().spawn(move || echo(theirs, pinning));
                Peer::Thread(thread.context("starting a thread")?)
            }
            Between::Processes => {
                let work = || {
                    drop(endpoint.take()); // The child's copy: what it never closes, it can never see closed.
                    u8::from(echo(theirs, pinning).is_err())
                };
                // SAFETY: of what exists twice now, the child uses and drops the endpoints, as `Duels::new` allows.
                Peer::Process(unsafe { fork(work) }.context("starting a process")?)
            }
        };
        let mut endpoint = endpoint.context("the parent keeps its own end")?;
        if let Peer::Process(child) = &peer {
            endpoint.meet(child.pid());
            endpoint.claim()?;
        }
        duels.rows.set(duels.rows.get() + 1);
        let (row, gate) = (duels.rows.get(), endpoint.gate());
        Ok(Duel { duels, row, endpoint, peer: Some(peer), gate, pinning, own_cpu: None, sent: 0, returned: 0 })
    }

    /// The process of the peer, if it has one of its own.
    pub fn child(&self) -> Option<Pid> {
        if let Some(Peer::Process(child)) = &self.peer { Some(child.pid()) } else { None }
    }

    /// Sends so many messages, each after the answer to the one before; how many came back as they were sent.
    ///
    /// # Errors
    /// What the mechanism says.
    pub fn turn(&mut self, steps: u64) -> Result<u64> {
        self.duels.give_turn_to(self.row, self.gate.as_ref());
        if self.sent == 0 {
            self.own_cpu = sched_getcpu().ok(); // Once: it is pinned alike at every turn.
        }
        let mut right = 0;
        for _ in 0..steps {
            let message = Message::numbered(self.sent);
            self.endpoint.send(message)?;
            self.sent += 1;
            if let Some(Peer::Nobody(other)) = &mut self.peer {
                let seen = other.receive()?;
                other.send(seen)?;
            }
            right += u64::from(self.endpoint.receive()? == message);
        }
        self.returned += right;
        Ok(right)
    }

    /// How many messages the peer saw, and the CPU on which it did.
    fn stop(&mut self) -> Result<(u64, Option<usize>)> {
        // A peer that lost or changed a message may be gone, and not every mechanism tells.
        ensure!(self.returned == self.sent, "the peer has failed");
        if let Some(Peer::Nobody(_)) = self.peer {
            return Ok((self.returned, self.own_cpu));
        }
        self.duels.give_turn_to(self.row, self.gate.as_ref());
        self.endpoint.send(Message::STOP)?;
        let Message([seen, cpu, ..]) = self.endpoint.receive()?;
        Ok((seen, usize::try_from(cpu).ok()))
    }
}

impl<E: Endpoint> Drop for Duel<'_, E> {
    /// Closing our end would not do: children that were forked later have copies of it, so the peer would wait on.
    fn drop(&mut self) {
        let stopped = self.stop();
        let ended_well = match self.peer.take() {
            _ if stopped.is_err() => false, // It does not listen. A process is killed now, a thread ends with this one.
            Some(Peer::Thread(thread)) => matches!(thread.join(), Ok(Ok(()))),
            Some(Peer::Process(child)) => matches!(child.wait(), Ok(Exit::Code(0))),
            Some(Peer::Nobody(_)) | None => true,
        };
        if self.sent == 0 {
            return; // Its first message was refused: it is a skipped row, and has nothing to tell.
        }
        let (seen_by_peer, peer_cpu) = stopped.unwrap_or_default();
        let is_there = |pin_to, seen: Option<usize>| pin_to == PinTo::Anywhere || seen.map(PinTo::Cpu) == Some(pin_to);
        let in_place = is_there(self.pinning.own, self.own_cpu) && is_there(self.pinning.peer, peer_cpu);
        let before = self.duels.tally.get();
        self.duels.tally.set(Tally {
            rows: before.rows + 1,
            sent: before.sent + self.sent,
            returned: before.returned + self.returned,
            seen_by_peer: before.seen_by_peer + seen_by_peer,
            ended_well: before.ended_well + u64::from(ended_well),
            in_place: before.in_place + u64::from(in_place),
        });
    }
}

/// The peer: it answers each message with itself, and the last one with what it saw.
fn echo(mut endpoint: impl Endpoint, pinning: Pinning) -> Result<()> {
    let done = echo_until_stopped(&mut endpoint, pinning);
    if done.is_err() {
        let _ = endpoint.send(Message::WRONG); // Or the other side would wait for ever, where nothing tells of an end.
    }
    done
}

fn echo_until_stopped(endpoint: &mut impl Endpoint, pinning: Pinning) -> Result<()> {
    let _pinned = pinning.peer.pin()?;
    endpoint.claim()?;
    let mut seen = 0;
    loop {
        let message = endpoint.receive()?;
        if message == Message::numbered(seen) {
            seen += 1;
            endpoint.send(message)?;
        } else if message == Message::STOP {
            return endpoint.send(Message([seen, sched_getcpu()? as u64, 0, 0, 0, 0, 0, 0]));
        } else {
            endpoint.send(Message::WRONG)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};

    use shared::measure::{Budget, Contest, SystemClock, Timing};

    use super::*;

    /// Two channels between threads, which may change what is sent.
    struct Channels {
        to: Sender<Message>,
        from: Receiver<Message>,
        change: fn(Message) -> Message,
        seen_of_gate: Option<Arc<Mutex<Vec<Turn>>>>,
    }

    impl Endpoint for Channels {
        fn send(&mut self, message: Message) -> Result<()> {
            Ok(self.to.send((self.change)(message))?)
        }

        fn receive(&mut self) -> Result<Message> {
            let message = self.from.recv()?;
            ensure!(message.0[1] != u64::MAX - 1, "refused to receive this");
            Ok(message)
        }

        fn gate(&self) -> Option<Gate> {
            let seen = self.seen_of_gate.clone()?;
            Some(Rc::new(move |turn| seen.lock().unwrap().push(turn)))
        }
    }

    fn ends(change: [fn(Message) -> Message; 2]) -> (Channels, Channels) {
        let ((to_peer, from_us), (to_us, from_peer)) = (channel(), channel());
        let end = |to, from, change| Channels { to, from, change, seen_of_gate: None };
        (end(to_peer, from_peer, change[0]), end(to_us, from_us, change[1]))
    }

    const UNCHANGED: fn(Message) -> Message = |message| message;

    /// Of a contest of one row, with messages that are changed on their way; the error, if it came to one.
    fn measured(change: [fn(Message) -> Message; 2]) -> (Tally, Option<String>) {
        // SAFETY: nothing is forked here.
        let duels = unsafe { Duels::new() };
        let mut contest = Contest::new("one", "nothing", Timing::Events);
        contest.add(duels.rival("channels", Between::Threads, Placement::Free, || Ok(ends(change))));
        let budget = Budget { rounds: 2, time_ns: 0, sample_ns: 0, events: 2, warm_up_ns: 0 };
        let error = contest.measure_with(&SystemClock, &budget).err();
        (duels.tally(), error.map(|error| format!("{error:#}")))
    }

    #[test]
    fn every_message_is_counted_on_both_sides() {
        let (tally, error) = measured([UNCHANGED, UNCHANGED]);
        assert_eq!(error, None);
        assert!(tally.sent > 0);
        let Tally { sent, .. } = tally;
        let expected = Tally { rows: 1, sent, returned: sent, seen_by_peer: sent, ended_well: 1, in_place: 1 };
        assert_eq!(tally, expected);
    }

    #[test]
    fn a_message_that_is_changed_or_lost_or_refused_ends_the_contest() {
        let flipped: fn(Message) -> Message = |Message(words)| Message(words.map(|word| word ^ 1));
        let next: fn(Message) -> Message = |Message([word, ..])| Message([word; WORDS]);
        let refused: fn(Message) -> Message = |_| Message([u64::MAX - 1; WORDS]);
        for change in [flipped, next, refused] {
            let (tally, error) = measured([change, UNCHANGED]);
            assert!(error.unwrap().contains("0 of 1 operations proved right"));
            assert_eq!((tally.rows, tally.sent, tally.returned, tally.ended_well), (1, 1, 0, 0));
        }
        assert!(measured([UNCHANGED, flipped]).1.unwrap().contains("0 of 1 operations proved right"));
    }

    #[test]
    fn the_gate_of_a_row_closes_when_another_one_has_the_turn() {
        // SAFETY: nothing is forked here.
        let duels = unsafe { Duels::new() };
        let pinning = Pinning { own: PinTo::Anywhere, peer: PinTo::Anywhere };
        let (mut gated, theirs) = ends([UNCHANGED; 2]);
        let seen = Arc::default();
        gated.seen_of_gate = Some(Arc::clone(&seen));
        let mut gated = Duel::start(&duels, Between::Threads, pinning, (gated, theirs)).unwrap();
        let mut other = Duel::start(&duels, Between::Nobody, pinning, ends([UNCHANGED; 2])).unwrap();
        for duel in [&mut gated, &mut other] {
            assert_eq!((duel.turn(3).unwrap(), duel.turn(4).unwrap()), (3, 4));
        }
        assert_eq!(*seen.lock().unwrap(), [Turn::Begins, Turn::Ends]);
        drop(gated);
        assert_eq!(*seen.lock().unwrap(), [Turn::Begins, Turn::Ends, Turn::Begins]); // To be told that it must stop.
    }

    #[test]
    fn no_two_messages_agree_in_any_word_and_none_is_one_of_the_two_that_mean_something_else() {
        let numbers = [0, 1, 2, 3, 12_345, u64::MAX - 1, u64::MAX];
        for (index, number) in numbers.into_iter().enumerate() {
            let message = Message::numbered(number);
            assert_eq!(Message::from_bytes(message.to_bytes()), message);
            assert!(message != Message::STOP && message != Message::WRONG);
            let others = numbers[..index].iter().map(|other| Message::numbered(*other));
            assert!(others.into_iter().all(|other| message.0.iter().zip(other.0).all(|(one, other)| *one != other)));
        }
    }
}
