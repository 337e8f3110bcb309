//! What does one side see when the other is killed in the middle of a message?

use std::io::{self, PipeReader, PipeWriter, Read, Write};

use anyhow::{Context, Result, bail};
use ipc_demo::shared_region::SharedRegion;
use nix::sys::signal::{SigHandler, Signal, kill, raise, signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use process_demo::child::{Child, Exit, fork};

use super::board::{Board, Side};
use super::traces;
use super::watch::{Answer, Watch};
use super::ways::{Ends, Flood, Halving, Names, Receiver, Refusal, Sender, Way};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dies {
    Writer,
    Reader,
}

/// What SIGPIPE does to the side that writes: it kills a program that says nothing, and Rust's start-up ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSigpipe {
    Dies,
    Ignores,
}

/// What was seen of one death.
#[derive(Debug)]
pub struct Sight {
    /// The victim stood stopped in the middle of its message, and SIGKILL ended it.
    pub in_the_middle: bool,
    pub answer: Answer,
    /// In the way's unit: what the writer got rid of, what the reader took, what a newcomer could fetch afterwards.
    pub accepted: u64,
    pub received: u64,
    pub fetched: u64,
    /// What was in the system when both sides were gone.
    pub left: Vec<String>,
    /// Nothing with a name was there any more after that was taken away.
    pub cleaned: bool,
}

impl Sight {
    /// What the writer got rid of and nobody can ever read.
    pub fn lost(&self) -> u64 {
        self.accepted.saturating_sub(self.received + self.fetched)
    }
}

const MESSAGE_HALVES: usize = 2;

/// Plays one death, and takes away all that it made.
pub fn play(way: &Way, dies: Dies, on_sigpipe: OnSigpipe, names: &Names) -> Result<Sight> {
    let Ends { sender, receiver, mut newcomer, undo, port } = (way.open)(names)?;
    let board = Board::of(SharedRegion::new(Board::BYTES)?);
    let mut ends = (Some(sender), Some(receiver));
    let (victim, mut to_victim) = start_victim(way, dies, &mut ends, &board)?;
    let (survivor, mut watch, mut to_survivor) = start_survivor(way, dies, on_sigpipe, &mut ends, &board)?;
    drop(ends); // As long as this process had them open, nobody would ever see an end.
    board.introduce(victim.pid(), survivor.pid());
    if dies == Dies::Reader {
        to_survivor.write_all(&[0])?;
        watch.sent()?; // There is a whole message, of which the reader takes one half.
    }
    to_victim.write_all(&[0])?;
    let was_sending = dies == Dies::Writer && way.halving == Halving::WithinOneCall;
    let in_the_middle = stopped_halfway(victim.pid(), was_sending.then_some(&board))?;
    let waits_first = dies == Dies::Writer || way.flood == Flood::Blocks;
    if waits_first {
        to_survivor.write_all(&[0])?;
        watch.until_asleep(&board)?;
    }
    kill(victim.pid(), Signal::SIGKILL).context("killing the victim")?;
    let killed = victim.wait()? == Exit::Signal(Signal::SIGKILL); // Reaped: the kernel has closed all that it had.
    if !waits_first {
        to_survivor.write_all(&[0])?;
    }
    let (answer, survivor) = watch.answer(survivor, way.patience_ms)?;
    let (accepted, received) = board.counted(); // Before a newcomer makes room for more.
    let fetched = if dies == Dies::Reader { newcomer() } else { 0 };
    drop(survivor);
    let left = traces::look(names, port);
    drop((newcomer, undo));
    let cleaned = traces::look(names, None).is_empty();
    Ok(Sight { in_the_middle: in_the_middle && killed, answer, accepted, received, fetched, left, cleaned })
}

type BothEnds = (Option<Box<dyn Sender>>, Option<Box<dyn Receiver>>);

/// Waits until the victim has stopped itself, or stops it where it sleeps in its one call.
fn stopped_halfway(victim: Pid, sending: Option<&Board>) -> Result<bool> {
    if let Some(board) = sending {
        Watch::until_in_its_call(victim, board)?;
        kill(victim, Signal::SIGSTOP).context("stopping the victim")?;
    }
    match waitpid(victim, Some(WaitPidFlag::WUNTRACED)).context("waiting for the victim to stop")? {
        WaitStatus::Stopped(_, Signal::SIGSTOP) => Ok(true),
        other => bail!("the victim did not stop in the middle: {other:?}"),
    }
}

fn start_victim(way: &Way, dies: Dies, ends: &mut BothEnds, board: &Board) -> Result<(Child, PipeWriter)> {
    let (gate, opener) = io::pipe().context("a pipe")?;
    let halving = way.halving;
    let work = || {
        match dies {
            Dies::Writer => ends.1 = None,
            Dies::Reader => ends.0 = None,
        }
        let halfway = match ends {
            (Some(sender), None) => write_half(&mut **sender, board, gate),
            (None, Some(receiver)) => read_half(&mut **receiver, halving, board, gate),
            _ => Ok(()),
        };
        u8::from(halfway.is_err())
    };
    // SAFETY: what both have in shared memory are atomics and a mutex that nobody holds yet.
    let victim = unsafe { fork(work) }.context("starting a process")?;
    Ok((victim, opener))
}

fn write_half(sender: &mut dyn Sender, board: &Board, mut gate: PipeReader) -> Result<(), Refusal> {
    gate.read_exact(&mut [0])?;
    sender.meet(board.survivor())?;
    board.begin(Side::Victim);
    board.accept(sender.send()?); // One that cannot be halved never returns: nobody reads.
    Ok(raise(Signal::SIGSTOP)?)
}

fn read_half(
    receiver: &mut dyn Receiver,
    halving: Halving,
    board: &Board,
    mut gate: PipeReader,
) -> Result<(), Refusal> {
    gate.read_exact(&mut [0])?;
    receiver.meet(board.survivor())?;
    if halving == Halving::ByItself {
        board.receive(receiver.receive()?);
    }
    Ok(raise(Signal::SIGSTOP)?)
}

/// The survivor tells by a pipe what it sees; its gate opens once to begin, and for a writer once more to go on.
fn start_survivor(
    way: &Way,
    dies: Dies,
    on_sigpipe: OnSigpipe,
    ends: &mut BothEnds,
    board: &Board,
) -> Result<(Child, Watch, PipeWriter)> {
    let (gate, opener) = io::pipe().context("a pipe")?;
    let (reports, reporter) = io::pipe().context("a pipe")?;
    let work = || {
        match dies {
            Dies::Writer => ends.0 = None,
            Dies::Reader => ends.1 = None,
        }
        let told = match ends {
            (Some(sender), None) => write_on(&mut **sender, way, on_sigpipe, board, &gate, &reporter),
            (None, Some(receiver)) => read_on(&mut **receiver, way, board, &gate),
            _ => Ok("no end".to_owned()),
        };
        let told = told.unwrap_or_else(|Refusal(name)| name);
        // Its end stays open: what lies in a FIFO lives as long as somebody has it open.
        let stay = (&reporter).write_all(format!("{told}\n").as_bytes()).and_then(|()| (&gate).read_exact(&mut [0]));
        u8::from(stay.is_err())
    };
    // SAFETY: as for the victim; only that one can hold the mutex, and it is another process.
    let survivor = unsafe { fork(work) }.context("starting a process")?;
    drop((gate, reporter)); // Only the survivor has them now: its end is seen as the end of its reports.
    let watch = Watch::over(survivor.pid(), reports);
    Ok((survivor, watch, opener))
}

fn read_on(receiver: &mut dyn Receiver, way: &Way, board: &Board, mut gate: &PipeReader) -> Result<String, Refusal> {
    gate.read_exact(&mut [0])?;
    receiver.meet(board.victim())?;
    board.begin(Side::Survivor);
    let half = board.counted().0;
    loop {
        match receiver.receive()? {
            0 => return Ok("end".to_owned()),
            taken => board.receive(taken),
        }
        let whole = if way.halving == Halving::WithinOneCall { 1 } else { half * MESSAGE_HALVES as u64 };
        if board.counted().1 >= whole {
            return Ok("whole".to_owned());
        }
    }
}

const TRIES: usize = 4; // Where nothing ever blocks: the first may still find what the dead has not yet lost.

fn write_on(
    sender: &mut dyn Sender,
    way: &Way,
    on_sigpipe: OnSigpipe,
    board: &Board,
    mut gate: &PipeReader,
    mut reporter: &PipeWriter,
) -> Result<String, Refusal> {
    let action = if on_sigpipe == OnSigpipe::Dies { SigHandler::SigDfl } else { SigHandler::SigIgn };
    // SAFETY: no handler of ours is installed.
    unsafe { signal(Signal::SIGPIPE, action) }?;
    gate.read_exact(&mut [0])?;
    sender.meet(board.victim())?;
    if way.halving == Halving::ByItself {
        for _ in 0..MESSAGE_HALVES {
            board.accept(sender.send()?);
        }
    }
    reporter.write_all(b"sent\n")?;
    gate.read_exact(&mut [0])?;
    board.begin(Side::Survivor);
    match way.flood {
        Flood::Blocks => loop {
            board.accept(sender.flood()?);
        },
        Flood::NeverBlocks => {
            for _ in 0..TRIES {
                board.accept(sender.flood()?);
            }
            Ok("nothing".to_owned())
        }
    }
}
