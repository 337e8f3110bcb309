//! The ways between threads that move a message's owner, and leave its bytes where they are.

use std::sync::mpsc;

use anyhow::{Context, Result};
use crossbeam_channel::bounded;

use super::memory::under_way;
use super::message::{Check, Stamp};

/// By crossbeam's bounded channel; the buffers come back by another one.
pub fn by_crossbeam(
    bytes: usize,
) -> Result<(impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()> + Send + 'static)> {
    let (to, from) = bounded::<Vec<u8>>(under_way(bytes));
    let (give_back, empty) = bounded(under_way(bytes));
    buffers(bytes).try_for_each(|buffer| give_back.send(buffer)).context("storing the buffers")?;
    let send = move |stamp: Stamp| {
        let mut message = empty.recv()?;
        stamp.put_on(&mut message);
        Ok(to.send(message)?)
    };
    let receive = move |check: &mut Check| {
        let message = from.recv()?;
        check.look(&message)?;
        Ok(give_back.send(message)?)
    };
    Ok((send, receive))
}

/// By std's bounded channel; the buffers come back by another one.
pub fn by_sync_channel(
    bytes: usize,
) -> Result<(impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()> + Send + 'static)> {
    let (to, from) = mpsc::sync_channel::<Vec<u8>>(under_way(bytes));
    let (give_back, empty) = mpsc::sync_channel(under_way(bytes));
    buffers(bytes).try_for_each(|buffer| give_back.send(buffer)).context("storing the buffers")?;
    let send = move |stamp: Stamp| {
        let mut message = empty.recv()?;
        stamp.put_on(&mut message);
        Ok(to.send(message)?)
    };
    let receive = move |check: &mut Check| {
        let message = from.recv()?;
        check.look(&message)?;
        Ok(give_back.send(message)?)
    };
    Ok((send, receive))
}

/// All that may be under way, each written once, so that its memory is there.
fn buffers(bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..under_way(bytes)).map(move |_| vec![1; bytes])
}
