//! What must hold of the ring, in every order.

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

use super::ring::{Error, Geometry, Header, Receiver, Ring, Sender}; // The shipped file, or a mutant, as build.rs says.
use crate::Check;

pub const CHECKS: &[Check] = &[
    Check { name: "a header is whole or invalid, all orders", run: a_header_is_whole_or_invalid },
    Check { name: "who polls gets each message, whole and in order, all orders", run: who_polls_gets_each_message },
    Check { name: "no slot is overwritten before it was read, all orders", run: no_slot_is_overwritten },
    Check { name: "a slot is reused after its reading alone, all orders", run: a_slot_is_reused_after_its_reading },
    Check { name: "a receiver that sleeps is woken, all orders", run: || sleepers_are_woken(2, 1, 1, None) },
    Check { name: "who sleeps learns that the sender left, all orders", run: || who_sleeps_learns_it(true) },
    Check { name: "who sleeps learns that the receiver left, all orders", run: || who_sleeps_learns_it(false) },
    Check { name: "both sleep and both are woken, 3 preemptions", run: || sleepers_are_woken(1, 3, 0, Some(3)) },
    Check { name: "both spin once, then sleep, 3 preemptions", run: || sleepers_are_woken(1, 2, 1, Some(3)) },
    Check { name: "both sleep, a ring of 2 slots, 3 preemptions", run: || sleepers_are_woken(2, 3, 0, Some(3)) },
    Check {
        name: "in place, a slot is lent to one side at a time, 3 preemptions",
        run: || slots_are_lent_to_one(1, 3),
    },
    Check { name: "in place, a ring of 2 slots, 3 preemptions", run: || slots_are_lent_to_one(2, 3) },
];

fn a_header_is_whole_or_invalid() {
    explore(None, || {
        let geometry = Geometry::checked(3, 8).expect("a small ring");
        let header = Arc::new(Header::new());
        let reader = thread::spawn({
            let header = Arc::clone(&header);
            move || assert!([None, Some(geometry)].contains(&header.geometry()), "half a header is taken for valid")
        });
        header.describe(geometry);
        reader.join().unwrap();
        assert_eq!(header.geometry(), Some(geometry));
    });
}

/// A receiver that never sleeps, beside a sender that sends two and leaves.
fn who_polls_gets_each_message() {
    explore(None, || {
        let (mut sender, mut receiver) = ends(2);
        let sends = thread::spawn(move || {
            sender.try_send(&message(1)).unwrap();
            sender.try_send(&message(2)).unwrap();
        });
        let mut next = 1;
        for _ in 0..2 {
            next = look(&mut receiver, next);
        }
        sends.join().unwrap();
        while next <= 2 {
            next = look(&mut receiver, next);
        }
        assert_eq!(receiver.try_receive(&mut [0; 8]), Err(Error::PeerGone));
    });
}

/// A ring of one slot: each message goes where the last one may just be read.
fn no_slot_is_overwritten() {
    explore(None, || {
        let (mut sender, mut receiver) = ends(1);
        sender.try_send(&message(1)).unwrap();
        let sends = thread::spawn(move || {
            let second = sender.try_send(&message(2));
            assert!(matches!(second, Ok(()) | Err(Error::Full)));
            (sender, second.is_ok())
        });
        let next = look(&mut receiver, 1);
        assert_eq!(next, 2, "what was sent before is there");
        let next = look(&mut receiver, next);
        let (sender, sent) = sends.join().unwrap();
        let expected = if sent { Ok(8) } else { Err(Error::Empty) };
        if next == 2 {
            let mut buffer = [0; 8];
            assert_eq!(receiver.try_receive(&mut buffer), expected);
            assert!(!sent || buffer == message(2));
        }
        drop(sender);
    });
}

/// No run of loom's shows a reader what is written later, as hardware may. So this asks for the order itself: loom's cell
/// fails unless what the receiver did before it gave the slot back happens before what the sender does once it has it.
fn a_slot_is_reused_after_its_reading() {
    explore(None, || {
        let (mut sender, mut receiver) = ends(1);
        sender.try_send(&message(1)).unwrap();
        let read = Arc::new(Cell(UnsafeCell::new(())));
        let sends = thread::spawn({
            let read = Arc::clone(&read);
            move || {
                if sender.try_send(&message(2)).is_ok() {
                    read.0.with_mut(|_| ());
                }
            }
        });
        read.0.with(|_| ());
        assert_eq!(look(&mut receiver, 1), 2);
        sends.join().unwrap();
    });
}

/// loom fails when all that are left sleep; time stands still, so no time-out ends a sleep.
fn sleepers_are_woken(slots: usize, messages: u64, spins: u32, preemptions: Option<usize>) {
    explore(preemptions, move || {
        let (mut sender, mut receiver) = ends(slots);
        let sends = thread::spawn(move || {
            sender.spin_at_most(spins);
            (1..=messages).for_each(|number| sender.send(&message(number)).unwrap());
            sender
        });
        receiver.spin_at_most(spins);
        for number in 1..=messages {
            let mut buffer = [0; 8];
            assert_eq!(receiver.receive(&mut buffer), Ok(8));
            assert_eq!(buffer, message(number), "another message");
        }
        drop(sends.join().unwrap());
    });
}

/// Both ends in place; both always sleep to wait. A cell of loom's stands for the bytes of each slot, which are none: it
/// fails unless whatever one side does with a slot happens before whatever the other does next.
fn slots_are_lent_to_one(slots: usize, messages: usize) {
    explore(Some(3), move || {
        let ring = Ring::new(slots, 0).unwrap();
        // SAFETY: both ends are this check's, and nobody else has the ring.
        let (mut sender, mut receiver) =
            unsafe { (ring.sender_in_place().unwrap(), ring.receiver_in_place().unwrap()) };
        let bytes: Arc<Vec<Cell>> = Arc::new((0..slots).map(|_| Cell(UnsafeCell::new(()))).collect());
        let sends = thread::spawn({
            let bytes = Arc::clone(&bytes);
            move || {
                sender.spin_at_most(0);
                for number in 0..messages {
                    let room = sender.reserve(0).unwrap();
                    bytes[number % slots].0.with_mut(|_| ());
                    room.commit();
                }
                sender
            }
        });
        receiver.spin_at_most(0);
        for number in 0..messages {
            let received = receiver.receive().unwrap();
            bytes[number % slots].0.with(|_| ());
            drop(received);
        }
        drop(sends.join().unwrap());
        assert_eq!(receiver.try_receive().err(), Some(Error::PeerGone));
    });
}

fn who_sleeps_learns_it(sender_leaves: bool) {
    explore(None, move || {
        let (mut sender, mut receiver) = ends(1);
        sender.try_send(&message(1)).unwrap();
        sender.spin_at_most(0);
        receiver.spin_at_most(0);
        if sender_leaves {
            assert_eq!(look(&mut receiver, 1), 2);
            let leaves = thread::spawn(move || drop(sender));
            assert_eq!(receiver.receive(&mut [0; 8]), Err(Error::PeerGone));
            leaves.join().unwrap();
        } else {
            let leaves = thread::spawn(move || drop(receiver));
            assert_eq!(sender.send(&message(2)), Err(Error::PeerGone));
            leaves.join().unwrap();
        }
    });
}

/// What may be used in some order only.
struct Cell(UnsafeCell<()>);
// SAFETY: loom's cell itself fails where two threads use it without order.
unsafe impl Sync for Cell {}

fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

fn ends(slots: usize) -> (Sender, Receiver) {
    let ring = Ring::new(slots, 8).unwrap();
    (ring.sender().unwrap(), ring.receiver().unwrap())
}

fn message(number: u64) -> [u8; 8] {
    number.to_ne_bytes()
}

/// Looks once whether message `next` is there, and returns the number of the one after the last that was.
fn look(receiver: &mut Receiver, next: u64) -> u64 {
    let mut buffer = [0; 8];
    match receiver.try_receive(&mut buffer) {
        Ok(length) => {
            assert_eq!((length, buffer), (8, message(next)), "another message, or half of one");
            next + 1
        }
        Err(error) => {
            assert_eq!(error, Error::Empty);
            next
        }
    }
}
