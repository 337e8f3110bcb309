//! One side is killed in the middle of a message: what does the other see, what is lost, and what is left?

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use process_demo::asleep::{Sleep, look_until};
use process_demo::child::Exit;
use process_demo::crew::{Crew, Kind, NOTHING, Reply};
use shared::measure::SystemClock;

use super::mechanisms::{BELL, End, HALF_BYTES, Line, Mechanism};
use crate::asleep::name_of;
use crate::names::{Names, left_at_port};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dies {
    Writer,
    Reader,
}

/// What was seen of one death.
#[derive(Debug)]
pub struct Sight {
    /// The victim stood stopped in the middle of its message, and SIGKILL ended it.
    pub in_the_middle: bool,
    /// Where the writer died: whether its reader had taken the half.
    pub half_was_read: bool,
    /// By what the survivor learns of it: the end, or an error. Or what it sees in place of that.
    pub answer: Result<String, &'static str>,
    /// Where it is silent, the call in which it sleeps on: not once woken since before the kill.
    pub sleeps_in: Option<String>,
    /// Whether SIGPIPE killed the survivor, once it did not ignore that any more; none where it saw no EPIPE.
    pub by_sigpipe: Option<bool>,
    /// What the writer got rid of and nobody can ever read, in the mechanism's unit.
    pub lost: u64,
    /// What was in the system when both sides were gone.
    pub left: Vec<&'static str>,
    /// Nothing with a name was there any more after that was removed.
    pub cleaned: bool,
}

pub const HALF_AS_WHOLE: &str = "half as whole"; // It took what came for a whole message.

const FLOOD_BYTES: usize = 1 << 16; // TCP takes megabytes: in halves of a message that would be long.

/// Plays one death, and removes all that it made.
pub fn play(mechanism: &Mechanism, dies: Dies, names: &Names) -> Result<Sight> {
    let named = names.until_dropped();
    let Line { send, receive, newcomer, port } = (mechanism.open)(names)?;
    let ends = Mutex::new(Some((send, receive)));
    let take_both = || {
        SigSet::from(BELL).thread_block()?; // It would end whoever does not wait for it.
        ends.lock().unwrap().take().context("a process has its ends once")
    };
    let mut writer = Side::of(Crew::of(Kind::Processes, 1, || Ok(take_both()?.0))?);
    let mut reader = Side::of(Crew::of(Kind::Processes, 1, || Ok(take_both()?.1))?);
    drop(ends); // As long as this process had them open, nobody would ever see an end.
    (writer.peer, reader.peer) = (reader.crew.tid(0), writer.crew.tid(0));

    // The first half goes. With some mechanism one call sends all: its middle is where it sleeps.
    writer.call(HALF_BYTES)?;
    let in_one_call = writer.asleep.is_some();
    let whole = if in_one_call { 1 } else { 2 * writer.taken };
    if dies == Dies::Reader && !in_one_call {
        reader.call(HALF_BYTES)?;
        writer.call(HALF_BYTES)?;
        if reader.asleep.is_some() {
            reader.call(HALF_BYTES)?; // It has waited for a lock, which is free after a whole message.
        }
    }
    let (victim, survivor, survivor_waits) = match dies {
        Dies::Writer => (&mut writer, &mut reader, true),
        Dies::Reader => (&mut reader, &mut writer, mechanism.writer_waits),
    };
    kill(survivor.peer, Signal::SIGSTOP)?;
    let stopped = matches!(waitid(Id::Pid(survivor.peer), WaitPidFlag::WSTOPPED)?, WaitStatus::Stopped(..));
    if survivor_waits && survivor.asleep.is_none() {
        let asleep = look_until(SystemClock, || survivor.call(FLOOD_BYTES).map(|()| survivor.asleep))?;
        asleep.context("the survivor never slept in its mechanism")?;
    }
    let half_was_read = survivor.taken > 0;
    let halfway = in_one_call || (1..whole).contains(&victim.taken);
    kill(survivor.peer, Signal::SIGKILL)?;
    // Reaped: the kernel has closed all that it had.
    let killed = victim.crew.hear(0)? == Reply::Gone(Exit::Signal(Signal::SIGKILL));
    let answer = survivor.answer(mechanism.patience, (dies == Dies::Writer).then_some(whole))?;
    // The writer still has its end open: what lies in a FIFO lives no longer than that.
    let fetched = if dies == Dies::Reader { newcomer()? } else { 0 };
    let sleeps_in = survivor.asleep.and_then(|sleep| sleep.call.ok()).map(|call| name_of(call.number));
    let by_sigpipe = (answer == Ok("EPIPE".to_owned())).then(|| survivor.dies_of_sigpipe()).transpose()?;
    let lost = writer.taken.saturating_sub(reader.taken + fetched);
    drop((writer, reader));
    let left = [names.left(), port.and_then(left_at_port).into_iter().collect()].concat();
    drop((newcomer, named));
    let cleaned = names.left().is_empty();
    let in_the_middle = halfway && stopped && killed;
    Ok(Sight { in_the_middle, half_was_read, answer, sleeps_in, by_sigpipe, lost, left, cleaned })
}

/// A process that has one end, and makes one call of it whenever it is told.
struct Side {
    crew: Crew<End>,
    peer: Pid,
    /// What its calls took together, in the mechanism's unit.
    taken: u64,
    /// Its sleep in the call that it was told last.
    asleep: Option<Sleep>,
}

impl Side {
    fn of(crew: Crew<End>) -> Side {
        Side { crew, peer: Pid::this(), taken: 0, asleep: None }
    }

    /// Has it make one call, unless it sleeps in one.
    fn tell(&mut self, bytes: usize) {
        if self.asleep.is_some() {
            return;
        }
        let arguments = [bytes as u64, self.peer.as_raw() as u64, 0];
        self.crew.tell(0, |end, [bytes, peer, _]| end(bytes as usize, Pid::from_raw(peer as i32)), arguments);
    }

    /// What came of its call; none while it sleeps.
    fn see(&mut self) -> Result<Option<Reply>> {
        let seen = self.crew.hear_or_see_asleep(0, SystemClock)?;
        self.asleep = seen.as_ref().err().copied();
        Ok(seen.ok())
    }

    /// One call, while both live: it takes something, or sleeps.
    fn call(&mut self, bytes: usize) -> Result<()> {
        self.tell(bytes);
        if let Some(reply) = self.see()? {
            let taken = reply.value()?;
            ensure!(taken > 0, "a side saw an end before anybody died");
            self.taken += taken;
        }
        Ok(())
    }

    /// What it sees once the other is dead and reaped; a reader is content with a whole message.
    fn answer(&mut self, patience: Duration, whole: Option<u64>) -> Result<Result<String, &'static str>> {
        const TRIES: usize = 4; // Where nothing ever blocks: the first may still find what the dead has not yet lost.
        for _ in 0..TRIES {
            self.tell(FLOOD_BYTES);
            match self.reply(patience)? {
                None => return Ok(Err("silence")),
                Some(Reply::Done(0)) => return Ok(Ok("end".to_owned())),
                Some(Reply::Done(taken)) => self.taken += taken,
                Some(Reply::Failed { says, errno: Errno::UnknownErrno }) => return Ok(Ok(says)),
                Some(Reply::Failed { errno, .. }) => return Ok(Ok(format!("{errno:?}"))),
                Some(ended) => bail!("the survivor did not survive: {ended:?}"),
            }
            if whole.is_some_and(|whole| self.taken >= whole) {
                return Ok(Err(HALF_AS_WHOLE));
            }
        }
        Ok(Err("no error"))
    }

    /// None if it sleeps on for longer than a wake may be late.
    fn reply(&mut self, patience: Duration) -> Result<Option<Reply>> {
        if let Some(reply) = self.crew.hear_within(0, patience)? {
            self.asleep = None;
            return Ok(Some(reply));
        }
        let (before, reply) = (self.asleep, self.see()?);
        ensure!(reply.is_some() || before.is_none() || self.asleep == before, "the survivor woke, and never answered");
        Ok(reply)
    }

    /// Its next call, now that SIGPIPE does again what it does to programs in any language; Rust's start-up ignores it.
    fn dies_of_sigpipe(&mut self) -> Result<bool> {
        // SAFETY: no handler of ours is installed.
        let kills = |_: &mut End, _| Ok(unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(|_| 0)?);
        self.crew.ask(0, kills, NOTHING)?.value()?;
        self.tell(HALF_BYTES);
        Ok(self.see()? == Some(Reply::Gone(Exit::Signal(Signal::SIGPIPE))))
    }
}
