//! The ways that are compared, a file for each kind: how its ends are made, and how they send and receive.

pub mod blocks;
pub mod channels;
pub mod iceoryx;
pub mod ring;
pub mod rtrb;
pub mod sockets;

use shared::Placement;
use shared::measure::Contest;

use crate::exchange::{Setting, processes, threads};
use iceoryx::{Home, Waiting};
use ring::Ends::{Copying, InPlace};

/// Adds every way with that placement, each with so many slots where it has slots.
pub fn add_all<'a>(contest: &mut Contest<'a>, setting: Setting<'a>, home: &'a Home, slots: usize, place: Placement) {
    let polling = Polling::at(place);
    let [copied, in_place] = [Copying, InPlace].map(|ends| ring::name(slots, ends));
    contest.add(processes(&copied, place, setting, move || ring::copying(slots)));
    contest.add(processes(&in_place, place, setting, move || ring::in_place(slots)));
    for waiting in [Waiting::Polling(polling), Waiting::Event] {
        contest
            .add(processes(&iceoryx::name(waiting), place, setting, move || iceoryx::messages(home, slots, waiting)));
    }
    contest.add(processes(sockets::STREAM, place, setting, sockets::stream));
    contest.add(processes(sockets::SEQPACKET, place, setting, sockets::seqpacket));
    contest.add(threads(&copied, place, setting, move || ring::copying(slots)));
    contest.add(threads(&in_place, place, setting, move || ring::in_place(slots)));
    contest.add(threads(&rtrb::name(slots, polling), place, setting, move || rtrb::pair(slots, polling)));
    let bounded = |name| channels::bounded(name, slots);
    contest.add(threads(&bounded("crossbeam-channel"), place, setting, move || channels::crossbeam(slots)));
    contest.add(threads(&bounded("kanal"), place, setting, move || channels::kanal(slots)));
    contest.add(threads(&bounded("flume"), place, setting, move || channels::flume(slots)));
    contest.add(threads(&channels::std_name(slots), place, setting, move || channels::std(slots)));
}

/// How a way that cannot sleep waits for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// Looks again at once: for a peer on another CPU.
    Spinning,
    /// Lets others run first: on one CPU the peer could not do anything meanwhile.
    Yielding,
}

impl Polling {
    pub fn at(place: Placement) -> Polling {
        if place == Placement::SameCpu { Polling::Yielding } else { Polling::Spinning }
    }

    pub fn pause(self) {
        match self {
            Polling::Spinning => std::hint::spin_loop(),
            Polling::Yielding => std::thread::yield_now(),
        }
    }

    pub fn says(self) -> &'static str {
        match self {
            Polling::Spinning => "spinning",
            Polling::Yielding => "yielding",
        }
    }
}
