//! How is one way measured? One side sends a batch, the other checks it message by message and answers at its end.

use std::cell::Cell;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, ensure};
use process_demo::child::fork;
use shared::Placement;
use shared::measure::{Pinning, Ready, Rival};

use super::message::{Check, Stamp};

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

/// What one row is besides its two ends.
pub struct Course<'a> {
    pub label: &'static str,
    pub placement: Placement,
    /// Messages in the pass that is not timed.
    pub whole: u64,
    pub tally: &'a Tally,
}

/// A row between this process and a child. Both ends are made before the fork; `receive` is used in the child alone.
pub fn processes<'a, S, R>(course: Course<'a>, ends: impl FnOnce() -> Result<(S, R)> + 'a) -> Rival<'a>
where
    S: FnMut(Stamp) -> Result<()> + 'a,
    R: FnMut(&mut Check) -> Result<()>,
{
    Rival::of_processes(course.label, course.placement, move |pinning| {
        let (send, receive) = ends()?;
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
        turns.compare_whole(&course)?;
        let turn = move |steps| {
            let _until_the_end = &child;
            turns.timed(steps, course.tally)
        };
        Ok(Ready::with_children(turn, vec![pid]))
    })
}

/// A row between two threads of this process. Dropping `send` must end `receive` with an error.
pub fn threads<'a, S, R>(course: Course<'a>, ends: impl FnOnce() -> Result<(S, R)> + 'a) -> Rival<'a>
where
    S: FnMut(Stamp) -> Result<()> + 'a,
    R: FnMut(&mut Check) -> Result<()> + Send + 'static,
{
    Rival::of_threads(course.label, course.placement, move |pinning| {
        let (send, receive) = ends()?;
        let (answers, to) = pipe()?;
        let worker = Builder::new().spawn(move || receive_all(receive, to, pinning)).context("starting a thread")?;
        let mut pair = Pair { turns: Some(Turns { send, answers, sent: 0 }), worker: Some(worker) };
        pair.turns()?.compare_whole(&course)?;
        Ok(Ready::new(move |steps| pair.turns()?.timed(steps, course.tally)))
    })
}

/// A row of nobody but this thread: `send` does it all, and fails if the message does not prove right.
pub fn alone<'a>(course: Course<'a>, mut send: impl FnMut(Stamp) -> Result<()> + 'a) -> Rival<'a> {
    Rival::of_threads(course.label, course.placement, move |_| {
        course.tally.rows.set(course.tally.rows.get() + 1);
        let mut sent = 0;
        for _ in 0..course.whole {
            send(Stamp::numbered(sent).whole().last())?;
            sent += 1;
        }
        add(&course.tally.whole_sent, course.whole);
        add(&course.tally.whole, course.whole);
        Ok(Ready::new(move |steps| {
            for _ in 0..steps {
                send(Stamp::numbered(sent).last())?;
                sent += 1;
            }
            add(&course.tally.timed_sent, steps);
            add(&course.tally.timed, steps);
            Ok(steps)
        }))
    })
}

/// The sending side.
struct Turns<S> {
    send: S,
    answers: PipeReader,
    sent: u64,
}

impl<S: FnMut(Stamp) -> Result<()>> Turns<S> {
    fn compare_whole(&mut self, course: &Course<'_>) -> Result<()> {
        let right = self.batch(course.whole, Stamp::whole)?;
        let tally = course.tally;
        add(&tally.rows, 1);
        add(&tally.whole_sent, course.whole);
        add(&tally.whole, right);
        ensure!(right == course.whole, "{right} of {} messages arrived whole and in order", course.whole);
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

    /// A row between two threads in which each message is changed on its way; the error, if it came to one.
    fn measured_with(change: fn(&mut Vec<u8>), tally: &Tally) -> Option<String> {
        let course = Course { label: "changed", placement: Placement::SameCpu, whole: 3, tally };
        let mut contest = Contest::new("one way", "nothing", Timing::Batches);
        contest.add(threads(course, move || {
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
        let tally = Tally::default();
        assert_eq!(measured_with(|_| {}, &tally), None);
        assert_eq!((tally.rows.get(), tally.whole.get(), tally.whole_sent.get()), (1, 3, 3));
        assert_eq!(tally.timed.get(), tally.timed_sent.get());
        assert!(tally.timed.get() > 0);
    }

    #[test]
    fn a_wrong_byte_ends_the_contest() {
        let tally = Tally::default();
        let inside = measured_with(|message| message[31] ^= 1, &tally).unwrap();
        assert!(inside.contains("0 of 3 messages arrived whole"), "{inside}");
        assert_eq!((tally.whole.get(), tally.whole_sent.get()), (0, 3));
        // Torn or cut, it ends the receiver: its answer does not come, or sending already fails.
        assert!(measured_with(|message| message[63] ^= 1, &tally).is_some());
        assert!(measured_with(|message| message.truncate(56), &tally).is_some());
        assert_eq!(tally.timed_sent.get(), 0);
    }

    #[test]
    fn a_message_that_comes_out_of_order_ends_the_contest() {
        let wrong = measured_with(
            |message| [0, 48].into_iter().for_each(|at| message[at] |= 4), // Numbers 0 to 3 arrive as 4 to 7.
            &Tally::default(),
        );
        assert!(wrong.unwrap().contains("0 of 3 messages arrived whole and in order"));
    }
}
