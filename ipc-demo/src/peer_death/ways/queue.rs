//! A POSIX message queue: it belongs to the system, not to its users.

use std::rc::Rc;

use anyhow::{Context, Result};
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_close, mq_open, mq_receive, mq_send, mq_set_nonblock, mq_unlink};
use nix::sys::stat::Mode;

use super::{Ends, HALF_BYTES, MARK, Names, Receiver, Refusal, Sender, Undo, check};

const ROOM: i64 = 4; // Messages: few, so that it is soon full; an ordinary user may have ten.

/// One open description: each side inherits it by fork.
struct Queue(Rc<Descriptor>);

struct Descriptor(Option<MqdT>);

impl Drop for Descriptor {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            let _ = mq_close(queue); // It fails only for what is not open.
        }
    }
}

impl Descriptor {
    fn get(&self) -> &MqdT {
        self.0.as_ref().expect("closed only on drop")
    }
}

impl Sender for Queue {
    fn send(&mut self) -> Result<u64, Refusal> {
        mq_send(self.0.get(), &[MARK; HALF_BYTES], 0)?;
        Ok(1)
    }
}

impl Receiver for Queue {
    fn receive(&mut self) -> Result<u64, Refusal> {
        let mut half = [0; HALF_BYTES];
        let bytes = mq_receive(self.0.get(), &mut half, &mut 0)?;
        check(&half[..bytes])?;
        Ok(1)
    }
}

pub fn open(names: &Names) -> Result<Ends> {
    let name = format!("/{}", names.system);
    let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR | MQ_OFlag::O_CLOEXEC;
    let size = MqAttr::new(0, ROOM, HALF_BYTES as i64, 0);
    let queue = mq_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&size)).context("mq_open")?;
    let queue = Rc::new(Descriptor(Some(queue)));
    let unlinked = name.clone();
    let undo = Undo::by(move || {
        let _ = mq_unlink(unlinked.as_str());
    });
    let newcomer = move || fetch_all(&name).unwrap_or(0);
    let (sender, receiver) = (Queue(Rc::clone(&queue)), Queue(queue));
    Ok(Ends { newcomer: Box::new(newcomer), undo, ..Ends::private(sender, receiver) })
}

/// By its name, as somebody who comes later: counts what is there, until it would have to wait.
fn fetch_all(name: &str) -> nix::Result<u64> {
    let queue = mq_open(name, MQ_OFlag::O_RDWR | MQ_OFlag::O_CLOEXEC, Mode::empty(), None)?;
    mq_set_nonblock(&queue)?;
    let mut fetched = 0;
    while mq_receive(&queue, &mut [0; HALF_BYTES], &mut 0).is_ok() {
        fetched += 1;
    }
    mq_close(queue)?;
    Ok(fetched)
}
