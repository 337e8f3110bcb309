//! Bytes in memory that both sides see: how is the reader told that a message lies there?

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::mem::MaybeUninit;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipc_demo::event::Event;
use ipc_demo::queued_signal::{block, send, take};
use ipc_demo::shared_region::SharedRegion;
use nix::errno::Errno;
use nix::libc::{self, SIGRTMIN, c_int, sem_t};
use nix::sched::sched_yield;
use nix::unistd::{Pid, getpid};
use process_demo::duel::{Endpoint, Gate, Message, Turn, WORDS};

/// How the reader of a slot learns that a message lies there, and its writer tells.
pub trait Notice: Send + 'static {
    /// Returns once it was told of this message; whether it really lies there is checked afterwards.
    fn wait(&mut self, slot: &Slot, number: u32) -> Result<()>;

    /// Tells the reader.
    fn give(&mut self, slot: &Slot, number: u32) -> Result<()>;

    /// For those that must know the other side's process.
    fn meet(&mut self, _peer: Pid) {}

    /// Whether its reader stays awake, so that a gate must send it to sleep.
    const STAYS_AWAKE: bool = false;
}

/// One end: slots that both see, and a notice beside them.
pub struct InMemory<N> {
    memory: Memory,
    side: usize,
    sent: u32,
    received: u32,
    notice: N,
}

pub const OURS: usize = 0;
pub const THEIRS: usize = 1;

/// Both ends, with a notice for each.
pub fn with<N: Notice>(mut notice: impl FnMut(&Memory, usize) -> Result<N>) -> Result<(InMemory<N>, InMemory<N>)> {
    let memory = Memory(Arc::new(SharedRegion::new(Memory::BYTES).context("a region of shared memory")?));
    memory.slots(OURS).iter().for_each(|slot| slot.set_gate(Turn::Begins)); // We wait in our own turn only.
    let mut end = |side| {
        let notice = notice(&memory, side)?;
        anyhow::Ok(InMemory { memory: memory.clone(), side, sent: 0, received: 0, notice })
    };
    Ok((end(OURS)?, end(THEIRS)?))
}

impl<N: Notice> Endpoint for InMemory<N> {
    fn send(&mut self, message: Message) -> Result<()> {
        self.sent = self.sent.wrapping_add(1);
        let slot = self.memory.slot(1 - self.side, self.sent);
        slot.put(message, self.sent);
        self.notice.give(slot, self.sent)
    }

    fn receive(&mut self) -> Result<Message> {
        self.received = self.received.wrapping_add(1);
        let slot = self.memory.slot(self.side, self.received);
        self.notice.wait(slot, self.received)?;
        slot.take(self.received)
    }

    fn meet(&mut self, peer: Pid) {
        self.notice.meet(peer);
    }

    fn gate(&self) -> Option<Gate> {
        let memory = self.memory.clone();
        let gate = move |turn| memory.slots(THEIRS).iter().for_each(|slot| slot.set_gate(turn));
        N::STAYS_AWAKE.then(|| Rc::new(gate) as Gate)
    }
}

/// Slots for each side to read from, one after the other.
#[derive(Clone)]
pub struct Memory(Arc<SharedRegion>);

/// Two cache lines; in the first are the number and seven words.
#[repr(C, align(128))]
pub struct Slot {
    /// Of the message that lies here.
    number: AtomicU32,
    /// Closed while whoever reads here has to sleep, as at the start.
    gate: AtomicU32,
    words: [AtomicU64; WORDS],
    semaphore: UnsafeCell<MaybeUninit<sem_t>>,
}

/// As many as the ring beside these rows has. How far a cache line is from a CPU depends on its address, by luck: two
/// rows with one slot each would differ for that alone.
pub const SLOTS: usize = 16;

const CLOSED: u32 = 0; // As the region's memory comes.
const OPEN: u32 = 1;

impl Memory {
    const BYTES: usize = size_of::<[[Slot; SLOTS]; 2]>();

    /// Those that this side reads.
    fn slots(&self, side: usize) -> &[Slot; SLOTS] {
        // SAFETY: the region has slots for two sides, is zeroed, aligned to a page and lives as long as `self`; slots are
        // made of atomics, and of semaphores that are only ever handed to the C library by pointer.
        let of_both = unsafe { &*self.0.as_ptr().cast::<[[Slot; SLOTS]; 2]>() };
        &of_both[side]
    }

    fn slot(&self, side: usize, number: u32) -> &Slot {
        &self.slots(side)[number as usize % SLOTS]
    }
}

impl Slot {
    fn put(&self, message: Message, number: u32) {
        self.words.iter().zip(message.0).for_each(|(place, word)| place.store(word, Relaxed));
        self.number.store(number, Release); // Publishes the words to whoever reads this number.
    }

    fn take(&self, number: u32) -> Result<Message> {
        ensure!(self.has(number), "told of a message that is not there");
        Ok(Message(std::array::from_fn(|index| self.words[index].load(Relaxed))))
    }

    fn has(&self, number: u32) -> bool {
        self.number.load(Acquire) == number // Sees the words that were published with it.
    }

    /// Sleeps while the gate is closed. The other side sends only after it opened the gate, so nothing is missed.
    fn pass_gate(&self) -> Result<()> {
        while self.gate.load(Relaxed) == CLOSED {
            sleep_while(&self.gate, CLOSED)?;
        }
        Ok(())
    }

    fn set_gate(&self, turn: Turn) {
        match turn {
            Turn::Ends => self.gate.store(CLOSED, Relaxed),
            Turn::Begins => {
                self.gate.store(OPEN, Relaxed); // Publishes nothing: messages have a number of their own.
                wake_one(&self.gate); // The peer sleeps where its next message will lie.
            }
        }
    }
}

/// The kernel is asked for every sleep and every wake-up.
pub struct Futex;

impl Notice for Futex {
    fn wait(&mut self, slot: &Slot, number: u32) -> Result<()> {
        loop {
            match slot.number.load(Acquire) {
                seen if seen == number => return Ok(()),
                seen => sleep_while(&slot.number, seen)?,
            }
        }
    }

    fn give(&mut self, slot: &Slot, _: u32) -> Result<()> {
        wake_one(&slot.number);
        Ok(())
    }
}

/// Until it is woken; may return early. nix has no futex.
fn sleep_while(word: &AtomicU32, value: u32) -> Result<()> {
    let for_ever = ptr::null::<libc::timespec>();
    // Without FUTEX_PRIVATE_FLAG the kernel finds the waiters of other processes too.
    // SAFETY: the word outlives the call, and the kernel only reads it.
    let done = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, for_ever) };
    match Errno::result(done) {
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()), // EAGAIN says that the word had changed.
        Err(error) => Err(error).context("waiting on a futex"),
    }
}

fn wake_one(word: &AtomicU32) {
    let unused = ptr::null::<libc::timespec>();
    // SAFETY: a wake-up reads and writes none of our memory.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1_u32, unused) };
}

/// The reader looks again and again, without a pause.
pub struct Spin;

impl Notice for Spin {
    fn wait(&mut self, slot: &Slot, number: u32) -> Result<()> {
        while !slot.has(number) {
            slot.pass_gate()?; // On the cache line that is looked at anyway.
            spin_loop();
        }
        Ok(())
    }

    fn give(&mut self, _: &Slot, _: u32) -> Result<()> {
        Ok(()) // The message itself is what the reader looks for.
    }

    const STAYS_AWAKE: bool = true;
}

/// The same for two sides on one CPU: who finds nothing lets the other one run.
pub struct Yield;

impl Notice for Yield {
    fn wait(&mut self, slot: &Slot, number: u32) -> Result<()> {
        while !slot.has(number) {
            slot.pass_gate()?;
            sched_yield()?;
        }
        Ok(())
    }

    fn give(&mut self, _: &Slot, _: u32) -> Result<()> {
        Ok(())
    }

    const STAYS_AWAKE: bool = true;
}

/// An unnamed semaphore in each slot. None is ever destroyed: in the C libraries of Linux it owns nothing but its memory.
pub struct Semaphore;

pub fn semaphores() -> Result<(InMemory<Semaphore>, InMemory<Semaphore>)> {
    with(|memory, side| {
        const BETWEEN_PROCESSES: c_int = 1;
        for slot in memory.slots(side) {
            // nix has no unnamed semaphores.
            // SAFETY: there is room for a semaphore, and nobody else has this memory yet.
            Errno::result(unsafe { libc::sem_init(slot.semaphore(), BETWEEN_PROCESSES, 0) }).context("a semaphore")?;
        }
        Ok(Semaphore)
    })
}

impl Slot {
    fn semaphore(&self) -> *mut sem_t {
        self.semaphore.get().cast()
    }
}

impl Notice for Semaphore {
    fn wait(&mut self, slot: &Slot, _: u32) -> Result<()> {
        loop {
            // SAFETY: `semaphores` has made it, and it lives as long as the slot.
            match Errno::result(unsafe { libc::sem_wait(slot.semaphore()) }) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("waiting for a semaphore"),
            }
        }
    }

    fn give(&mut self, slot: &Slot, _: u32) -> Result<()> {
        // SAFETY: as above.
        Errno::result(unsafe { libc::sem_post(slot.semaphore()) }).context("posting a semaphore")?;
        Ok(())
    }
}

/// One eventfd for each side, which carries no more than a count.
pub struct Events {
    own: Arc<Event>,
    theirs: Arc<Event>,
    /// Messages that it was told of and did not take yet.
    told: u64,
}

pub fn events() -> Result<(InMemory<Events>, InMemory<Events>)> {
    let of_side = [Arc::new(Event::counter()?), Arc::new(Event::counter()?)];
    let of = |side: usize| Arc::clone(&of_side[side]);
    with(|_, side| Ok(Events { own: of(side), theirs: of(1 - side), told: 0 }))
}

impl Notice for Events {
    fn wait(&mut self, _: &Slot, _: u32) -> Result<()> {
        if self.told == 0 {
            self.told = self.own.wait()?; // More than one, if the other side does not wait for answers.
        }
        self.told -= 1;
        Ok(())
    }

    fn give(&mut self, _: &Slot, _: u32) -> Result<()> {
        Ok(self.theirs.add(1)?)
    }
}

/// A queued real-time signal that carries the message's number.
pub struct Signals {
    own: c_int,
    theirs: c_int,
    to: Pid,
}

/// One for each direction: a signal goes to a process, and of its threads to the one that waits for this number.
fn signal_to(side: usize) -> c_int {
    SIGRTMIN() + side as c_int
}

/// Before the first thread starts: a thread that had them not blocked would get one, and end the process.
pub fn block_signals() -> Result<()> {
    Ok(block(&[signal_to(OURS), signal_to(THEIRS)])?)
}

pub fn signals() -> Result<(InMemory<Signals>, InMemory<Signals>)> {
    for side in [OURS, THEIRS] {
        // A refusal (RLIMIT_SIGPENDING) shows itself here, and not while a peer waits.
        send(getpid(), signal_to(side), 0).context("a queued signal")?;
        take(&[signal_to(side)], Duration::ZERO)?.context("a signal to oneself, while it is blocked")?;
    }
    let to = getpid(); // Right for the peer, and for us if the peer is a thread; else we meet its process.
    with(|_, side| Ok(Signals { own: signal_to(side), theirs: signal_to(1 - side), to }))
}

impl Notice for Signals {
    fn wait(&mut self, _: &Slot, number: u32) -> Result<()> {
        let taken = take(&[self.own], Duration::MAX)?.context("a wait for ever is over")?;
        ensure!(taken.number == number as usize, "told of message {}, not {number}", taken.number);
        Ok(())
    }

    fn give(&mut self, _: &Slot, number: u32) -> Result<()> {
        Ok(send(self.to, self.theirs, number as usize)?)
    }

    fn meet(&mut self, peer: Pid) {
        self.to = peer;
    }
}

/// The thread of each side, as soon as it is known; threads only.
pub struct Unpark([Arc<OnceLock<Thread>>; 2], usize);

pub fn unpark() -> Result<(InMemory<Unpark>, InMemory<Unpark>)> {
    let of_side = [Arc::default(), Arc::default()];
    with(|_, side| Ok(Unpark(of_side.clone(), side)))
}

impl Notice for Unpark {
    fn wait(&mut self, slot: &Slot, number: u32) -> Result<()> {
        self.0[self.1].get_or_init(thread::current);
        while !slot.has(number) {
            thread::park(); // May return for nothing.
        }
        Ok(())
    }

    fn give(&mut self, _: &Slot, _: u32) -> Result<()> {
        self.0[self.1].get_or_init(thread::current); // The other side needs it to answer.
        self.0[1 - self.1].wait().unpark(); // Waits for a thread that has only just been started, once.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use nix::unistd::gettid;
    use shared::measure::SystemClock;

    use super::*;
    use crate::asleep::wait_until_asleep;

    fn its_peer_sleeps_between_two_turns((mut ours, mut theirs): (impl Endpoint, impl Endpoint)) {
        let gate = ours.gate().unwrap();
        let (named, name) = mpsc::channel();
        let peer = thread::spawn(move || {
            named.send(gettid()).unwrap();
            for _ in 0..2 {
                let message = theirs.receive().unwrap();
                theirs.send(message).unwrap();
            }
        });
        let peer_id = name.recv().unwrap();
        for number in 0..2 {
            assert!(wait_until_asleep(peer_id, SystemClock).unwrap(), "turn {number}");
            gate(Turn::Begins);
            ours.send(Message::numbered(number)).unwrap();
            assert_eq!(ours.receive().unwrap(), Message::numbered(number));
            gate(Turn::Ends);
        }
        peer.join().unwrap();
    }

    #[test]
    fn who_never_sleeps_while_it_waits_does_so_before_its_first_turn_and_between_two() {
        its_peer_sleeps_between_two_turns(with(|_, _| Ok(Spin)).unwrap());
        its_peer_sleeps_between_two_turns(with(|_, _| Ok(Yield)).unwrap());
        assert!(with(|_, _| Ok(Futex)).unwrap().0.gate().is_none());
    }
}
