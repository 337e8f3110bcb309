//! A message written into the other process's own memory, and the answer read from there; a futex says when.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release},
};

use anyhow::{Context, Result, ensure};
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

use super::desk::{ASKER, Desk, PEER};
use super::exchange::End;
use super::futex;
use super::message::{BYTES, Message, WORDS};

/// The bytes never lie in shared memory: of the desk only the numbers are used.
pub struct RemoteEnd {
    desk: Desk,
    side: usize,
    sent: u32,
    received: u32,
    /// The child's; the asker knows it by its address alone, which a fork leaves as it was.
    words: Arc<[AtomicU64; WORDS]>,
    peer: Option<Pid>,
}

pub fn pair() -> Result<(RemoteEnd, RemoteEnd)> {
    let (desk, words) = (Desk::new()?, Arc::new([const { AtomicU64::new(0) }; WORDS]));
    let end =
        |side| RemoteEnd { desk: desk.clone(), side, sent: 0, received: 0, words: Arc::clone(&words), peer: None };
    Ok((end(ASKER), end(PEER)))
}

impl RemoteEnd {
    fn there(&self) -> RemoteIoVec {
        RemoteIoVec { base: self.words.as_ptr() as usize, len: BYTES }
    }

    fn peer(&self) -> Result<Pid> {
        self.peer.context("nobody was met")
    }

    fn tell(&mut self) {
        self.sent = self.sent.wrapping_add(1);
        let number = &self.desk.place(1 - self.side, self.sent).number;
        number.store(self.sent, Release); // Publishes the words to whoever reads this number.
        futex::wake_one(number);
    }

    fn wait(&mut self) -> Result<()> {
        self.received = self.received.wrapping_add(1);
        futex::wait_for(&self.desk.place(self.side, self.received).number, self.received)
    }

    fn put(&self, bytes: [u8; BYTES]) -> Result<()> {
        if self.side == ASKER {
            let bytes = process_vm_writev(self.peer()?, &[IoSlice::new(&bytes)], &[self.there()])
                .context("process_vm_writev")?;
            ensure!(bytes == BYTES, "{bytes} bytes were written");
        } else {
            for (place, word) in self.words.iter().zip(bytes.as_chunks::<{ size_of::<u64>() }>().0) {
                place.store(u64::from_ne_bytes(*word), Relaxed);
            }
        }
        Ok(())
    }

    fn take(&self) -> Result<[u8; BYTES]> {
        let mut bytes = [0; BYTES];
        if self.side == ASKER {
            let bytes = process_vm_readv(self.peer()?, &mut [IoSliceMut::new(&mut bytes)], &[self.there()])
                .context("process_vm_readv")?;
            ensure!(bytes == BYTES, "{bytes} bytes were read");
        } else {
            // Atomic: the kernel wrote them behind the compiler's back.
            for (place, word) in bytes.chunks_exact_mut(size_of::<u64>()).zip(self.words.iter()) {
                place.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
            }
        }
        Ok(bytes)
    }
}

impl End for RemoteEnd {
    fn send(&mut self, message: Message) -> Result<()> {
        self.put(message.to_bytes())?;
        self.tell();
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        self.wait()?;
        Ok(Message::from_bytes(self.take()?))
    }

    fn meet(&mut self, process: Pid) {
        self.peer = Some(process);
    }

    /// The peer must live until its last words have been read: they are in its memory alone.
    fn part(&mut self) -> Result<()> {
        if self.side == PEER {
            return self.wait();
        }
        self.tell();
        Ok(())
    }
}
