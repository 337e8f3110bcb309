//! How is one way measured? Somebody sends, a peer in a thread or a process checks each message and answers.

use std::cell::RefCell;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};
use nix::sched::sched_getcpu;
use nix::unistd::{Pid, getpid, gettid};
use process_demo::child::{Child, Exit, fork};
use shared::measure::{PinTo, Pinning, Ready, Rival};
use shared::number::count;
use shared::{Placement, Stage};

use super::kernel::Task;
use super::message::{ANSWER, FAREWELL, INTRODUCE_YOURSELF, Message, TAKE};
use super::ways::{End, Opening, Pair};

/// How the messages of one turn go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Each is answered before the next goes.
    RoundTrip,
    /// All go one way; the last of the turn is answered with how many came as they should.
    OneWay,
}

impl Traffic {
    pub fn name(self) -> &'static str {
        match self {
            Traffic::RoundTrip => "there and back",
            Traffic::OneWay => "one-way",
        }
    }
}

/// What became of every row, written down as each one ends.
#[derive(Default)]
pub struct Tally {
    pub rows: RefCell<Vec<Exchanged>>,
}

/// What one row exchanged, and whether its two sides ran where they should.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged {
    pub sent: u64,
    pub right: u64,
    pub seated: bool,
    pub peer_ended_well: bool,
}

/// Did every message arrive, and did both sides sit where their row says?
pub fn tell(stage: &mut Stage, tally: &Tally) {
    let rows = tally.rows.borrow();
    let sum = |of: fn(&Exchanged) -> u64| rows.iter().map(of).sum::<u64>();
    let (sent, right) = (sum(|row| row.sent), sum(|row| row.right));
    let got = format!("{} of {} in {} rows", count(right), count(sent), rows.len());
    stage.check("Every message came whole and in order, by the peer's check of each", right == sent && sent > 0, got);
    let seated = rows.iter().filter(|row| row.seated && row.peer_ended_well).count();
    let got = format!("{seated} of {} rows", rows.len());
    stage.check("Both sides kept their CPUs, and every peer ended when it was told to", seated == rows.len(), got);
}

/// A row between two threads of this process.
pub fn threads<'a, E: End + 'static>(
    label: &str,
    placement: Placement,
    traffic: Traffic,
    tally: &'a Tally,
    pair: Pair<E>,
) -> Rival<'a> {
    Rival::of_threads(label, placement, move |pinning| {
        let mut asker = Asker::beside_thread(pinning, tally, pair)?;
        Ok(Ready::new(move |steps| asker.turn(traffic, steps)))
    })
}

/// A row between this process and a child.
pub fn processes<'a, E: End + 'static>(
    label: &str,
    placement: Placement,
    traffic: Traffic,
    tally: &'a Tally,
    pair: Pair<E>,
) -> Rival<'a> {
    Rival::of_processes(label, placement, move |pinning| {
        let mut asker = Asker::beside_process(pinning, tally, pair)?;
        let child = asker.peer_task.process;
        Ok(Ready::with_children(move |steps| asker.turn(traffic, steps), vec![child]))
    })
}

/// The side that sends first. Dropping it ends its peer.
pub struct Asker<'a, E: End> {
    end: E,
    peer: Option<Peer>,
    pinning: Pinning,
    /// Where the kernel counts for the peer.
    pub peer_task: Task,
    own_cpu: Option<usize>,
    tally: &'a Tally,
    exchanged: Exchanged,
}

enum Peer {
    Thread(JoinHandle<Result<()>>),
    Process(Child),
}

impl<'a, E: End + 'static> Asker<'a, E> {
    pub fn beside_thread(pinning: Pinning, tally: &'a Tally, pair: Pair<E>) -> Result<Asker<'a, E>> {
        let (ours, theirs) = pair()?;
        let peer = Builder::new().spawn(move || answer(theirs, pinning)).context("starting a thread")?;
        Asker::new(ours()?, Peer::Thread(peer), getpid(), pinning, tally)
    }

    pub fn beside_process(pinning: Pinning, tally: &'a Tally, pair: Pair<E>) -> Result<Asker<'a, E>> {
        let (ours, theirs) = pair()?;
        // SAFETY: nothing shared is claimed yet: each process claims its own roles of the rings.
        let child =
            unsafe { fork(move || u8::from(answer(theirs, pinning).is_err())) }.context("starting a process")?;
        let process = child.pid();
        Asker::new(ours()?, Peer::Process(child), process, pinning, tally)
    }

    fn new(mut end: E, peer: Peer, process: Pid, pinning: Pinning, tally: &'a Tally) -> Result<Asker<'a, E>> {
        end.send(Message::filled(0, INTRODUCE_YOURSELF))?;
        let thread = Pid::from_raw(end.receive()?.note as i32);
        let peer_task = Task { process, thread };
        let exchanged = Exchanged { sent: 0, right: 0, seated: false, peer_ended_well: false };
        Ok(Asker { end, peer: Some(peer), pinning, peer_task, own_cpu: None, tally, exchanged })
    }
}

impl<E: End> Asker<'_, E> {
    /// Sends so many messages and returns how many came as they should, by both sides' checks.
    pub fn turn(&mut self, traffic: Traffic, steps: u64) -> Result<u64> {
        if self.exchanged.sent == 0 {
            self.own_cpu = sched_getcpu().ok(); // Once: the seat is the same at every turn.
        }
        let mut right = 0;
        for step in 1..=steps {
            let wanted = traffic == Traffic::RoundTrip || step == steps;
            let number = self.exchanged.sent;
            self.end.send(Message::filled(number, if wanted { ANSWER } else { TAKE }))?;
            self.exchanged.sent += 1;
            if wanted {
                let answer = self.end.receive()?;
                right += if answer.number == number && answer.is_whole() { answer.note } else { 0 };
            }
        }
        self.exchanged.right += right;
        Ok(right)
    }

    fn farewell(&mut self) -> Result<usize> {
        self.end.send(Message::filled(self.exchanged.sent, FAREWELL))?;
        Ok(usize::try_from(self.end.receive()?.note)?)
    }
}

impl<E: End> Drop for Asker<'_, E> {
    /// The peer is told to end. Leaving would not do: children forked after it hold copies of our end.
    fn drop(&mut self) {
        let peer_cpu = self.farewell().ok();
        let sits = |pin_to: PinTo, cpu: Option<usize>| {
            pin_to == PinTo::Anywhere || cpu.is_some_and(|cpu| pin_to == PinTo::Cpu(cpu))
        };
        self.exchanged.seated = sits(self.pinning.own, self.own_cpu) && sits(self.pinning.peer, peer_cpu);
        self.exchanged.peer_ended_well = match self.peer.take() {
            Some(Peer::Thread(peer)) => matches!(peer.join(), Ok(Ok(()))),
            Some(Peer::Process(child)) if peer_cpu.is_some() => matches!(child.wait(), Ok(Exit::Code(0))),
            Some(Peer::Process(_)) | None => false, // It does not listen: dropping the handle kills it.
        };
        self.tally.rows.borrow_mut().push(self.exchanged);
    }
}

/// The side that checks each message, and answers where an answer is wanted.
fn answer<E: End>(open: Opening<E>, pinning: Pinning) -> Result<()> {
    let _pinned = pinning.peer.pin()?;
    let mut end = open()?;
    let (mut expected, mut right) = (0, 0);
    loop {
        let message = end.receive()?;
        match message.note {
            INTRODUCE_YOURSELF => end.send(Message::filled(message.number, gettid().as_raw() as u64))?,
            FAREWELL => return end.send(Message::filled(message.number, sched_getcpu()? as u64)),
            note => {
                right += u64::from(message.number == expected && message.is_whole());
                expected += 1;
                if note == ANSWER {
                    end.send(Message::filled(message.number, right))?;
                    right = 0;
                }
            }
        }
    }
}
