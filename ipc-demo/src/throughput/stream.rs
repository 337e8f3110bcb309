//! How is a mechanism timed? One side sends a batch of messages, the other takes each, checks it, and answers once.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, ensure};
use process_demo::crew::{Arguments, Crew, Kind};
use shared::Placement;
use shared::measure::{Pinned, Ready, Rival};

use super::message::{Area, Stamp};

/// What all rows use, and what came of their messages that were filled.
pub struct Bench {
    pub area: RefCell<Area>,
    pub placement: Placement,
    pub directory: PathBuf,
    pub queue: String,
    /// How many were sent, and how many of them arrived right.
    pub filled: Cell<[usize; 2]>,
}

/// What a row is besides its two ends.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub name: &'static str,
    pub bytes: usize,
    pub bench: &'a Bench,
}

impl Row<'_> {
    /// How many messages may be in flight, where that is ours to choose: a mebibyte's worth, two thousand at most, and
    /// two at least, so that one can be written while the other is read.
    pub fn in_flight(self) -> usize {
        ((1 << 20) / self.bytes).clamp(2, 2048)
    }
}

/// A row between this process and a child. Both ends are made before the fork; `receive` is used in the child alone.
pub fn processes<'a, S, R>(row: Row<'a>, ends: impl FnOnce(Row<'a>) -> Result<(S, R)> + 'a) -> Rival<'a>
where
    S: FnMut(Stamp) -> Result<()> + 'a,
    R: FnMut(Stamp) -> Result<bool> + Send + 'a,
{
    Rival::of_processes(row.name, row.bench.placement, move |pinning| {
        let (send, receive) = ends(row)?;
        let receive = Mutex::new(Some(receive));
        let enlist = || Ok((Taker { receive: receive.lock().unwrap().take(), taken: 0 }, pinning.peer.pin()?));
        let mut crew = Crew::of(Kind::Processes, 1, enlist)?;
        drop(receive); // This process's copy: while it is open, nobody learns that the child's is gone.
        let children = crew.pid(0).into_iter().collect();
        let peer = move |messages, send_all: &mut dyn FnMut() -> Result<()>| {
            let take = |(taker, _): &mut (Taker<R>, Pinned), [messages, ..]: Arguments| taker.take(messages);
            crew.tell(0, take, [messages, 0, 0]);
            send_all()?;
            crew.hear(0)?.value()
        };
        Ok(Ready::with_children(turns(row, send, peer)?, children))
    })
}

/// A row between two threads of this process.
pub fn threads<'a, S, R>(row: Row<'a>, ends: impl FnOnce(Row<'a>) -> Result<(S, R)> + 'a) -> Rival<'a>
where
    S: FnMut(Stamp) -> Result<()> + 'a,
    R: FnMut(Stamp) -> Result<bool> + Send + 'static,
{
    Rival::of_threads(row.name, row.bench.placement, move |pinning| {
        let (send, receive) = ends(row)?;
        let ((orders, ordered), (answer, answers)) = (channel(), channel());
        let work = move || {
            let Ok(_pinned) = pinning.peer.pin() else { return };
            let mut taker = Taker { receive: Some(receive), taken: 0 };
            let _all_answered = ordered.into_iter().all(|messages| answer.send(taker.take(messages)).is_ok());
        };
        let thread = Builder::new().spawn(work).context("starting a thread")?;
        let worker = Worker { orders: Some(orders), answers, thread: Some(thread) };
        let peer = move |messages, send_all: &mut dyn FnMut() -> Result<()>| {
            worker.orders.as_ref().context("it is told to end when it is dropped")?.send(messages)?;
            send_all()?;
            worker.answers.recv()?
        };
        Ok(Ready::new(turns(row, send, peer)?))
    })
}

/// The sending side's turns, once the first batch is through: that one is filled, compared whole, not timed, and goes round
/// whatever holds the messages in flight.
///
/// The peer tells the other side how many messages will come, has them sent, and gives how many of them were right.
fn turns<'a>(
    row: Row<'a>,
    mut send: impl FnMut(Stamp) -> Result<()> + 'a,
    mut peer: impl FnMut(u64, &mut dyn FnMut() -> Result<()>) -> Result<u64> + 'a,
) -> Result<impl FnMut(u64) -> Result<u64> + 'a> {
    let mut sent = 0;
    let mut batch = move |messages| {
        let (first, is_filled) = (sent, sent == 0);
        sent += messages;
        peer(messages, &mut || (first..sent).try_for_each(|number| send(Stamp { number, is_filled })))
    };
    let messages = row.in_flight() + 1;
    let right = batch(messages as u64)?;
    row.bench.filled.update(|[sent, arrived]| [sent + messages, arrived + right as usize]);
    Ok(batch)
}

/// The receiving side.
struct Taker<R> {
    receive: Option<R>,
    taken: u64,
}

impl<R: FnMut(Stamp) -> Result<bool>> Taker<R> {
    /// How many of the next messages are right. After an error its end is closed: a sender that waits for room sees that.
    fn take(&mut self, messages: u64) -> Result<u64> {
        let mut receive = self.receive.take().context("the receiver has failed before")?;
        let (first, is_filled) = (self.taken, self.taken == 0);
        let mut right = 0;
        for number in first..first + messages {
            right += u64::from(receive(Stamp { number, is_filled })?);
        }
        (self.receive, self.taken) = (Some(receive), first + messages);
        Ok(right)
    }
}

/// The thread that receives.
struct Worker {
    orders: Option<Sender<u64>>,
    answers: Receiver<Result<u64>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders = None; // It sees that no order will come, and ends.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // It never panics; nothing is passed on while something is dropped.
        }
    }
}

/// Fits into the first cache of any CPU, beside what else is there.
pub const PIECE_BYTES: usize = 16 << 10;

/// A row of nobody but this thread, the least that copying costs: each message is copied in pieces, all to one place.
pub fn memcpy(row: Row<'_>) -> Rival<'_> {
    Rival::of_threads(row.name, row.bench.placement, move |_| {
        let (mut place, mut copied) = (vec![1; row.bytes.min(PIECE_BYTES)], 0);
        Ok(Ready::new(move |messages| {
            for number in copied..copied + messages {
                let stamp = Stamp { number, is_filled: false };
                for piece in row.bench.area.borrow_mut().next(row.bytes, stamp).chunks(PIECE_BYTES) {
                    black_box(&mut place)[..piece.len()].copy_from_slice(piece);
                    let ending = piece.len().saturating_sub(16)..piece.len(); // A stamp's length.
                    ensure!(black_box(&place)[ending.clone()] == piece[ending], "a piece was not copied");
                }
            }
            copied += messages;
            Ok(messages)
        }))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use shared::Effort;
    use shared::measure::{Contest, Timing};

    use super::*;

    fn bench() -> Bench {
        let area = RefCell::new(Area::new(1 << 16).unwrap());
        let (directory, queue) = (PathBuf::new(), String::new());
        Bench { area, placement: Placement::SameCpu, directory, queue, filled: Cell::new([0; 2]) }
    }

    /// A row between two threads in which each message is changed on its way; the error, if it came to one.
    fn measured_with(change: fn(&mut Vec<u8>), bench: &Bench) -> Option<String> {
        let row = Row { name: "changed", bytes: 1 << 20, bench }; // Of which two may be in flight.
        let mut contest = Contest::new("a stream", "nothing", Timing::Batches);
        contest.add(threads(row, move |_| {
            let (to, from) = sync_channel::<Vec<u8>>(8);
            let send = move |stamp: Stamp| {
                let mut message = vec![1; 64];
                stamp.put_on(&mut message);
                change(&mut message);
                Ok(to.send(message)?)
            };
            Ok((send, move |due: Stamp| due.is_right(&from.recv()?)))
        }));
        contest.measure(Effort::Quick).err().map(|error| format!("{error:#}"))
    }

    #[test]
    fn every_filled_message_counts_once() {
        let bench = bench();
        assert_eq!(measured_with(|_| {}, &bench), None);
        assert_eq!(bench.filled.get(), [3, 3]);
    }

    #[test]
    fn a_wrong_byte_inside_is_counted_and_one_at_an_end_ends_the_contest() {
        let bench = bench();
        assert_eq!(measured_with(|message| message[31] ^= 1, &bench), None);
        assert_eq!(bench.filled.get(), [3, 0]);
        assert!(measured_with(|message| message[63] ^= 1, &bench).is_some());
        assert!(measured_with(|message| message.truncate(56), &bench).is_some());
    }

    #[test]
    fn a_message_that_comes_out_of_order_ends_the_contest() {
        let swapped = |message: &mut Vec<u8>| [0, 48].into_iter().for_each(|at| message[at] |= 4); // Number 0 becomes 4.
        assert!(measured_with(swapped, &bench()).unwrap().contains("not message 0"));
    }

    #[test]
    fn a_memcpy_copies_every_piece() {
        let bench = bench();
        for bytes in [64, 2 * PIECE_BYTES + 64] {
            let mut contest = Contest::new("a memcpy", "nothing", Timing::Batches);
            contest.add(memcpy(Row { name: "memcpy", bytes, bench: &bench }));
            assert!(contest.measure(Effort::Quick).is_ok());
        }
    }
}
