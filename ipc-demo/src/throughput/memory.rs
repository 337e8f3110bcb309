//! The ways through memory that both sides map: the snippet's ring, and ipc-channel's regions; and ipc-channel's bytes.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcReceiver, IpcSender, IpcSharedMemory, channel};
use ipc_demo::ring::Ring;
use ipc_demo::shared_region::SharedRegion;

use super::area::Area;
use super::message::{Check, Stamp};

/// How many messages of a size may be under way, where that is ours to choose: a mebibyte's worth, two thousand
/// at most, and two at least, so that one can be written while the other is read.
pub fn under_way(bytes: usize) -> usize {
    const ALL_BYTES: usize = 1 << 20;
    const MOST: usize = 2048;
    (ALL_BYTES / bytes).clamp(2, MOST)
}

/// With a slot for each message that may be under way.
pub fn new_ring(bytes: usize) -> Result<Ring> {
    Ring::new(under_way(bytes), bytes).context("a ring")
}

/// Copied into a slot by the sender, and out of it by the receiver.
pub fn ring(
    ring: Ring,
    bytes: usize,
    area: &RefCell<Area>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()> + Send + 'static) {
    let to = Arc::new(ring);
    let from = Arc::clone(&to);
    let (mut sender, mut receiver) = (None, None); // Each is claimed at its first use, by the process that uses it.
    let send = move |stamp| {
        if sender.is_none() {
            sender = Some(to.sender()?);
        }
        let sender = sender.as_mut().context("the role was claimed")?;
        Ok(sender.send(area.borrow_mut().next(bytes, stamp))?)
    };
    let mut buffer = vec![0; bytes];
    let receive = move |check: &mut Check| {
        if receiver.is_none() {
            receiver = Some(from.receiver()?);
        }
        let length = receiver.as_mut().context("the role was claimed")?.receive(&mut buffer)?;
        check.look(&buffer[..length])
    };
    (send, receive)
}

/// By ipc-channel's channel of bytes, which splits what is longer than a packet.
pub fn channel_of_bytes(
    (to, from): (IpcBytesSender, IpcBytesReceiver),
    bytes: usize,
    area: &RefCell<Area>,
) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()>) {
    let send = move |stamp| Ok(to.send(area.borrow_mut().next(bytes, stamp))?);
    let receive = move |check: &mut Check| check.look(&from.recv()?);
    (send, receive)
}

/// Each region has a descriptor, of which one user may have only so many under way.
pub fn regions_under_way(bytes: usize) -> usize {
    under_way(bytes).min(16)
}

/// Why no region may be made: where descriptors are few, ipc-channel panics.
pub fn region_refusal() -> Option<String> {
    const ENOUGH: usize = 64; // All rows of a contest together need fewer.
    let opened: io::Result<Vec<File>> = (0..ENOUGH).map(|_| File::open("/dev/null")).collect();
    opened.err().map(|error| format!("fewer than {ENOUGH} free descriptors: {error}"))
}

/// A channel of regions.
///
/// It would take hundreds of them, each as large as its message. So the receiver gives a byte back by a pipe for each
/// that it let go of, and the sender waits for one where too many are under way.
pub struct Regions {
    to: IpcSender<IpcSharedMemory>,
    from: IpcReceiver<IpcSharedMemory>,
    credit: PipeReader,
    give_credit: PipeWriter,
}

impl Regions {
    pub fn new(bytes: usize) -> Result<Regions> {
        drop(SharedRegion::new(bytes).context("a region")?); // Where memory is refused, from_bytes would panic.
        let ((to, from), (credit, give_credit)) = (channel().context("an ipc-channel")?, pipe()?);
        Ok(Regions { to, from, credit, give_credit })
    }

    /// Each message copied into a region of its own, whose descriptor is sent; the receiver maps it.
    pub fn ends(
        self,
        bytes: usize,
        area: &RefCell<Area>,
    ) -> (impl FnMut(Stamp) -> Result<()>, impl FnMut(&mut Check) -> Result<()>) {
        let Regions { to, from, mut credit, mut give_credit } = self;
        let mut free = regions_under_way(bytes);
        let send = move |stamp| {
            if free == 0 {
                free = credit.read(&mut [0; 64])?; // A bare read: however many there are.
                ensure!(free > 0, "the receiver is gone");
            }
            free -= 1;
            Ok(to.send(IpcSharedMemory::from_bytes(area.borrow_mut().next(bytes, stamp)))?)
        };
        let receive = move |check: &mut Check| {
            check.look(&from.recv()?)?;
            Ok(give_credit.write_all(&[0])?)
        };
        (send, receive)
    }
}
