//! How is one way measured? One side sends a batch, the other checks it message by message and answers at its end.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, ensure};
use process_demo::child::fork;
use shared::Placement;
use shared::measure::{Pinning, Ready, Rival};

use super::message::{Area, Check, Stamp};

/// What was sent and what proved right, in all rows together.
#[derive(Default)]
pub struct Tally {
    pub rows: Cell<u64>,
    /// In the pass that is not timed.
    pub whole: Cell<u64>,
    pub whole_sent: Cell<u64>,
    pub timed: Cell<u64>,
    pub timed_sent: Cell<u64>,
}

/// What all rows use.
pub struct Bench {
    pub area: RefCell<Area>,
    pub placement: Placement,
    pub directory: PathBuf,
    pub queue: String,
    pub tally: Tally,
}

/// What one row is besides its two ends.
#[derive(Clone, Copy)]
pub struct Course<'a> {
    pub name: &'static str,
    pub bytes: usize,
    pub bench: &'a Bench,
}

/// How many messages of a size may be under way, where that is ours to choose: a mebibyte's worth, two thousand
/// at most, and two at least, so that one can be written while the other is read.
pub fn under_way(bytes: usize) -> usize {
    const ALL_BYTES: usize = 1 << 20;
    const MOST: usize = 2048;
    (ALL_BYTES / bytes).clamp(2, MOST)
}

/// A row between this process and a child. Both ends are made before the fork; `receive` is used in the child alone.
pub fn processes<'a, S, R>(course: Course<'a>, ends: impl FnOnce(Course<'a>) -> Result<(S, R)> + 'a) -> Rival<'a>
where
    S: FnMut(Stamp) -> Result<()> + 'a,
    R: FnMut(&mut Check) -> Result<()>,
{
    Rival::of_processes(course.name, course.bench.placement, move |pinning| {
        let (send, receive) = ends(course)?;
        let (answers, to) = pipe()?;
        let (mut send, mut receive) = (Some(send), Some(receive));
        let work = || {
            drop(send.take()); // The child's copy: what it never closes, it can never see closed.
            let Some(receive) = receive.take() else { return 1 };
            u8::from(receive_all(receive, to, pinning).is_err())
        };
        // SAFETY: the child claims its own end of what both see, and uses nothing that this process owns there.
        let child = unsafe { fork(work) }.context("starting a process")?;
        drop(receive);
        let pid = child.pid();
        let mut turns = Turns { send: send.context("the sender stays here")?, answers, sent: 0 };
        turns.compare_whole(course)?;
        let turn = move |steps| {
            let _until_the_end = &child;
            turns.timed(steps, &course.bench.tally)
        };
        Ok(Ready::with_children(turn, vec![pid]))
    })
}

/// A row between two threads of this process. Dropping `send` must end `receive` with an error.
pub fn threads<'a, S, R>(course: Course<'a>, ends: impl FnOnce(Course<'a>) -> Result<(S, R)> + 'a) -> Rival<'a>
where
    S: FnMut(Stamp) -> Result<()> + 'a,
    R: FnMut(&mut Check) -> Result<()> + Send + 'static,
{
    Rival::of_threads(course.name, course.bench.placement, move |pinning| {
        let (send, receive) = ends(course)?;
        let (answers, to) = pipe()?;
        let worker = Builder::new().spawn(move || receive_all(receive, to, pinning)).context("starting a thread")?;
        let mut pair = Pair { turns: Some(Turns { send, answers, sent: 0 }), worker: Some(worker) };
        pair.turns()?.compare_whole(course)?;
        Ok(Ready::new(move |steps| pair.turns()?.timed(steps, &course.bench.tally)))
    })
}

/// A row of nobody but this thread, the ceiling: each message is copied in pieces as large as the place, which each piece
/// finds as the one before it left it.
pub fn memcpy(course: Course<'_>, place_bytes: usize) -> Rival<'_> {
    Rival::of_threads(course.name, course.bench.placement, move |_| {
        let Tally { rows, whole, whole_sent, timed, timed_sent } = &course.bench.tally;
        let (mut send, mut sent) = (copy(course, place_bytes), 0);
        for _ in 0..messages_compared_whole(course.bytes) {
            send(Stamp::numbered(sent).whole().last())?;
            sent += 1;
        }
        add(rows, 1);
        [whole, whole_sent].into_iter().for_each(|count| add(count, sent));
        Ok(Ready::new(move |steps| {
            for _ in 0..steps {
                send(Stamp::numbered(sent).last())?;
                sent += 1;
            }
            [timed, timed_sent].into_iter().for_each(|count| add(count, steps));
            Ok(steps)
        }))
    })
}

fn copy(course: Course<'_>, place_bytes: usize) -> impl FnMut(Stamp) -> Result<()> {
    const ENDING_BYTES: usize = 16; // Of each piece, where it is timed: a stamp's length.
    let mut place = vec![1; place_bytes];
    let (bytes, area) = (course.bytes, &course.bench.area);
    move |stamp| {
        for piece in area.borrow_mut().next(bytes, stamp).chunks(place_bytes) {
            black_box(&mut place)[..piece.len()].copy_from_slice(piece);
            let looked_at = if stamp.is_whole() { 0 } else { piece.len().saturating_sub(ENDING_BYTES) };
            ensure!(black_box(&place)[looked_at..piece.len()] == piece[looked_at..], "a piece was not copied");
        }
        Ok(())
    }
}

/// In the pass that is not timed: enough to go round whatever holds those under way.
fn messages_compared_whole(bytes: usize) -> u64 {
    under_way(bytes) as u64 + 1
}

/// The sending side.
struct Turns<S> {
    send: S,
    answers: PipeReader,
    sent: u64,
}

impl<S: FnMut(Stamp) -> Result<()>> Turns<S> {
    fn compare_whole(&mut self, course: Course<'_>) -> Result<()> {
        let (tally, sent) = (&course.bench.tally, messages_compared_whole(course.bytes));
        let right = self.batch(sent, Stamp::whole)?;
        add(&tally.rows, 1);
        add(&tally.whole_sent, sent);
        add(&tally.whole, right);
        ensure!(right == sent, "{right} of {sent} messages arrived whole and in order");
        Ok(())
    }

    fn timed(&mut self, steps: u64, tally: &Tally) -> Result<u64> {
        let right = self.batch(steps, |stamp| stamp)?;
        add(&tally.timed_sent, steps);
        add(&tally.timed, right);
        Ok(right)
    }

    fn batch(&mut self, messages: u64, kind: impl Fn(Stamp) -> Stamp) -> Result<u64> {
        for left in (0..messages).rev() {
            let stamp = kind(Stamp::numbered(self.sent));
            self.sent += 1;
            (self.send)(if left == 0 { stamp.last() } else { stamp })?;
        }
        let mut answer = [0; 8];
        self.answers.read_exact(&mut answer).context("the receiver is gone: a message was not as it should be")?;
        Ok(u64::from_ne_bytes(answer))
    }
}

fn add(to: &Cell<u64>, count: u64) {
    to.set(to.get() + count);
}

/// The receiving side, until the sender is gone.
fn receive_all(
    mut receive: impl FnMut(&mut Check) -> Result<()>,
    mut answers: PipeWriter,
    pinning: Pinning,
) -> Result<()> {
    let _pinned = pinning.peer.pin()?;
    let mut check = Check::default();
    loop {
        receive(&mut check)?;
        if let Some(right) = check.answer() {
            answers.write_all(&right.to_ne_bytes())?;
        }
    }
}

/// A sender and the thread that receives from it.
struct Pair<S> {
    turns: Option<Turns<S>>,
    worker: Option<JoinHandle<Result<()>>>,
}

impl<S> Pair<S> {
    fn turns(&mut self) -> Result<&mut Turns<S>> {
        self.turns.as_mut().context("the sender stays until the end")
    }
}

impl<S> Drop for Pair<S> {
    fn drop(&mut self) {
        self.turns = None; // The worker sees the end, and ends.
        if let Some(worker) = self.worker.take() {
            let _ = worker.join(); // It never panics; nothing is passed on while something is dropped.
        }
    }
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
        Bench { area, placement: Placement::SameCpu, directory, queue, tally: Tally::default() }
    }

    /// A row between two threads in which each message is changed on its way; the error, if it came to one.
    fn measured_with(change: fn(&mut Vec<u8>), bench: &Bench) -> Option<String> {
        let course = Course { name: "changed", bytes: 1 << 20, bench }; // Of which two may be under way.
        let mut contest = Contest::new("one way", "nothing", Timing::Batches);
        contest.add(threads(course, move |_| {
            let (to, from) = sync_channel::<Vec<u8>>(8);
            let send = move |stamp: Stamp| {
                let mut message = vec![1; 64];
                stamp.put_on(&mut message);
                change(&mut message);
                Ok(to.send(message)?)
            };
            let receive = move |check: &mut Check| check.look(&from.recv()?);
            Ok((send, receive))
        }));
        contest.measure(Effort::Quick).err().map(|error| format!("{error:#}"))
    }

    #[test]
    fn every_message_counts_once_and_right() {
        let bench = bench();
        assert_eq!(measured_with(|_| {}, &bench), None);
        let tally = &bench.tally;
        assert_eq!((tally.rows.get(), tally.whole.get(), tally.whole_sent.get()), (1, 3, 3));
        assert_eq!(tally.timed.get(), tally.timed_sent.get());
        assert!(tally.timed.get() > 0);
    }

    #[test]
    fn a_wrong_byte_ends_the_contest() {
        let (bench, tally) = (bench(), |bench: &Bench| [&bench.tally.whole, &bench.tally.whole_sent].map(Cell::get));
        let inside = measured_with(|message| message[31] ^= 1, &bench).unwrap();
        assert!(inside.contains("0 of 3 messages arrived whole"), "{inside}");
        assert_eq!(tally(&bench), [0, 3]);
        // Torn or cut, it ends the receiver: its answer does not come, or sending already fails.
        assert!(measured_with(|message| message[63] ^= 1, &bench).is_some());
        assert!(measured_with(|message| message.truncate(56), &bench).is_some());
        assert_eq!(bench.tally.timed_sent.get(), 0);
    }

    #[test]
    fn a_message_that_comes_out_of_order_ends_the_contest() {
        let wrong = measured_with(
            |message| [0, 48].into_iter().for_each(|at| message[at] |= 4), // Numbers 0 to 3 arrive as 4 to 7.
            &bench(),
        );
        assert!(wrong.unwrap().contains("0 of 3 messages arrived whole and in order"));
    }

    #[test]
    fn a_memcpy_is_checked_and_every_message_is_copied() {
        let bench = bench();
        for place_bytes in [64, 1024] {
            let mut send = copy(Course { name: "memcpy", bytes: 1024, bench: &bench }, place_bytes);
            (0..100).for_each(|number| send(Stamp::numbered(number)).unwrap());
            send(Stamp::numbered(100).whole()).unwrap();
        }
    }
}
