//! The ways between threads that move a message's owner, and leave its bytes where they are.

use std::sync::mpsc;

use anyhow::Result;
use crossbeam_channel::bounded;

use super::memory::under_way;
use super::message::{Check, Stamp};

/// By crossbeam's bounded channel; the buffers come back by another one.
pub fn by_crossbeam(
    bytes: usize,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()> + Send + 'static) {
    let (to, from) = bounded::<Vec<u8>>(under_way(bytes));
    let (give_back, empty) = bounded(under_way(bytes));
    let mut fresh = buffers(bytes);
    let send = move |stamp: Stamp| {
        let mut message = if let Some(first_use) = fresh.pop() { first_use } else { empty.recv()? };
        stamp.put_on(&mut message);
        Ok(to.send(message)?)
    };
    let receive = move |check: &mut Check| {
        let message = from.recv()?;
        check.look(&message)?;
        Ok(give_back.send(message)?)
    };
    (send, receive)
}

/// By std's bounded channel; the buffers come back by another one.
pub fn by_sync_channel(
    bytes: usize,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()> + Send + 'static) {
    let (to, from) = mpsc::sync_channel::<Vec<u8>>(under_way(bytes));
    let (give_back, empty) = mpsc::sync_channel(under_way(bytes));
    let mut fresh = buffers(bytes);
    let send = move |stamp: Stamp| {
        let mut message = if let Some(first_use) = fresh.pop() { first_use } else { empty.recv()? };
        stamp.put_on(&mut message);
        Ok(to.send(message)?)
    };
    let receive = move |check: &mut Check| {
        let message = from.recv()?;
        check.look(&message)?;
        Ok(give_back.send(message)?)
    };
    (send, receive)
}

/// All that may be under way, each written once, so that its memory is there.
fn buffers(bytes: usize) -> Vec<Vec<u8>> {
    vec![vec![1; bytes]; under_way(bytes)]
}
