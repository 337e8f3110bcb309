//! How is one way measured? One side sends, a peer in a thread or a process receives, and every message is checked.

use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, ensure};
use ipc_demo::pipe_pair::{PipeEnd, pipe_pair};
use nix::sched::sched_getcpu;
use nix::unistd::{Pid, getpid};
use process_demo::child::{Child, Exit, fork};
use shared::Placement;
use shared::measure::{Pinning, Ready, Rival};

use crate::message::Message;
use crate::tally::{Exchanged, Tally};

/// One end of a way between two parties.
pub trait End {
    /// Waits for room.
    fn send(&mut self, message: Message) -> Result<()>;
    /// Waits for a message.
    fn receive(&mut self) -> Result<Message>;
}

/// A way whose ends are yet to be opened, each by its party: some may not be handed over, or exist in one process only.
pub struct Pair<E> {
    pub own: Opening<E>,
    pub theirs: Opening<E>,
}

pub type Opening<E> = Box<dyn FnOnce() -> Result<E> + Send>;

/// What a row is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Each message comes back before the next one is sent.
    RoundTrip,
    /// One message after the other, and a report once all have arrived.
    OneWay,
}

/// What all rows of a contest have in common.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub course: Course,
    /// So many messages go before the first that is timed, and one more.
    pub untimed: u64,
    pub tally: &'a Tally,
}

/// What the row of that way is called, between two threads.
pub fn in_threads(way: &str) -> String {
    format!("{way}, threads")
}

/// What it is called between two processes.
pub fn in_processes(way: &str) -> String {
    format!("{way}, processes")
}

/// A row between two threads of this process.
pub fn threads<'a, E: End + 'static>(
    way: &str,
    placement: Placement,
    setting: Setting<'a>,
    pair: impl FnOnce() -> Result<Pair<E>> + 'a,
) -> Rival<'a> {
    Rival::of_threads(in_threads(way), placement, move |pinning| {
        let (control, theirs) = pipe_pair()?;
        let Pair { own, theirs: open } = pair()?;
        let peer = Builder::new().spawn(move || serve(open, theirs, pinning, setting.course));
        let peer = Peer::Thread(peer.context("starting a thread")?);
        let mut asker = Asker::start(own()?, control, peer, pinning, setting)?;
        Ok(Ready::new(move |steps| asker.turn(steps)))
    })
}

/// A row between this process and a child.
pub fn processes<'a, E: End + 'static>(
    way: &str,
    placement: Placement,
    setting: Setting<'a>,
    pair: impl FnOnce() -> Result<Pair<E>> + 'a,
) -> Rival<'a> {
    Rival::of_processes(in_processes(way), placement, move |pinning| {
        let (control, theirs) = pipe_pair()?;
        let Pair { own, theirs: open } = pair()?;
        let mut ours = Some((own, control));
        let work = || {
            drop(ours.take()); // The child's copy: what it never closes, it can never see closed.
            u8::from(serve(open, theirs, pinning, setting.course).is_err())
        };
        // SAFETY: nothing that the two have in common yet is held by anybody: each opens its own end after this.
        let child = unsafe { fork(work) }.context("starting a process")?;
        let pid = child.pid();
        let (own, control) = ours.take().context("the parent keeps its own end")?;
        let mut asker = Asker::start(own()?, control, Peer::Process(child), pinning, setting)?;
        Ok(Ready::with_children(move |steps| asker.turn(steps), vec![pid]))
    })
}

enum Peer {
    Thread(JoinHandle<Result<()>>),
    Process(Child),
}

/// The side that sends. Dropping it ends its peer.
struct Asker<'a, E: End> {
    end: E,
    control: PipeEnd,
    peer: Option<Peer>,
    setting: Setting<'a>,
    exchanged: Exchanged,
    failed: bool,
}

impl<'a, E: End> Asker<'a, E> {
    /// Returns once the peer has opened its end: then nothing can be sent to nobody.
    fn start(end: E, control: PipeEnd, peer: Peer, pinning: Pinning, setting: Setting<'a>) -> Result<Asker<'a, E>> {
        let child = match &peer {
            Peer::Process(child) => Some(child.pid()),
            Peer::Thread(_) => None,
        };
        let exchanged = Exchanged::none_yet(pinning, setting.course, child);
        let mut asker = Asker { end, control, peer: Some(peer), setting, exchanged, failed: false };
        asker.report().context("the peer could not open its end")?;
        let _pinned = pinning.own.pin()?;
        // One goes alone: iceoryx2's subscriber connects when it first looks for a message, and what is more than its
        // buffer holds would until then be sent to nobody.
        let right = asker.turn(1)? + asker.turn(setting.untimed)?;
        let untimed = setting.untimed + 1;
        ensure!(right == untimed, "{right} of {untimed} messages that were not timed proved right");
        Ok(asker)
    }

    /// Sends so many messages, and returns how many proved right.
    fn turn(&mut self, steps: u64) -> Result<u64> {
        if self.exchanged.sent == 0 {
            self.exchanged.own_cpu = sched_getcpu().ok(); // Once: the seat is the same at every turn.
        }
        self.control.send(&steps.to_ne_bytes())?; // Until this comes, the peer sleeps, whatever its way.
        let turn = match self.setting.course {
            Course::RoundTrip => self.there_and_back(steps),
            Course::OneWay => self.one_way(steps),
        };
        self.failed |= turn.is_err();
        turn
    }

    fn there_and_back(&mut self, steps: u64) -> Result<u64> {
        let mut right = 0;
        for _ in 0..steps {
            let message = Message::numbered(self.exchanged.sent);
            self.end.send(message)?;
            self.exchanged.sent += 1;
            right += u64::from(self.end.receive()? == message);
        }
        self.exchanged.returned += right;
        Ok(right)
    }

    fn one_way(&mut self, steps: u64) -> Result<u64> {
        for _ in 0..steps {
            self.end.send(Message::numbered(self.exchanged.sent))?;
            self.exchanged.sent += 1;
        }
        let before = self.exchanged.seen_by_peer;
        self.report()?;
        Ok(self.exchanged.seen_by_peer - before)
    }

    fn report(&mut self) -> Result<()> {
        self.order(REPORT)
    }

    /// Gives the order, and waits for the peer's report.
    fn order(&mut self, order: u64) -> Result<()> {
        self.control.send(&order.to_ne_bytes())?;
        let mut bytes = [0; Report::BYTES];
        ensure!(self.control.receive(&mut bytes)?, "the peer has left");
        let report = Report::from_bytes(bytes);
        self.exchanged.seen_by_peer = report.right;
        self.exchanged.peer_cpu = usize::try_from(report.cpu).ok();
        self.exchanged.peer_pid = i32::try_from(report.pid).ok().map(Pid::from_raw);
        Ok(())
    }
}

impl<E: End> Drop for Asker<'_, E> {
    /// The peer is told to end, so that it puts its end away. Closing ours would not do: children forked after it hold
    /// copies of that, and as long as they live the peer would wait.
    fn drop(&mut self) {
        // After a turn that failed the peer may still wait for the rest of it, and would never listen.
        let told = !self.failed && self.order(FAREWELL).is_ok();
        self.exchanged.peer_ended_well = match self.peer.take() {
            Some(Peer::Thread(peer)) if told => matches!(peer.join(), Ok(Ok(()))),
            Some(Peer::Process(child)) if told => matches!(child.wait(), Ok(Exit::Code(0))),
            Some(_) | None => false, // A child is killed by dropping its handle; a thread ends as our end goes.
        };
        self.setting.tally.rows.borrow_mut().push(self.exchanged);
    }
}

// Any other order is a number of messages to come.
const REPORT: u64 = 0;
const FAREWELL: u64 = u64::MAX;

/// The side that receives, and for a round trip sends everything back. Between orders it sleeps in a read.
fn serve<E: End>(open: Opening<E>, mut control: PipeEnd, pinning: Pinning, course: Course) -> Result<()> {
    let _pinned = pinning.peer.pin()?;
    let mut end = open()?;
    let (mut number, mut right) = (0, 0);
    loop {
        let mut order = [0; size_of::<u64>()];
        ensure!(control.receive(&mut order)?, "the other side has left");
        let order = u64::from_ne_bytes(order);
        if order == REPORT || order == FAREWELL {
            let report = Report { right, cpu: sched_getcpu()? as u64, pid: getpid().as_raw() as u64 };
            if order == REPORT {
                control.send(&report.to_bytes())?;
                continue;
            }
            drop(end); // Before the last word: who reads it finds nothing of ours in the system.
            control.send(&report.to_bytes())?;
            return Ok(());
        }
        for _ in 0..order {
            let message = end.receive()?;
            right += u64::from(message == Message::numbered(number));
            number += 1;
            if course == Course::RoundTrip {
                end.send(message)?;
            }
        }
    }
}

/// What the peer says of itself.
struct Report {
    /// The messages that came whole and in order, so far.
    right: u64,
    cpu: u64,
    pid: u64,
}

impl Report {
    const BYTES: usize = 24;

    fn to_bytes(&self) -> [u8; Report::BYTES] {
        let words = [self.right, self.cpu, self.pid].map(u64::to_ne_bytes);
        std::array::from_fn(|byte| words[byte / 8][byte % 8])
    }

    fn from_bytes(bytes: [u8; Report::BYTES]) -> Report {
        let word = |index: usize| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[index * 8 + byte]));
        Report { right: word(0), cpu: word(1), pid: word(2) }
    }
}
