//! How is one way measured? Somebody asks, a peer in a thread or a process answers, and both check every message.

use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, ensure};
use nix::sched::sched_getcpu;
use nix::unistd::Pid;
use process_demo::child::{Child, Exit, fork};
use shared::Placement;
use shared::measure::{Pinning, Ready, Rival};

use super::bench::Bench;
use super::desk::Gate;
use super::message::Message;
use super::tally::Exchanged;

/// One end of a way between two parties; an error once the other end is gone.
pub trait End: Send + 'static {
    fn send(&mut self, message: Message) -> Result<()>;
    fn receive(&mut self) -> Result<Message>;

    /// Takes what only the party that uses this end may take. Two threads do so before the second one starts: what is
    /// refused then leaves nobody waiting.
    fn open(&mut self) -> Result<()> {
        Ok(())
    }

    /// For those that must name the other side's process.
    fn meet(&mut self, _process: Pid) {}

    /// After the last message: by default nobody is waited for.
    fn part(&mut self) -> Result<()> {
        Ok(())
    }

    /// What to close between turns, if the peer would not sleep by itself.
    fn gate(&self) -> Option<Gate> {
        None
    }
}

/// A row between two threads of this process.
pub fn threads<'a, E: End>(label: String, placement: Placement, bench: &'a Bench, pair: Pair<E>) -> Rival<'a> {
    Rival::of_threads(label, placement, move |pinning| {
        let mut asker = Asker::beside_thread(pinning, bench, pair(bench)?)?;
        Ok(Ready::new(move |steps| asker.turn(steps)))
    })
}

/// A row between this process and a child.
pub fn processes<'a, E: End>(label: String, placement: Placement, bench: &'a Bench, pair: Pair<E>) -> Rival<'a> {
    Rival::of_processes(label, placement, move |pinning| {
        let (mut asker, child) = Asker::beside_process(pinning, bench, pair(bench)?)?;
        Ok(Ready::with_children(move |steps| asker.turn(steps), vec![child]))
    })
}

/// The control: the same calls, but nobody to wait for, so no switch from one party to the other.
pub fn alone<'a, E: End>(label: String, placement: Placement, bench: &'a Bench, pair: Pair<E>) -> Rival<'a> {
    Rival::of_threads(label, placement, move |_| {
        let (mut one, mut other) = pair(bench)?;
        let (row, mut number) = (bench.floor.number(), 0);
        Ok(Ready::new(move |steps| {
            bench.floor.give_to(row, None);
            let mut right = 0;
            for _ in 0..steps {
                let message = Message::numbered(number);
                one.send(message)?;
                let seen = other.receive()?;
                other.send(seen)?;
                right += u64::from(one.receive()? == message);
                number += 1;
            }
            Ok(right)
        }))
    })
}

/// Makes both ends of a way, the asker's first.
pub type Pair<E> = fn(&Bench) -> Result<(E, E)>;

/// The side that asks. Dropping it ends its peer.
pub struct Asker<'a, E: End> {
    end: E,
    peer: Option<Peer>,
    bench: &'a Bench,
    row: usize,
    gate: Option<Gate>,
    exchanged: Exchanged,
}

enum Peer {
    Thread(JoinHandle<Result<()>>),
    Process(Child),
}

impl<'a, E: End> Asker<'a, E> {
    pub fn beside_thread(pinning: Pinning, bench: &'a Bench, ends: (E, E)) -> Result<Asker<'a, E>> {
        let (mut end, mut theirs) = ends;
        end.open()?;
        theirs.open()?;
        let peer = Builder::new().spawn(move || echo(theirs, pinning)).context("starting a thread")?;
        Ok(Asker::new(end, Peer::Thread(peer), pinning, bench))
    }

    pub fn beside_process(pinning: Pinning, bench: &'a Bench, (end, theirs): (E, E)) -> Result<(Asker<'a, E>, Pid)> {
        let mut ours = Some(end);
        let work = || {
            drop(ours.take()); // The child's copy: what it never closes, it can never see closed.
            u8::from(echo(theirs, pinning).is_err())
        };
        // SAFETY: of what the ends have in shared memory, atomics are nobody's own, semaphores are destroyed by their
        // maker alone, and a ring's roles are claimed after this; all else is descriptors, of which each has a copy.
        let child = unsafe { fork(work) }.context("starting a process")?;
        let pid = child.pid();
        let mut end = ours.take().context("the parent keeps its own end")?;
        end.meet(pid);
        Ok((Asker::new(end, Peer::Process(child), pinning, bench), pid))
    }

    fn new(end: E, peer: Peer, pinning: Pinning, bench: &'a Bench) -> Asker<'a, E> {
        let exchanged = Exchanged {
            pinning,
            sent: 0,
            returned: 0,
            seen_by_peer: 0,
            own_cpu: None,
            peer_cpu: None,
            peer_ended_well: false,
        };
        let (row, gate) = (bench.floor.number(), end.gate());
        Asker { end, peer: Some(peer), bench, row, gate, exchanged }
    }

    /// Sends so many messages, one after the other, and returns how many came back as they were sent.
    pub fn turn(&mut self, steps: u64) -> Result<u64> {
        self.bench.floor.give_to(self.row, self.gate.as_ref());
        if self.exchanged.sent == 0 {
            self.exchanged.own_cpu = sched_getcpu().ok(); // Once: the seat is the same at every turn.
        }
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

    fn farewell(&mut self) -> Result<Message> {
        // A peer that lost or changed a message may be gone, and not every way tells.
        ensure!(self.exchanged.returned == self.exchanged.sent, "the peer has failed");
        self.bench.floor.give_to(self.row, self.gate.as_ref());
        self.end.send(Message::FAREWELL)?;
        let last_words = self.end.receive()?;
        ensure!(last_words.number <= self.exchanged.sent, "the peer has not understood");
        self.end.part()?;
        Ok(last_words)
    }
}

impl<E: End> Drop for Asker<'_, E> {
    /// The peer is told to end. Closing our end would not do: children forked after it hold copies of that end, and as
    /// long as they live the peer would wait.
    fn drop(&mut self) {
        let last_words = self.farewell();
        if let Ok(Message { number, filling: [cpu, ..] }) = last_words {
            self.exchanged.seen_by_peer = number;
            self.exchanged.peer_cpu = usize::try_from(cpu).ok();
        }
        self.exchanged.peer_ended_well = match self.peer.take() {
            Some(Peer::Thread(peer)) if last_words.is_ok() => matches!(peer.join(), Ok(Ok(()))),
            Some(Peer::Process(child)) if last_words.is_ok() => matches!(child.wait(), Ok(Exit::Code(0))),
            // It does not listen. Dropping the handle kills a process; a thread ends with the program.
            Some(_) | None => false,
        };
        // A row whose first message was refused is a skipped one, and has nothing to tell.
        if self.exchanged.sent > 0 {
            self.bench.rows.borrow_mut().push(self.exchanged);
        }
    }
}

/// The side that answers each message with itself, and the farewell with how many came whole and in order.
fn echo(mut end: impl End, pinning: Pinning) -> Result<()> {
    let _pinned = pinning.peer.pin()?;
    let mut seen = 0;
    loop {
        let message = match end.receive() {
            Ok(message) => message,
            Err(error) => {
                let _ = end.send(Message::WRONG); // Else the asker would wait for ever, where a way has no end to see.
                return Err(error);
            }
        };
        if message == Message::FAREWELL {
            let mut last_words = Message { number: seen, ..Message::FAREWELL };
            last_words.filling[0] = sched_getcpu()? as u64;
            end.send(last_words)?;
            return end.part();
        }
        let expected = message == Message::numbered(seen);
        seen += u64::from(expected);
        end.send(if expected { message } else { Message::WRONG })?;
    }
}
