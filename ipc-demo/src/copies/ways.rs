//! Four ways to hand a payload over: moved, copied by a pipe, serialized, mapped.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use ipc_channel::ipc::{IpcReceiver, IpcSender, channel};
use ipc_demo::pass_fd::{receive_fds, send_fds};
use ipc_demo::shared_region::SharedRegion;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shared::Placement;
use shared::measure::{Pinning, Rival};
use shared::number::chosen_with_unit;

use super::hand_over::{Giver, Tally, processes, threads};
use super::payload::{answer_to, filled, stamp};

/// One way, in the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Moved,
    Mapped,
    Copied,
    Serialized,
}

pub const WAYS: [Way; 4] = [Way::Moved, Way::Mapped, Way::Copied, Way::Serialized];

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::Moved => "Box",
            Way::Mapped => "memfd",
            Way::Copied => "pipe",
            Way::Serialized => "ipc-channel",
        }
    }

    pub fn label(self, bytes: usize) -> String {
        format!("{} {}", chosen_with_unit("bytes", bytes as f64), self.name())
    }

    pub fn rival(self, bytes: usize, placement: Placement, tally: &Tally) -> Rival<'_> {
        let label = self.label(bytes);
        match self {
            Way::Moved => threads(label, placement, tally, move |pinning| Moved::start(pinning, bytes)),
            Way::Mapped => processes(label, placement, tally, move || mapped(bytes), Mapping::take),
            Way::Copied => processes(label, placement, tally, move || copied(bytes), Copied::take),
            Way::Serialized => processes(label, placement, tally, move || serialized(bytes), Serialized::take),
        }
    }
}

/// The Box goes there and comes back: what moves is its address.
struct Moved {
    payload: Option<Box<[u64]>>,
    to: Option<Sender<Box<[u64]>>>,
    back: Receiver<(Box<[u64]>, u64)>,
    taker: Option<JoinHandle<()>>,
}

impl Moved {
    fn start(pinning: Pinning, bytes: usize) -> Result<Moved> {
        let ((to, from), (answers, back)) = (bounded::<Box<[u64]>>(1), bounded(1));
        let take = move || {
            let Ok(_pinned) = pinning.peer.pin() else { return };
            while let Ok(payload) = from.recv() {
                let answer = answer_to(&payload, bytes);
                if answers.send((payload, answer)).is_err() {
                    return;
                }
            }
        };
        let taker = Builder::new().spawn(take).context("starting a thread")?;
        Ok(Moved { payload: Some(filled(bytes).into()), to: Some(to), back, taker: Some(taker) })
    }
}

impl Giver for Moved {
    fn give(&mut self, turn: u64) -> Result<u64> {
        let mut payload = self.payload.take().context("the Box is under way")?;
        stamp(&mut payload, turn);
        self.to.as_ref().context("the channel is closed")?.send(payload)?;
        let (payload, answer) = self.back.recv()?;
        self.payload = Some(payload);
        Ok(answer)
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        self.to = None; // The taker sees the end, and ends.
        if let Some(taker) = self.taker.take() {
            let _ = taker.join(); // It never panics; nothing is passed on while something is dropped.
        }
    }
}

/// The answer that comes back by a pipe, to every way between processes.
fn read_answer(answers: &mut PipeReader) -> Result<u64> {
    let mut answer = [0; 8];
    answers.read_exact(&mut answer)?;
    Ok(u64::from_ne_bytes(answer))
}

/// All of it is written, and all of it is read.
struct Copied<End> {
    payload: Vec<u64>,
    end: End,
}

type CopiedEnds = (Copied<(PipeWriter, PipeReader)>, Copied<(PipeReader, PipeWriter)>);

fn copied(bytes: usize) -> Result<CopiedEnds> {
    let ((from, to), (back, answers)) = (pipe()?, pipe()?);
    let here = Copied { payload: filled(bytes), end: (to, back) };
    Ok((here, Copied { payload: vec![0; bytes / size_of::<u64>()], end: (from, answers) }))
}

impl Giver for Copied<(PipeWriter, PipeReader)> {
    fn give(&mut self, turn: u64) -> Result<u64> {
        stamp(&mut self.payload, turn);
        // SAFETY: every byte of a number may be read as a byte.
        let bytes = unsafe { self.payload.align_to::<u8>() }.1;
        self.end.0.write_all(bytes)?;
        read_answer(&mut self.end.1)
    }
}

impl Copied<(PipeReader, PipeWriter)> {
    fn take(&mut self) -> Result<()> {
        // SAFETY: any eight bytes are a number.
        let bytes = unsafe { self.payload.align_to_mut::<u8>() }.1;
        self.end.0.read_exact(bytes)?;
        let answer = answer_to(&self.payload, size_of_val(&self.payload[..]));
        Ok(self.end.1.write_all(&answer.to_ne_bytes())?)
    }
}

/// A value is encoded, sent, received and decoded.
struct Serialized<End> {
    payload: Numbers,
    end: End,
}

/// Encoded as the numbers that it holds. `send` takes a value by itself, so that a copy must be as cheap as can be.
#[derive(Clone)]
struct Numbers(Rc<Vec<u64>>);

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Numbers, D::Error> {
        Vec::deserialize(from).map(|numbers| Numbers(Rc::new(numbers)))
    }
}

type SerializedEnds = (Serialized<(IpcSender<Numbers>, PipeReader)>, Serialized<(IpcReceiver<Numbers>, PipeWriter)>);

fn serialized(bytes: usize) -> Result<SerializedEnds> {
    let ((to, from), (back, answers)) = (channel()?, pipe()?);
    let here = Serialized { payload: Numbers(Rc::new(filled(bytes))), end: (to, back) };
    Ok((here, Serialized { payload: Numbers(Rc::default()), end: (from, answers) }))
}

impl Giver for Serialized<(IpcSender<Numbers>, PipeReader)> {
    fn give(&mut self, turn: u64) -> Result<u64> {
        let numbers = Rc::get_mut(&mut self.payload.0).context("the value that was sent is gone")?;
        stamp(numbers, turn);
        self.end.0.send(self.payload.clone())?;
        read_answer(&mut self.end.1)
    }
}

impl Serialized<(IpcReceiver<Numbers>, PipeWriter)> {
    fn take(&mut self) -> Result<()> {
        self.payload = self.end.0.recv()?;
        let answer = answer_to(&self.payload.0, size_of_val(&self.payload.0[..]));
        Ok(self.end.1.write_all(&answer.to_ne_bytes())?)
    }
}

/// The side that has the memory; each time it hands over a new descriptor of it.
struct Mapped {
    region: SharedRegion,
    socket: UnixStream,
    answers: PipeReader,
}

/// The side that maps what it is given, looks at it, and lets go of it.
struct Mapping {
    socket: UnixStream,
    answers: PipeWriter,
}

fn mapped(bytes: usize) -> Result<(Mapped, Mapping)> {
    let mut region = SharedRegion::new(bytes)?;
    numbers_of(&mut region).copy_from_slice(&filled(bytes));
    let ((here, there), (back, answers)) = (UnixStream::pair()?, pipe()?);
    Ok((Mapped { region, socket: here, answers: back }, Mapping { socket: there, answers }))
}

impl Giver for Mapped {
    fn give(&mut self, turn: u64) -> Result<u64> {
        stamp(numbers_of(&mut self.region), turn);
        send_fds(&self.socket, &[self.region.fd()])?;
        read_answer(&mut self.answers)
    }
}

impl Mapping {
    fn take(&mut self) -> Result<()> {
        let mut given = receive_fds(&self.socket, 1)?.context("the giver is gone")?;
        let mut region = SharedRegion::from_fd(given.remove(0))?;
        let bytes = region.len();
        let answer = answer_to(numbers_of(&mut region), bytes);
        Ok(self.answers.write_all(&answer.to_ne_bytes())?)
    }
}

fn numbers_of(region: &mut SharedRegion) -> &mut [u64] {
    // SAFETY: the region is that long, aligned to a page and lives as long; any bytes are numbers. The other process
    // touches it only between getting the descriptor and giving its answer, when this one waits.
    unsafe { std::slice::from_raw_parts_mut(region.as_ptr().cast(), region.len() / size_of::<u64>()) }
}
