//! The other side of a row: it sleeps in a pipe until it is told how many steps to play, and answers how many were right.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, ensure};
use process_demo::child::{Child, Exit, fork};
use shared::measure::Pinning;

/// A running peer. Dropping it tells it to end, and waits for that.
pub struct Peer {
    orders: PipeWriter,
    answers: PipeReader,
    who: Option<Who>,
}

enum Who {
    Process(Child),
    Thread(JoinHandle<Result<()>>),
}

const END: u64 = 0;

impl Peer {
    /// Forks; `make` runs in the child, where it claims what must be claimed there, and gives what plays so many steps.
    pub fn process<P: FnMut(u64) -> Result<u64>>(pinning: Pinning, make: impl FnOnce() -> Result<P>) -> Result<Peer> {
        let ((theirs, orders), (answers, to)) = (pipe()?, pipe()?);
        let work = move || u8::from(make().and_then(|play| serve(theirs, to, pinning, play)).is_err());
        // SAFETY: what the child touches are pipes, and mappings of which each side claims its own part.
        let child = unsafe { fork(work) }.context("starting a process")?;
        Ok(Peer { orders, answers, who: Some(Who::Process(child)) })
    }

    pub fn thread(pinning: Pinning, play: impl FnMut(u64) -> Result<u64> + Send + 'static) -> Result<Peer> {
        let ((theirs, orders), (answers, to)) = (pipe()?, pipe()?);
        let thread = Builder::new().spawn(move || serve(theirs, to, pinning, play)).context("starting a thread")?;
        Ok(Peer { orders, answers, who: Some(Who::Thread(thread)) })
    }

    pub fn child(&self) -> Option<&Child> {
        if let Some(Who::Process(child)) = &self.who { Some(child) } else { None }
    }

    /// Has it play so many steps beside `ours`; returns how many were right on both sides.
    pub fn play(&mut self, steps: u64, ours: impl FnOnce() -> Result<u64>) -> Result<u64> {
        self.order(steps)?;
        let right = ours()?;
        Ok(right.min(self.answer()?))
    }

    pub fn order(&mut self, steps: u64) -> Result<()> {
        ensure!(steps != END, "no steps");
        Ok(self.orders.write_all(&steps.to_ne_bytes())?)
    }

    pub fn answer(&mut self) -> Result<u64> {
        let mut answer = [0; 8];
        self.answers.read_exact(&mut answer).context("the peer has ended")?;
        Ok(u64::from_ne_bytes(answer))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let told = self.orders.write_all(&END.to_ne_bytes()).is_ok();
        let ended_well = match self.who.take() {
            Some(Who::Process(child)) if told => matches!(child.wait(), Ok(Exit::Code(0))),
            Some(Who::Thread(thread)) if told => matches!(thread.join(), Ok(Ok(()))),
            _ => false, // Dropping a child's handle kills it.
        };
        if !ended_well {
            eprintln!("a peer did not end by itself");
        }
    }
}

fn serve(
    mut orders: PipeReader,
    mut answers: PipeWriter,
    pinning: Pinning,
    mut play: impl FnMut(u64) -> Result<u64>,
) -> Result<()> {
    let _pinned = pinning.peer.pin()?;
    loop {
        let mut order = [0; 8];
        orders.read_exact(&mut order)?;
        match u64::from_ne_bytes(order) {
            END => return Ok(()),
            steps => answers.write_all(&play(steps)?.to_ne_bytes())?,
        }
    }
}
