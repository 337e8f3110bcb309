//! How is one way measured? Somebody asks, a peer in a thread or a process answers, and both check every message.

use std::fs;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};
use nix::sched::sched_getcpu;
use nix::unistd::Pid;
use process_demo::child::{Child, Exit, fork};
use shared::Placement;
use shared::measure::{Ready, Rival, Seats};

use super::message::Message;
use super::tally::{Exchanged, Tally};

/// One end of a way between two parties; an error once the other end is gone.
pub trait End: Send + 'static {
    fn send(&mut self, message: Message) -> Result<()>;
    fn receive(&mut self) -> Result<Message>;
}

/// Makes both ends of a way.
pub type Pair<E> = fn() -> Result<(E, E)>;

/// A row between two threads of this process.
pub fn threads<'a, E: End>(label: &str, placement: Placement, tally: &'a Tally, pair: Pair<E>) -> Rival<'a> {
    Rival::of_threads(label, placement, move |seats| {
        let mut asker = Asker::beside_thread(seats, tally, pair)?;
        Ok(Ready::new(move |steps| asker.turn(steps)))
    })
}

/// A row between this process and a child.
pub fn processes<'a, E: End>(label: &str, placement: Placement, tally: &'a Tally, pair: Pair<E>) -> Rival<'a> {
    Rival::of_processes(label, placement, move |seats| {
        let (mut asker, child) = Asker::beside_process(seats, tally, pair)?;
        Ok(Ready::with_children(move |steps| asker.turn(steps), vec![child]))
    })
}

/// The side that asks. Dropping it ends its peer.
pub struct Asker<'a, E: End> {
    end: E,
    peer: Option<Peer>,
    tally: &'a Tally,
    exchanged: Exchanged,
}

enum Peer {
    Thread(JoinHandle<Result<()>>),
    Process(Child),
}

impl<'a, E: End> Asker<'a, E> {
    pub fn beside_thread(seats: Seats, tally: &'a Tally, pair: Pair<E>) -> Result<Asker<'a, E>> {
        let (end, theirs) = pair()?;
        let peer = Builder::new().spawn(move || echo(theirs, seats)).context("starting a thread")?;
        Ok(Asker::new(end, Peer::Thread(peer), seats, tally))
    }

    pub fn beside_process(seats: Seats, tally: &'a Tally, pair: Pair<E>) -> Result<(Asker<'a, E>, Pid)> {
        let (end, theirs) = pair()?;
        let mut ours = Some(end);
        let work = || {
            drop(ours.take()); // The child's copy: what it never closes, it can never see closed.
            u8::from(echo(theirs, seats).is_err())
        };
        // SAFETY: the ends are descriptors that each process owns a copy of; none is a lock in shared memory.
        let child = unsafe { fork(work) }.context("starting a process")?;
        let pid = child.pid();
        let end = ours.take().context("the parent keeps its own end")?;
        let mut asker = Asker::new(end, Peer::Process(child), seats, tally);
        asker.exchanged.threads_at_fork = Some(fs::read_dir("/proc/self/task").context("counting threads")?.count());
        Ok((asker, pid))
    }

    fn new(end: E, peer: Peer, seats: Seats, tally: &'a Tally) -> Asker<'a, E> {
        let exchanged = Exchanged {
            seats,
            sent: 0,
            returned: 0,
            seen_by_peer: 0,
            own_cpu: None,
            peer_cpu: None,
            peer_ended_well: false,
            threads_at_fork: None,
        };
        Asker { end, peer: Some(peer), tally, exchanged }
    }

    /// Sends so many messages, one after the other, and returns how many came back as they were sent.
    pub fn turn(&mut self, steps: u64) -> Result<u64> {
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
        self.end.send(Message::FAREWELL)?;
        self.end.receive()
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
            Some(Peer::Thread(peer)) => matches!(peer.join(), Ok(Ok(()))),
            Some(Peer::Process(child)) if last_words.is_ok() => matches!(child.wait(), Ok(Exit::Code(0))),
            Some(Peer::Process(_)) | None => false, // It does not listen: dropping the handle kills it.
        };
        self.tally.rows.borrow_mut().push(self.exchanged);
    }
}

/// The side that answers each message with itself, and the farewell with how many came whole and in order.
fn echo(mut end: impl End, seats: Seats) -> Result<()> {
    let _pinned = seats.peer.sit()?;
    let mut seen = 0;
    loop {
        let message = end.receive()?;
        if message == Message::FAREWELL {
            let mut last_words = Message { number: seen, ..Message::FAREWELL };
            last_words.filling[0] = sched_getcpu()? as u64;
            return end.send(last_words);
        }
        let expected = message == Message::numbered(seen);
        seen += u64::from(expected);
        end.send(if expected { message } else { Message::WRONG })?;
    }
}
