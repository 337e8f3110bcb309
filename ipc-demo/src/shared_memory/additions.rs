//! Two processes add to one shared word: by one step, and by two steps that a barrier keeps apart.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use ipc_demo::shared_region::SharedRegion;
use ipc_demo::socket_pair::{SocketEnd, socket_pair};
use process_demo::child::{Exit, fork};

use super::memory::{WORD_BYTES, words_of};

/// How many additions both made together, and what the word said afterwards.
pub struct Sum {
    pub made: u64,
    pub kept: u64,
}

/// Both at once, each by fetch_add.
pub fn in_one_step(each: u64) -> Result<Sum> {
    add(each, |word, each, barrier| {
        pass(barrier)?; // Both are up, so they run at the same time where there are two CPUs.
        (0..each).for_each(|_| _ = word.fetch_add(1, Relaxed));
        Ok(())
    })
}

/// Both read before either writes: in every round, by a barrier where an unlucky preemption would be.
pub fn in_two_steps(each: u64) -> Result<Sum> {
    add(each, |word, each, barrier| {
        for _ in 0..each {
            let seen = word.load(Relaxed);
            pass(barrier)?;
            word.store(seen + 1, Relaxed);
            pass(barrier)?; // The next round reads what this one wrote.
        }
        Ok(())
    })
}

fn add(each: u64, work: fn(&AtomicU64, u64, &mut SocketEnd) -> Result<()>) -> Result<Sum> {
    let region = SharedRegion::new(WORD_BYTES)?;
    let word = &words_of(&region)[0];
    let (mut ours, mut theirs) = socket_pair().context("a socket pair")?;
    // SAFETY: what stays shared is a plain word.
    let child = unsafe { fork(move || u8::from(work(word, each, &mut theirs).is_err())) };
    let child = child.context("starting a process")?;
    work(word, each, &mut ours)?;
    let exit = child.wait()?;
    ensure!(exit == Exit::Code(0), "the other process failed: {exit}");
    Ok(Sum { made: 2 * each, kept: word.load(Relaxed) })
}

/// A barrier for two: neither goes on before both have come. The socket orders what was done before it.
fn pass(barrier: &mut SocketEnd) -> Result<()> {
    barrier.send(&[0])?;
    ensure!(barrier.receive(&mut [0])?, "the other side is gone");
    Ok(())
}
