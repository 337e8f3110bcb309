//! Messages from one process or thread to another through shared memory, without a system call while both are busy.
//!
//! Needs: nix 0.31 (fs, mman)
//! Runs on: Linux of 64 bits with /proc
//! Tests need: nix 0.31 (process)
//! Instead: rtrb between two threads of one process, iceoryx2 for many peers; this one pairs two processes.
//!
//! ```text
//! +---------------------------------- The ring's contract -----------------------------------+
//! | One sender, one receiver; messages of 0 to `message_bytes` bytes, whole and in order.    |
//! | The peer may be slow, stopped, killed, buggy or hostile. The worst it can do is to send  |
//! | what it likes, to end the connection (`Corrupt`, `PeerGone`), to say nothing (time-outs  |
//! | end that), to wake you for nothing, and to punch holes into the memory: you get new and  |
//! | empty pages, unless memory has run out. It never makes you read or write elsewhere.      |
//! | - Nothing shared is used through a reference, other than to an atomic word. Each word    |
//! |   that the peer can write is read once into a local, checked, and then used.             |
//! | - A message is copied out before you see it. A peer that goes on writing makes a wrong   |
//! |   message of its own; it races with no plain access, so it is no undefined behaviour.    |
//! | - Waiting spins first and then sleeps on a futex. It spins longer where that has helped, |
//! |   and hardly ever where it has not. An idle side wakes up ten times a second to look.    |
//! | - A dropped peer is noticed at once, a killed one within 100 ms of sleep; the kernel     |
//! |   tells, by a lock that ends with its process. What it had sent in full still arrives.   |
//! | - For a peer that you trust as your own code there are two ends that copy nothing: they  |
//! |   lend the bytes of a slot (`sender_in_place`, `receiver_in_place`). With them a peer    |
//! |   that breaks the protocol causes undefined behaviour, so they are unsafe to claim. The  |
//! |   rest holds as above, and one side may copy while the other does not.                   |
//! +------------------------------------------------------------------------------------------+
//! ```
//!
//! What it does not do: wait for several rings at once, outlive its two handles, or replace a peer. It does not survive
//! a fork: claim a role after it, in the process that uses it; the copies that later children inherit are silent, but
//! hide a death as a copy of a pipe's end would, until they end. It waits for ever if its peer dies before it has
//! claimed its end, and while it spins it sees neither death nor time-out. Above a control group's memory limit
//! (SIGKILL) or RLIMIT_FSIZE (SIGXFSZ) a signal ends the process where you would expect an error.
//!
//! Between processes: each maps the ring and claims its role.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::sys::wait::waitpid;
//! use nix::unistd::{ForkResult, fork};
//!
//! let ring = Ring::new(16, 64)?;
//! // SAFETY: this process has one thread.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         let sent = ring.sender().is_ok_and(|mut sender| sender.send(b"hello").is_ok());
//!         // SAFETY: it ends the child and runs nothing of the parent's.
//!         unsafe { nix::libc::_exit(i32::from(!sent)) }
//!     }
//!     ForkResult::Parent { child } => {
//!         let mut buffer = [0; 64];
//!         let mut receiver = ring.receiver()?;
//!         let bytes = receiver.receive(&mut buffer)?;
//!         assert_eq!(&buffer[..bytes], b"hello");
//!         assert_eq!(receiver.receive(&mut buffer), Err(Error::PeerGone));
//!         waitpid(child, None)?;
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A process that was not forked gets the descriptor, `ring.fd()`, and calls `Ring::attach`.
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::ffi::c_void;
use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};
use std::{fmt, hint, io, process, ptr, slice};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

/// A ring in shared memory, whose two roles can each be claimed once.
///
/// The memory is an anonymous file of sealed size: no name is left behind, and no peer can shrink it under us.
#[derive(Debug)]
pub struct Ring {
    memory: Arc<Memory>,
}

impl Ring {
    /// A new ring of so many slots, each for a message of at most so many bytes. Its memory is reserved and touched.
    ///
    /// For question and answer a few slots do. A stream of small messages goes fastest with thousands: then the two
    /// sides seldom meet at one slot, and neither has to wait when the other is held up.
    ///
    /// # Errors
    /// `InvalidInput` for no slots, or more than memory can have; what memfd_create(2), fallocate(2) and mmap(2) say.
    pub fn new(slots: usize, message_bytes: usize) -> io::Result<Ring> {
        let geometry =
            Geometry::checked(slots, message_bytes).ok_or_else(|| invalid_ring("no ring can have this size"))?;
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"ring", flags)?);
        let end = i64::try_from(geometry.bytes()).map_err(|_| invalid_ring("no file can be so large"))?;
        // Reserved now: a machine out of memory says so here, and not by a signal at the first touch.
        while let Err(error) = fallocate(&file, FallocateFlags::empty(), 0, end) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
        let memory = Memory::map(file, geometry)?;
        memory.fill();
        memory.header().describe(geometry);
        Ok(Ring { memory: Arc::new(memory) })
    }

    /// Maps a ring that another process made and handed over.
    ///
    /// # Errors
    /// `InvalidInput` if the descriptor is no memfd of ordinary pages, its size is not sealed, its memory is not all
    /// reserved, or it holds no ring of this version and of exactly its size; what mmap(2) says.
    pub fn attach(fd: OwnedFd) -> io::Result<Ring> {
        let seals = SealFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GET_SEALS)?); // EINVAL if it is no memfd.
        if !seals.contains(SEALS) {
            return Err(invalid_ring("the size of the ring's memory is not sealed"));
        }
        let file = File::from(fd);
        if fstatfs(&file)?.filesystem_type() != TMPFS_MAGIC {
            return Err(invalid_ring("memory of huge pages is mapped by other rules"));
        }
        let about = file.metadata()?;
        if about.blocks() * BLOCK_BYTES < about.len() {
            return Err(invalid_ring("this memory is not reserved: whoever uses it would have to find it"));
        }
        let smallest = Geometry::checked(1, 0).ok_or_else(|| invalid_ring("unreachable: it is small"))?;
        if about.len() < smallest.bytes() as u64 {
            return Err(invalid_ring("this memory is too small for a ring"));
        }
        let head = Memory::map(file, smallest)?; // As much as every ring has: what it says of itself is in there.
        let geometry = head.header().geometry().ok_or_else(|| invalid_ring("this is no ring of this version"))?;
        if about.len() != geometry.bytes() as u64 {
            return Err(invalid_ring("this ring is not as large as it says"));
        }
        let memory = Memory::map(head.file.try_clone()?, geometry)?;
        Ok(Ring { memory: Arc::new(memory) })
    }

    /// The descriptor to hand to another process, for `attach` there. It closes on exec.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.file.as_fd()
    }

    /// The largest message, in bytes.
    pub fn message_bytes(&self) -> usize {
        self.memory.geometry.message_bytes
    }

    /// Claims the sending end, for this process.
    ///
    /// # Errors
    /// `AlreadyExists` if it was ever claimed; what open(2) says of /proc/self/fd.
    pub fn sender(&self) -> io::Result<Sender> {
        let side = Side::claim(&self.memory, SENDER)?;
        Ok(Sender { side, at: Place::FIRST, released: Place::FIRST.position, patience: Patience::NEW, broken: false })
    }

    /// Claims the receiving end, for this process.
    ///
    /// # Errors
    /// `AlreadyExists` if it was ever claimed; what open(2) says of /proc/self/fd.
    pub fn receiver(&self) -> io::Result<Receiver> {
        let side = Side::claim(&self.memory, RECEIVER)?;
        Ok(Receiver { side, at: Place::FIRST, unreleased: 0, patience: Patience::NEW, broken: false })
    }

    /// Claims the sending end, for messages that are written in place. The receiver may be of either kind.
    ///
    /// # Errors
    /// As `sender`.
    ///
    /// # Safety
    /// As long as the handle lives, nobody touches the ring's memory other than through handles of this module, each
    /// in the process that claimed it: not the peer, nor anyone else who has the descriptor, nor a forked child with
    /// its copies. For this lends bytes of the ring as `&mut [u8]`.
    pub unsafe fn sender_in_place(&self) -> io::Result<SenderInPlace> {
        self.sender().map(SenderInPlace)
    }

    /// Claims the receiving end, for messages that are read in place. The sender may be of either kind.
    ///
    /// # Errors
    /// As `receiver`.
    ///
    /// # Safety
    /// As of `sender_in_place`. For this lends bytes of the ring as `&[u8]`.
    pub unsafe fn receiver_in_place(&self) -> io::Result<ReceiverInPlace> {
        self.receiver().map(ReceiverInPlace)
    }
}

/// The sending end. Dropping it tells the receiver.
///
#[doc = concat!("```compile_fail,E0277\nuse ", module_path!(), "::*;")]
/// fn shared_by_threads(_: impl Sync) {}
/// shared_by_threads(Ring::new(1, 64).unwrap().sender().unwrap());
/// ```
#[derive(Debug)]
pub struct Sender {
    side: Side,
    at: Place,
    /// All before it were received: what the receiver said when we last looked.
    released: u64,
    patience: Patience,
    broken: bool,
}

impl Sender {
    /// Sends a message if there is room.
    ///
    /// The receiver gives slots back in batches, so `Full` can come with three quarters of the slots in use. Only the
    /// calls that wait learn that the receiver was killed.
    ///
    /// # Errors
    /// `Full`, `TooLarge`, `PeerGone`, `Corrupt`.
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), Error> {
        self.look_for_room(message.len())?;
        self.publish(message.len(), |slot| slot.store(message));
        Ok(())
    }

    /// Sends a message; waits for room.
    ///
    /// # Errors
    /// `TooLarge`, `PeerGone`, `Corrupt`.
    pub fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        self.until_room(None, |sender| sender.try_send(message))
    }

    /// Sends a message; waits for room, but not longer than that.
    ///
    /// # Errors
    /// `TimedOut`, `TooLarge`, `PeerGone`, `Corrupt`.
    pub fn send_timeout(&mut self, message: &[u8], timeout: Duration) -> Result<(), Error> {
        self.until_room(Some(timeout), |sender| sender.try_send(message))
    }

    /// Spins at most so many times before it sleeps; 0 always sleeps. At first it is 1024.
    pub fn spin_at_most(&mut self, spins: u32) {
        self.patience = Patience::of(spins);
    }

    /// Whether a message of so many bytes may be put into the next slot.
    fn look_for_room(&mut self, bytes: usize) -> Result<(), Error> {
        let memory = &*self.side.memory;
        if bytes > memory.geometry.message_bytes {
            return Err(Error::TooLarge);
        }
        if self.broken {
            return Err(Error::Corrupt);
        }
        if self.side.peer_is_gone() {
            return Err(Error::PeerGone);
        }
        let slots = memory.geometry.slots as u64;
        if self.at.position.wrapping_sub(self.released) == slots {
            let released = memory.header().released.0.load(Acquire); // What was read there has been read.
            let newly = released.wrapping_sub(self.released);
            if newly == 0 {
                return Err(Error::Full);
            }
            if newly > slots {
                self.broken = true; // It says to have received what was never sent.
                return Err(Error::Corrupt);
            }
            self.released = released;
        }
        Ok(())
    }

    /// Sends what is put into the next slot, for which room was found.
    fn publish(&mut self, bytes: usize, put: impl FnOnce(Slot<'_>)) {
        let memory = &*self.side.memory;
        let slot = memory.slot(self.at.slot);
        slot.set_length(bytes);
        put(slot);
        slot.sequence().store(self.at.sequence(), Release); // Publishes the message to who reads this number.
        self.at.advance(memory.geometry.slots);
        memory.header().ring_bell(RECEIVER);
    }

    /// Tries until there is room, or the time is over.
    fn until_room(
        &mut self,
        timeout: Option<Duration>,
        mut attempt: impl FnMut(&mut Sender) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut deadline = None; // The clock is read by those that wait, alone.
        loop {
            match attempt(self) {
                Err(Error::Full) => {}
                done => return done,
            }
            if deadline.is_some_and(has_passed) {
                return Err(Error::TimedOut); // A peer that takes back what ended each wait could hold it off for ever.
            }
            let deadline = deadline.get_or_insert_with(|| deadline_of(timeout));
            let known = self.released;
            let released = &self.side.memory.header().released.0;
            self.side.wait(&mut self.patience, || released.load(Relaxed) != known, *deadline)?;
        }
    }
}

/// The receiving end. Dropping it tells the sender.
///
#[doc = concat!("```compile_fail,E0277\nuse ", module_path!(), "::*;")]
/// fn shared_by_threads(_: impl Sync) {}
/// shared_by_threads(Ring::new(1, 64).unwrap().receiver().unwrap());
/// ```
#[derive(Debug)]
pub struct Receiver {
    side: Side,
    at: Place,
    /// Received, and the sender has not been told.
    unreleased: usize,
    patience: Patience,
    broken: bool,
}

impl Receiver {
    /// Copies the next message to the front of the buffer, if there is one; returns its length in bytes. It makes no
    /// system call to look for one, so it learns of a killed peer only if another call of this side has waited.
    ///
    /// # Errors
    /// `Empty`; `TooLarge` if the buffer is shorter than the message, which stays; `PeerGone` once all that was sent
    /// has been received; `Corrupt`.
    pub fn try_receive(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let length = self.look_for_message()?;
        let place = buffer.get_mut(..length).ok_or(Error::TooLarge)?;
        self.side.memory.slot(self.at.slot).load(place);
        self.release();
        Ok(length)
    }

    /// Waits for the next message and copies it to the front of the buffer; returns its length in bytes.
    ///
    /// # Errors
    /// `TooLarge`, `PeerGone`, `Corrupt`, as `try_receive`.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.until_message(None, |receiver| receiver.try_receive(buffer))
    }

    /// Waits for the next message, but not longer than that. No time at all still looks whether the peer was killed.
    ///
    /// # Errors
    /// `TimedOut`; `TooLarge`, `PeerGone`, `Corrupt`, as `try_receive`.
    pub fn receive_timeout(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, Error> {
        self.until_message(Some(timeout), |receiver| receiver.try_receive(buffer))
    }

    /// Spins at most so many times before it sleeps; 0 always sleeps. At first it is 1024.
    pub fn spin_at_most(&mut self, spins: u32) {
        self.patience = Patience::of(spins);
    }

    /// The length of the message in the next slot, in bytes.
    #[inline] // Otherwise `try_receive` would pay for a call.
    fn look_for_message(&mut self) -> Result<usize, Error> {
        if self.broken {
            return Err(Error::Corrupt);
        }
        let memory = &*self.side.memory;
        let slot = memory.slot(self.at.slot);
        let mut sequence = slot.sequence().load(Acquire); // Sees the message that was published with it.
        if sequence != self.at.sequence() {
            let gone = self.side.peer_is_gone();
            if gone {
                sequence = slot.sequence().load(Relaxed); // What it sent just before it left was seen with its leaving.
            }
            if sequence == self.at.sequence_before(memory.geometry.slots) {
                return Err(if gone { Error::PeerGone } else { Error::Empty });
            }
        }
        let length = slot.length();
        if sequence != self.at.sequence() || length > memory.geometry.message_bytes {
            self.broken = true;
            return Err(Error::Corrupt);
        }
        Ok(length)
    }

    /// Tries until there is a message, or the time is over.
    fn until_message(
        &mut self,
        timeout: Option<Duration>,
        mut attempt: impl FnMut(&mut Receiver) -> Result<usize, Error>,
    ) -> Result<usize, Error> {
        let mut deadline = None; // The clock is read by those that wait, alone.
        loop {
            match attempt(self) {
                Err(Error::Empty) => {}
                done => return done,
            }
            if deadline.is_some_and(has_passed) {
                return Err(Error::TimedOut); // A peer that takes back what ended each wait could hold it off for ever.
            }
            let deadline = deadline.get_or_insert_with(|| deadline_of(timeout));
            let before = self.at.sequence_before(self.side.memory.geometry.slots);
            let slot = self.side.memory.slot(self.at.slot);
            self.side.wait(&mut self.patience, || slot.sequence().load(Relaxed) != before, *deadline)?;
        }
    }

    /// Goes on to the next slot. Gives slots back a quarter of the ring at a time, so that the sender's cache is
    /// disturbed rarely. No slot is kept so long that a sender could wait in vain: the other three quarters hold
    /// messages that are yet to be read.
    fn release(&mut self) {
        let slots = self.side.memory.geometry.slots;
        self.at.advance(slots);
        self.unreleased += 1;
        if self.unreleased >= slots / 4 {
            self.unreleased = 0;
            let header = self.side.memory.header();
            header.released.0.store(self.at.position, Release); // Every read of these slots is over.
            header.ring_bell(SENDER);
        }
    }
}

/// The sending end that has messages written where they will be read, for a receiver that is trusted.
///
#[doc = concat!("```\nuse ", module_path!(), "::*;")]
/// let ring = Ring::new(16, 64)?;
/// // SAFETY: both ends are this program's, and nobody else has the ring.
/// let (mut sender, mut receiver) = unsafe { (ring.sender_in_place()?, ring.receiver_in_place()?) };
/// let mut room = sender.reserve(5)?;
/// room.copy_from_slice(b"hello");
/// room.commit();
/// assert_eq!(&*receiver.receive()?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Between processes, a receiver that reads in place beside a sender that copies:
///
#[doc = concat!("```\nuse ", module_path!(), "::*;")]
/// use nix::sys::wait::waitpid;
/// use nix::unistd::{ForkResult, fork};
///
/// let ring = Ring::new(4, 1000)?;
/// // SAFETY: this process has one thread.
/// match unsafe { fork() }? {
///     ForkResult::Child => {
///         let send = |mut sender: Sender| (0..100).try_for_each(|number| sender.send(&[number; 1000]));
///         let sent = ring.sender().is_ok_and(|sender| send(sender).is_ok());
///         // SAFETY: it ends the child and runs nothing of the parent's.
///         unsafe { nix::libc::_exit(i32::from(!sent)) }
///     }
///     ForkResult::Parent { child } => {
///         // SAFETY: the child runs the lines above.
///         let mut receiver = unsafe { ring.receiver_in_place() }?;
///         for number in 0..100 {
///             assert_eq!(*receiver.receive()?, [number; 1000]);
///         }
///         assert_eq!(receiver.receive().err(), Some(Error::PeerGone));
///         waitpid(child, None)?;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SenderInPlace(Sender);

impl SenderInPlace {
    /// Room for a message of so many bytes, if there is some. `Full` comes as early as `Sender::try_send` says.
    ///
    /// # Errors
    /// `Full`, `TooLarge`, `PeerGone`, `Corrupt`.
    pub fn try_reserve(&mut self, bytes: usize) -> Result<Reservation<'_>, Error> {
        self.0.look_for_room(bytes)?;
        Ok(Reservation { sender: &mut self.0, bytes })
    }

    /// Waits for room for a message of so many bytes.
    ///
    /// # Errors
    /// `TooLarge`, `PeerGone`, `Corrupt`.
    pub fn reserve(&mut self, bytes: usize) -> Result<Reservation<'_>, Error> {
        self.0.until_room(None, |sender| sender.look_for_room(bytes))?;
        Ok(Reservation { sender: &mut self.0, bytes })
    }

    /// Waits for room, but not longer than that.
    ///
    /// # Errors
    /// `TimedOut`, `TooLarge`, `PeerGone`, `Corrupt`.
    pub fn reserve_timeout(&mut self, bytes: usize, timeout: Duration) -> Result<Reservation<'_>, Error> {
        self.0.until_room(Some(timeout), |sender| sender.look_for_room(bytes))?;
        Ok(Reservation { sender: &mut self.0, bytes })
    }

    /// As `Sender::spin_at_most`.
    pub fn spin_at_most(&mut self, spins: u32) {
        self.0.spin_at_most(spins);
    }
}

/// The bytes of a message that is yet to be sent: at first whatever the ring held there before. They start at a multiple
/// of 16. Dropped without `commit`, it sends nothing.
#[derive(Debug)]
#[must_use = "nothing is sent without commit"]
pub struct Reservation<'a> {
    sender: &'a mut Sender,
    bytes: usize,
}

impl Reservation<'_> {
    /// Shortens the message to its first bytes, if it is longer.
    pub fn truncate(&mut self, bytes: usize) {
        self.bytes = self.bytes.min(bytes);
    }

    /// Sends the message.
    pub fn commit(self) {
        self.sender.publish(self.bytes, |_| ()); // It is in the slot.
    }
}

impl Deref for Reservation<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the slot has room for so many bytes; it is this sender's until commit, by the protocol that the
        // receiver keeps, as whoever made a `SenderInPlace` promised.
        unsafe { slice::from_raw_parts(self.sender.side.memory.message(self.sender.at.slot), self.bytes) }
    }
}

impl DerefMut for Reservation<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; and the sender is borrowed, so there is no other reservation.
        unsafe { slice::from_raw_parts_mut(self.sender.side.memory.message(self.sender.at.slot), self.bytes) }
    }
}

/// The receiving end that shows messages where they were written, from a sender that is trusted.
#[derive(Debug)]
pub struct ReceiverInPlace(Receiver);

impl ReceiverInPlace {
    /// The next message, if there is one.
    ///
    /// # Errors
    /// `Empty`; `PeerGone` once all that was sent has been received; `Corrupt`.
    pub fn try_receive(&mut self) -> Result<Received<'_>, Error> {
        let bytes = self.0.look_for_message()?;
        Ok(Received { receiver: &mut self.0, bytes })
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// `PeerGone`, `Corrupt`, as `try_receive`.
    pub fn receive(&mut self) -> Result<Received<'_>, Error> {
        let bytes = self.0.until_message(None, Receiver::look_for_message)?;
        Ok(Received { receiver: &mut self.0, bytes })
    }

    /// Waits for the next message, but not longer than that. No time at all still looks whether the peer was killed.
    ///
    /// # Errors
    /// `TimedOut`; `PeerGone`, `Corrupt`, as `try_receive`.
    pub fn receive_timeout(&mut self, timeout: Duration) -> Result<Received<'_>, Error> {
        let bytes = self.0.until_message(Some(timeout), Receiver::look_for_message)?;
        Ok(Received { receiver: &mut self.0, bytes })
    }

    /// As `Receiver::spin_at_most`.
    pub fn spin_at_most(&mut self, spins: u32) {
        self.0.spin_at_most(spins);
    }
}

/// The bytes of a message that was received. Dropping it gives their slot back; forgotten, it is received again.
#[derive(Debug)]
pub struct Received<'a> {
    receiver: &'a mut Receiver,
    bytes: usize,
}

impl Deref for Received<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the length was checked, so the slot has these bytes; it is this receiver's until it is released, by
        // the protocol that the sender keeps, as whoever made a `ReceiverInPlace` promised.
        unsafe { slice::from_raw_parts(self.receiver.side.memory.message(self.receiver.at.slot), self.bytes) }
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        self.receiver.release();
    }
}

/// Why a message was not sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No slot is free.
    Full,
    /// No message is there.
    Empty,
    /// The message is longer than the ring's slots, or than the buffer to receive it.
    TooLarge,
    /// The peer has dropped its handle, or was killed.
    PeerGone,
    /// The time is over.
    TimedOut,
    /// The peer has written what no peer may. Nothing comes through this ring any more.
    Corrupt,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Full => "the ring is full",
            Error::Empty => "the ring is empty",
            Error::TooLarge => "the message is too large",
            Error::PeerGone => "the other side of the ring is gone",
            Error::TimedOut => "nothing happened in the ring in time",
            Error::Corrupt => "the other side has corrupted the ring",
        })
    }
}

impl std::error::Error for Error {}

const SENDER: usize = 0;
const RECEIVER: usize = 1;

/// The words in front of the slots. A ring is valid once `magic` stands there, which is stored last.
#[derive(Debug)]
#[repr(C)]
pub struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    slots: AtomicU32,
    message_bytes: AtomicU64,
    roles: [AtomicU32; 2],
    bells: [Apart<AtomicU32>; 2],
    released: Apart<AtomicU64>,
}

/// On cache lines of its own: who writes it does not disturb who reads its neighbours. Two, for lines come in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

const MAGIC: u64 = u64::from_ne_bytes(*b"ring1to1"); // Another byte order is another magic.
const VERSION: u32 = 1;

// Of a role. It is never free again: the ring's positions are with its handle.
const FREE: u32 = 0;
const TAKEN: u32 = 1;
const GONE: u32 = 2;

// Of a bell.
const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

impl Header {
    /// Of no ring yet.
    #[allow(clippy::new_without_default)] // Nobody needs a default one.
    pub fn new() -> Header {
        let bell = || Apart(AtomicU32::new(AWAKE));
        Header {
            magic: AtomicU64::new(0),
            version: AtomicU32::new(0),
            slots: AtomicU32::new(0),
            message_bytes: AtomicU64::new(0),
            roles: [AtomicU32::new(FREE), AtomicU32::new(FREE)],
            bells: [bell(), bell()],
            released: Apart(AtomicU64::new(Place::FIRST.position)),
        }
    }

    /// Makes it the header of a valid ring. The slots are ready by now.
    pub fn describe(&self, geometry: Geometry) {
        self.version.store(VERSION, Relaxed);
        self.slots.store(geometry.slots as u32, Relaxed);
        self.message_bytes.store(geometry.message_bytes as u64, Relaxed);
        self.magic.store(MAGIC, Release); // Publishes all of the above, and the slots.
    }

    /// What it says of its ring, if it is valid, of this version, and possible.
    pub fn geometry(&self) -> Option<Geometry> {
        if self.magic.load(Acquire) != MAGIC || self.version.load(Relaxed) != VERSION {
            return None;
        }
        let slots = self.slots.load(Relaxed);
        let message_bytes = self.message_bytes.load(Relaxed);
        Geometry::checked(slots.try_into().ok()?, message_bytes.try_into().ok()?)
    }

    /// Wakes that role if it sleeps. An exchange on both sides, here and in `wait`: either this one comes first, and
    /// who goes to sleep sees what was done before it; or the other, and this one sees the sleeper. Exchanges of one
    /// word have one order on all hardware; a store and a load in their place would not, not even on x86.
    fn ring_bell(&self, role: usize) {
        let bell = &self.bells[role].0;
        if bell.swap(AWAKE, Release) == ASLEEP {
            futex_wake_one(bell);
        }
    }
}

/// How many slots of which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    slots: usize,
    message_bytes: usize,
    /// Words from slot to slot: whole pairs of cache lines.
    stride: usize,
}

impl Geometry {
    /// `None` if there are no slots, or all together are larger than memory can be.
    pub fn checked(slots: usize, message_bytes: usize) -> Option<Geometry> {
        let fit = u32::try_from(slots).is_ok() && slots > 0 && message_bytes <= isize::MAX as usize / 8;
        let stride = (HEAD_WORDS + message_bytes.div_ceil(WORD_BYTES)).next_multiple_of(PAIR_WORDS);
        let geometry = Geometry { slots, message_bytes, stride };
        let bytes = slots.checked_mul(stride)?.checked_mul(size_of::<AtomicU64>())?;
        (fit && bytes < isize::MAX as usize - size_of::<Header>()).then_some(geometry)
    }

    fn bytes(self) -> usize {
        size_of::<Header>() + self.slots * self.stride * size_of::<AtomicU64>()
    }
}

const WORD_BYTES: usize = 8;
const HEAD_WORDS: usize = 2; // Sequence number, length.
const PAIR_WORDS: usize = 128 / WORD_BYTES;

/// A mapping of a ring.
#[derive(Debug)]
struct Memory {
    base: NonNull<c_void>,
    geometry: Geometry,
    file: File,
}

// SAFETY: the mapping belongs to the whole process, and is used by atomic accesses, but for the bytes of a slot that the
// in-place ends lend, to one side at a time.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// The file is at least as large as such a ring, and stays so.
    fn map(file: File, geometry: Geometry) -> io::Result<Memory> {
        let bytes = NonZeroUsize::new(geometry.bytes()).ok_or_else(|| invalid_ring("no bytes"))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses a free address, so no memory in use is replaced.
        let base = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, &file, 0) }?;
        Ok(Memory { base, geometry, file })
    }

    /// Writes an empty ring. Nobody else has the memory yet.
    fn fill(&self) {
        let (slots, stride) = (self.geometry.slots, self.geometry.stride);
        // SAFETY: the mapping is aligned to a page and large enough, and in no other's hands.
        unsafe { self.base.cast().write(Header::new()) };
        let mut at = Place::FIRST;
        for slot in 0..slots {
            for word in 0..stride {
                let value = if word == 0 { at.sequence_before(slots) } else { 0 };
                // SAFETY: as above; `bytes` counts these words.
                unsafe { self.words().add(slot * stride + word).write(AtomicU64::new(value)) };
            }
            at.advance(slots);
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: every mapping begins with a header, which is made of atomics: any bytes are valid ones.
        unsafe { self.base.cast().as_ref() }
    }

    fn words(&self) -> *mut AtomicU64 {
        // SAFETY: the mapping is larger than its header.
        unsafe { self.base.cast::<Header>().add(1).cast().as_ptr() }
    }

    fn slot(&self, index: usize) -> Slot<'_> {
        let stride = self.geometry.stride;
        debug_assert!(index < self.geometry.slots);
        // SAFETY: the index is our own and below the number of slots, so these words are in the mapping; any bytes are
        // valid atomics. References to atomics claim nothing: another thread may lend the message's bytes meanwhile.
        Slot { words: unsafe { slice::from_raw_parts(self.words().add(index * stride), stride) } }
    }

    /// The first byte of a slot's message.
    fn message(&self, index: usize) -> *mut u8 {
        debug_assert!(index < self.geometry.slots);
        // SAFETY: as above; every slot is larger than its head.
        unsafe { self.words().add(index * self.geometry.stride + HEAD_WORDS).cast() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap gave, unmapped once; whoever uses it keeps it until then.
        let _ = unsafe { munmap(self.base, self.geometry.bytes()) }; // It fails only for arguments that mmap never gives.
    }
}

/// A slot: its sequence number, the length of its message in bytes, and the message.
#[derive(Clone, Copy)]
struct Slot<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Slot<'a> {
    fn sequence(self) -> &'a AtomicU64 {
        &self.words[0]
    }

    /// As the sender says.
    fn length(self) -> usize {
        usize::try_from(self.words[1].load(Relaxed)).unwrap_or(usize::MAX)
    }

    fn set_length(self, bytes: usize) {
        self.words[1].store(bytes as u64, Relaxed);
    }

    fn store(self, message: &[u8]) {
        let (to, chunks) = (&self.words[HEAD_WORDS..], message.chunks_exact(WORD_BYTES));
        let rest = chunks.remainder();
        if !rest.is_empty() {
            to[message.len() / WORD_BYTES].store(word_of(rest), Relaxed);
        }
        to.iter().zip(chunks).for_each(|(word, chunk)| word.store(word_of(chunk), Relaxed));
    }

    fn load(self, message: &mut [u8]) {
        let (from, whole) = (&self.words[HEAD_WORDS..], message.len() / WORD_BYTES);
        let mut chunks = message.chunks_exact_mut(WORD_BYTES);
        from.iter().zip(&mut chunks).for_each(|(word, chunk)| chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes()));
        let rest = chunks.into_remainder();
        if !rest.is_empty() {
            let bytes = from[whole].load(Relaxed).to_ne_bytes();
            rest.copy_from_slice(&bytes[..rest.len()]);
        }
    }
}

/// At most eight bytes as a word; what is missing is 0.
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD_BYTES];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// Where a side is: the number of its next message, and the slot for it.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: u64,
    slot: usize,
}

impl Place {
    /// The count wraps round at the third message, instead of after centuries: so every test goes through that.
    const FIRST: Place = Place { position: u64::MAX - 1, slot: 0 };

    /// What the slot carries while this message is in it.
    fn sequence(self) -> u64 {
        self.position
    }

    /// What it carries until then: the sequence of a lap before.
    fn sequence_before(self, slots: usize) -> u64 {
        self.position.wrapping_sub(slots as u64)
    }

    fn advance(&mut self, slots: usize) {
        self.position = self.position.wrapping_add(1);
        self.slot = if self.slot + 1 == slots { 0 } else { self.slot + 1 };
    }
}

/// A claimed role.
#[derive(Debug)]
struct Side {
    memory: Arc<Memory>,
    role: usize,
    /// Holds a lock on the role's byte. The kernel takes it away with the last descriptor, however the process ends.
    life: File,
    process: u32,
    /// To share a handle between threads would be to use one position twice.
    _not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Side {
    fn claim(memory: &Arc<Memory>, role: usize) -> io::Result<Side> {
        let taken = || io::Error::new(io::ErrorKind::AlreadyExists, "this role of the ring is taken");
        // Opened anew: locks belong to an opening, and duplicates and heirs of a descriptor share one.
        let opened = format!("/proc/self/fd/{}", memory.file.as_raw_fd());
        let life = File::options().read(true).write(true).open(opened)?;
        match fcntl(&life, FcntlArg::F_OFD_SETLK(&byte_of(role))) {
            Err(Errno::EAGAIN | Errno::EACCES) => return Err(taken()),
            other => other?,
        };
        // After the lock: a role that is taken and not locked is that of a dead process.
        memory.header().roles[role].compare_exchange(FREE, TAKEN, Relaxed, Relaxed).map_err(|_| taken())?;
        let process = process::id();
        Ok(Side { memory: Arc::clone(memory), role, life, process, _not_sync: std::marker::PhantomData })
    }

    fn peer(&self) -> usize {
        1 - self.role
    }

    fn peer_is_gone(&self) -> bool {
        self.memory.header().roles[self.peer()].load(Acquire) == GONE // Sees all that it did before it left.
    }

    /// Asks the kernel whether the peer still lives, and notes its death.
    fn look_after_peer(&self) {
        let role = &self.memory.header().roles[self.peer()];
        let mut found = byte_of(self.peer());
        if role.load(Relaxed) == TAKEN
            && fcntl(&self.life, FcntlArg::F_OFD_GETLK(&mut found)).is_ok()
            && i32::from(found.l_type) == libc::F_UNLCK
        {
            // Or it has just left by itself. What it stored before it died needs no order of ours: the kernel gave its
            // lock up after that, and this thread has just taken the same kernel's word for it.
            let _ = role.compare_exchange(TAKEN, GONE, Relaxed, Relaxed);
        }
    }

    /// Waits until it is ready, or the peer is gone: then there is something to do for who looks again.
    fn wait(&self, patience: &mut Patience, ready: impl Fn() -> bool, deadline: Option<Instant>) -> Result<(), Error> {
        if patience.spin_until(&ready) {
            return Ok(());
        }
        let bell = &self.memory.header().bells[self.role].0;
        let mut in_time = true;
        loop {
            bell.swap(ASLEEP, Acquire); // Sees what was done before the bell was last rung.
            if !in_time || ready() || self.peer_is_gone() {
                break;
            }
            let rest = deadline.map_or(LOOK_EVERY, |deadline| deadline.saturating_duration_since(Instant::now()));
            in_time = !rest.is_zero();
            if !in_time || !sleep_on(bell, ASLEEP, rest.min(LOOK_EVERY)) {
                self.look_after_peer();
            }
        }
        bell.swap(AWAKE, Relaxed);
        if in_time || ready() || self.peer_is_gone() { Ok(()) } else { Err(Error::TimedOut) }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // A forked child has a copy of this handle; its drop must not end the parent's connection.
        if process::id() == self.process {
            let header = self.memory.header();
            header.roles[self.role].store(GONE, Release); // Publishes all that was sent.
            header.ring_bell(self.peer());
        }
    }
}

/// How long to spin before sleeping: as long as it pays.
#[derive(Debug)]
struct Patience {
    limit: u32,
    most: u32,
    /// Sleeps since spinning was last tried, and after how many it is tried again.
    sleeps: u32,
    retry_after: u32,
}

impl Patience {
    const NEW: Patience = Patience::of(1024); // Tens of microseconds: about what it costs to sleep and be woken.
    const FEWEST: u32 = 16; // Below, nothing could come in time.
    const RETRY_SOONEST: u32 = 16; // A peer that also sleeps now would not be met by spinning otherwise.
    const RETRY_LATEST: u32 = 4096; // On one CPU it never helps: then this keeps its cost below a hundredth.

    const fn of(most: u32) -> Patience {
        Patience { limit: most, most, sleeps: 0, retry_after: Patience::RETRY_SOONEST }
    }

    fn spin_until(&mut self, ready: impl Fn() -> bool) -> bool {
        for _ in 0..self.limit {
            if ready() {
                self.limit = self.limit.saturating_mul(2).min(self.most);
                self.retry_after = Patience::RETRY_SOONEST;
                return true;
            }
            hint::spin_loop();
        }
        self.limit = if self.limit / 2 < Patience::FEWEST { 0 } else { self.limit / 2 };
        self.sleeps += u32::from(self.limit == 0);
        if self.sleeps >= self.retry_after {
            self.limit = self.most;
            self.sleeps = 0;
            self.retry_after = (self.retry_after * 2).min(Patience::RETRY_LATEST);
        }
        false
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(100); // Ten looks a second cost nothing that can be measured.

const BLOCK_BYTES: u64 = 512; // What stat(2) counts in, whatever the pages.

const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// When that time is over; `None` is never, as is what no clock can reach.
fn deadline_of(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// An exclusive lock on the byte that stands for a role.
fn byte_of(role: usize) -> libc::flock {
    let (l_type, l_whence) = (libc::F_WRLCK as _, libc::SEEK_SET as _);
    libc::flock { l_type, l_whence, l_start: role as _, l_len: 1, l_pid: 0 }
}

/// Sleeps while the word is as expected; false if neither a waker nor another word ended that, but time or a signal:
/// who gets one signal after the other would otherwise never come to look after its peer.
fn sleep_on(word: &AtomicU32, expected: u32, at_most: Duration) -> bool {
    let limit = libc::timespec { tv_sec: at_most.as_secs() as _, tv_nsec: at_most.subsec_nanos() as _ };
    // nix has no futex. Without FUTEX_PRIVATE_FLAG the kernel finds the waiters of other processes too.
    // SAFETY: the word and the limit outlive the call, and the kernel only reads them.
    let woken = unsafe {
        libc::syscall(libc::SYS_futex, ptr::from_ref(word), libc::FUTEX_WAIT, expected, ptr::from_ref(&limit))
    };
    woken == 0 || Errno::last() == Errno::EAGAIN // The word was not as expected.
}

/// Wakes one that sleeps on the word, if there is one.
fn futex_wake_one(word: &AtomicU32) {
    let unused = ptr::null::<libc::timespec>();
    // nix has no futex.
    // SAFETY: a wake-up reads and writes none of our memory.
    unsafe { libc::syscall(libc::SYS_futex, ptr::from_ref(word), libc::FUTEX_WAKE, 1_u32, unused) };
}

fn invalid_ring(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const NO_TIME: Duration = Duration::ZERO;

    fn ends(slots: usize, message_bytes: usize) -> (Sender, Receiver) {
        let ring = Ring::new(slots, message_bytes).unwrap();
        (ring.sender().unwrap(), ring.receiver().unwrap())
    }

    #[test]
    fn messages_of_every_length_arrive_whole_and_in_order() {
        let (mut sender, mut receiver) = ends(2, 200);
        let message: Vec<u8> = (1..=200).collect();
        for length in 0..=200 {
            sender.try_send(&message[..length]).unwrap();
            let mut buffer = [0; 256];
            assert_eq!(receiver.try_receive(&mut buffer), Ok(length));
            assert_eq!((&buffer[..length], &buffer[length..]), (&message[..length], &[0; 256][length..]));
        }
        assert_eq!(receiver.try_receive(&mut []), Err(Error::Empty));
    }

    #[test]
    fn a_full_ring_takes_one_more_only_after_one_was_received() {
        let (mut sender, mut receiver) = ends(3, 1);
        for _ in 0..5 {
            (0..3).for_each(|number| sender.try_send(&[number]).unwrap());
            assert_eq!(sender.try_send(&[3]), Err(Error::Full));
            assert_eq!(sender.send_timeout(&[3], NO_TIME), Err(Error::TimedOut));
            let mut buffer = [9];
            for number in 0..3 {
                assert_eq!((receiver.try_receive(&mut buffer), buffer), (Ok(1), [number]));
            }
        }
    }

    #[test]
    fn what_is_too_large_is_refused_and_a_message_waits_for_a_large_enough_buffer() {
        let (mut sender, mut receiver) = ends(1, 4);
        assert_eq!(sender.send(&[0; 5]), Err(Error::TooLarge));
        sender.send(b"four").unwrap();
        assert_eq!(receiver.receive(&mut [0; 3]), Err(Error::TooLarge));
        let mut buffer = [0; 4];
        assert_eq!((receiver.receive(&mut buffer), &buffer), (Ok(4), b"four"));
    }

    #[test]
    fn each_role_is_claimed_once_even_if_it_was_given_up() {
        let ring = Ring::new(1, 1).unwrap();
        let also = Ring::attach(ring.fd().try_clone_to_owned().unwrap()).unwrap();
        let sender = ring.sender().unwrap();
        assert_eq!(also.sender().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(sender);
        assert_eq!(also.sender().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let _receiver = also.receiver().unwrap();
        assert_eq!(ring.receiver().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_was_sent_arrives_before_the_news_that_the_sender_is_gone() {
        let (mut sender, mut receiver) = ends(4, 1);
        (0..3).for_each(|number| sender.send(&[number]).unwrap());
        drop(sender);
        let mut buffer = [9];
        for number in 0..3 {
            assert_eq!((receiver.receive(&mut buffer), buffer), (Ok(1), [number]));
        }
        assert_eq!(receiver.receive(&mut buffer), Err(Error::PeerGone));
        assert_eq!(receiver.try_receive(&mut buffer), Err(Error::PeerGone));
    }

    #[test]
    fn a_sender_whose_receiver_is_gone_is_told_at_the_next_message() {
        let (mut sender, receiver) = ends(4, 1);
        sender.send(&[1]).unwrap();
        drop(receiver);
        assert_eq!(sender.send(&[2]), Err(Error::PeerGone));
    }

    #[test]
    fn both_sides_sleep_and_wake_and_nothing_is_lost_or_changed() {
        for spins in [0, 1, 1024] {
            let (mut sender, mut receiver) = ends(2, 8);
            thread::scope(|s| {
                s.spawn(move || {
                    sender.spin_at_most(spins);
                    (0..5000_u64).for_each(|number| sender.send(&number.to_ne_bytes()).unwrap());
                });
                receiver.spin_at_most(spins);
                let mut buffer = [0; 8];
                for number in 0..5000_u64 {
                    assert_eq!((receiver.receive(&mut buffer), u64::from_ne_bytes(buffer)), (Ok(8), number));
                }
                assert_eq!(receiver.receive(&mut buffer), Err(Error::PeerGone));
            });
        }
    }

    fn ends_in_place(slots: usize, message_bytes: usize) -> (SenderInPlace, ReceiverInPlace) {
        let ring = Ring::new(slots, message_bytes).unwrap();
        // SAFETY: both ends are the test's, and the ring ends here.
        unsafe { (ring.sender_in_place().unwrap(), ring.receiver_in_place().unwrap()) }
    }

    #[test]
    fn messages_in_place_and_copied_are_the_same_messages() {
        let message: Vec<u8> = (1..=200).collect();
        let (mut sends, mut receives) = ends_in_place(2, 200);
        for length in 0..=200 {
            for (copied_in, copied_out) in [(false, false), (false, true), (true, false)] {
                if copied_in {
                    sends.0.try_send(&message[..length]).unwrap();
                } else {
                    let mut room = sends.try_reserve(length).unwrap();
                    assert_eq!((room.len(), room.as_ptr().addr() % 16), (length, 0));
                    room.copy_from_slice(&message[..length]);
                    room.commit();
                }
                if copied_out {
                    let mut buffer = [0; 200];
                    assert_eq!(receives.0.try_receive(&mut buffer), Ok(length));
                    assert_eq!(buffer[..length], message[..length]);
                } else {
                    assert_eq!(*receives.try_receive().unwrap(), message[..length]);
                }
            }
        }
        assert_eq!(receives.try_receive().err(), Some(Error::Empty));
    }

    #[test]
    fn what_is_reserved_is_sent_by_commit_alone_and_as_long_as_it_is_then() {
        let (mut sender, mut receiver) = ends_in_place(1, 8);
        assert_eq!(sender.try_reserve(9).err(), Some(Error::TooLarge));
        sender.try_reserve(8).unwrap().fill(7);
        assert_eq!(receiver.try_receive().err(), Some(Error::Empty));
        let mut room = sender.reserve(8).unwrap();
        room.copy_from_slice(b"12345678");
        room.truncate(9);
        room.truncate(3);
        room.commit();
        assert_eq!(sender.try_reserve(0).err(), Some(Error::Full));
        let received = receiver.receive().unwrap();
        assert_eq!(*received, *b"123");
    }

    #[test]
    fn a_slot_is_given_back_when_its_message_is_dropped() {
        let (mut sender, mut receiver) = ends_in_place(1, 1);
        sender.reserve(1).unwrap().commit();
        let received = receiver.receive_timeout(NO_TIME).unwrap();
        assert_eq!(sender.reserve_timeout(1, NO_TIME).err(), Some(Error::TimedOut));
        drop(received);
        sender.reserve_timeout(1, NO_TIME).unwrap().commit();
        assert_eq!(receiver.receive_timeout(NO_TIME).unwrap().len(), 1);
        drop(sender);
        assert_eq!(receiver.receive_timeout(NO_TIME).err(), Some(Error::PeerGone));
    }

    #[test]
    fn in_place_both_sides_sleep_and_wake_and_nothing_is_lost_or_changed() {
        for spins in [0, 1, 1024] {
            let (mut sender, mut receiver) = ends_in_place(2, 8);
            thread::scope(|s| {
                s.spawn(move || {
                    sender.spin_at_most(spins);
                    for number in 0..5000_u64 {
                        let mut room = sender.reserve(8).unwrap();
                        room.copy_from_slice(&number.to_ne_bytes());
                        room.commit();
                    }
                });
                receiver.spin_at_most(spins);
                (0..5000_u64).for_each(|number| assert_eq!(*receiver.receive().unwrap(), number.to_ne_bytes()));
                assert_eq!(receiver.receive().err(), Some(Error::PeerGone));
            });
        }
    }

    #[test]
    fn waiting_for_who_never_came_ends_with_the_time() {
        let ring = Ring::new(1, 1).unwrap();
        let mut receiver = ring.receiver().unwrap();
        let timeout = Duration::from_millis(1);
        assert_eq!(receiver.receive_timeout(&mut [0], timeout), Err(Error::TimedOut));
        ring.sender().unwrap().send(&[1]).unwrap();
        assert_eq!(receiver.receive_timeout(&mut [0], timeout), Ok(1));
    }

    #[test]
    fn a_peer_that_takes_back_what_ended_the_wait_cannot_hold_off_the_time_out() {
        let (mut sender, mut receiver) = ends(1, 1);
        let timeout = Some(Duration::from_millis(1));
        receiver.side.memory.slot(0).sequence().store(7, Relaxed); // There at each wait, and gone when it looks.
        assert_eq!(receiver.until_message(timeout, |_| Err(Error::Empty)), Err(Error::TimedOut));
        sender.side.memory.header().released.0.store(7, Relaxed);
        assert_eq!(sender.until_room(timeout, |_| Err(Error::Full)), Err(Error::TimedOut));
    }

    #[test]
    fn no_slots_and_too_many_are_refused() {
        for (slots, message_bytes) in [(0, 1), (usize::MAX, 1), (1, usize::MAX), (1 << 31, 1 << 40)] {
            assert_eq!(Ring::new(slots, message_bytes).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn memory_that_is_no_ring_is_refused() {
        let refused = |fd: OwnedFd| assert_eq!(Ring::attach(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let whole = |header: &dyn Fn(&Header)| {
            let ring = Ring::new(2, 64).unwrap();
            header(ring.memory.header());
            ring.fd().try_clone_to_owned().unwrap()
        };
        refused(File::open("/dev/null").unwrap().into());
        refused(whole(&|header| header.magic.store(MAGIC + 1, Relaxed)));
        refused(whole(&|header| header.version.store(VERSION + 1, Relaxed)));
        refused(whole(&|header| header.slots.store(1, Relaxed)));
        refused(whole(&|header| header.slots.store(0, Relaxed)));
        refused(whole(&|header| header.message_bytes.store(1024, Relaxed)));
        refused(whole(&|header| header.message_bytes.store(u64::MAX, Relaxed)));
        Ring::attach(whole(&|_| {})).unwrap();
    }

    #[test]
    fn memory_that_could_shrink_is_refused() {
        let seals = [SealFlag::F_SEAL_SHRINK, SealFlag::F_SEAL_GROW, SealFlag::F_SEAL_SEAL];
        for missing in seals {
            let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
            let file = File::from(memfd_create(c"unsealed", flags).unwrap());
            io::copy(&mut File::from(Ring::new(2, 64).unwrap().fd().try_clone_to_owned().unwrap()), &mut &file)
                .unwrap();
            fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS.difference(missing))).unwrap();
            assert_eq!(Ring::attach(file.into()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn memory_that_is_not_all_there_is_refused() {
        let ring = Ring::new(100, 4096).unwrap();
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(ring.fd(), hole, 1 << 16, 1 << 16).unwrap(); // Behind the header, which stays valid.
        let refused = Ring::attach(ring.fd().try_clone_to_owned().unwrap()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn memory_of_huge_pages_is_refused() {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_HUGETLB;
        let Ok(file) = memfd_create(c"huge", flags) else { return }; // This kernel has none.
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS)).unwrap();
        assert_eq!(Ring::attach(file).unwrap_err().to_string(), "memory of huge pages is mapped by other rules");
    }

    #[test]
    fn a_message_that_is_forgotten_is_received_again() {
        let (mut sender, mut receiver) = ends_in_place(1, 1);
        sender.reserve(1).unwrap().commit();
        std::mem::forget(receiver.receive().unwrap());
        assert_eq!(sender.try_reserve(1).err(), Some(Error::Full));
        assert_eq!(receiver.receive().unwrap().len(), 1);
    }

    #[test]
    fn nobody_can_shrink_a_ring() {
        let ring = Ring::new(2, 64).unwrap();
        let refused = File::from(ring.fd().try_clone_to_owned().unwrap()).set_len(0).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::EPERM as i32));
    }

    #[test]
    fn a_peer_that_writes_nonsense_costs_the_connection() {
        let (mut sender, mut receiver) = ends(4, 8);
        sender.send(&[1]).unwrap();
        receiver.side.memory.slot(0).words[1].store(9, Relaxed); // A length above the bound.
        assert_eq!(receiver.receive(&mut [0; 64]), Err(Error::Corrupt));
        assert_eq!(receiver.receive(&mut [0; 64]), Err(Error::Corrupt));

        let (_sender, mut receiver) = ends(4, 8);
        receiver.side.memory.slot(0).sequence().store(7, Relaxed);
        assert_eq!(receiver.try_receive(&mut [0; 64]), Err(Error::Corrupt));

        let (mut sender, _receiver) = ends(4, 8);
        (0..4).for_each(|_| sender.send(&[1]).unwrap());
        sender.side.memory.header().released.0.store(Place::FIRST.position.wrapping_add(5), Relaxed);
        assert_eq!(sender.try_send(&[1]), Err(Error::Corrupt));
        assert_eq!(sender.try_send(&[1]), Err(Error::Corrupt));
    }

    #[test]
    fn spinning_is_given_up_where_it_fails_and_tried_again_ever_more_rarely() {
        let mut patience = Patience::NEW;
        let tried: Vec<bool> = (0..20_000).map(|_| (patience.limit > 0, patience.spin_until(|| false)).0).collect();
        let spun = |waits: std::ops::Range<usize>| tried[waits].iter().filter(|spun| **spun).count();
        assert!(spun(0..100) > 10 && spun(10_000..20_000) < 30, "{} {}", spun(0..100), spun(10_000..20_000));
        patience.limit = 1;
        (0..20).for_each(|_| assert!(patience.spin_until(|| true)));
        assert_eq!(patience.limit, 1024);
        let mut never = Patience::of(0);
        assert!((0..100).all(|_| !never.spin_until(|| true)));
    }
}
