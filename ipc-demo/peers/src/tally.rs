//! Did every message arrive, and were both sides where their row says?

use std::cell::RefCell;

use nix::unistd::{Pid, getpid};
use shared::Stage;
use shared::measure::{PinTo, Pinning};
use shared::number::count;

use crate::exchange::Course;

pub fn tell(stage: &mut Stage, tally: &Tally) {
    let rows = tally.rows.borrow();
    let sum = |of: fn(&Exchanged) -> u64| rows.iter().map(of).sum::<u64>();
    let (sent, seen) = (sum(|row| row.sent), sum(|row| row.seen_by_peer));
    let got = format!("{} of {} in {} rows", count(seen), count(sent), rows.len());
    stage.check("Every message reached its peer whole and in order", seen == sent && sent > 0, got);
    if rows.iter().all(|row| row.course == Course::RoundTrip) {
        let returned = sum(|row| row.returned);
        let got = format!("{} of {}", count(returned), count(sent));
        stage.check("Every message came back as it was sent", returned == sent, got);
    }
    let mut tell = |says: &str, holds: fn(&Exchanged) -> bool| {
        let right = rows.iter().filter(|row| holds(row)).count();
        stage.check(says, right == rows.len(), format!("{right} of {} rows", rows.len()));
    };
    tell("Each peer was the process that its row says: a child, or this one", Exchanged::two_processes_or_one);
    tell("Both sides were seen on their CPUs", Exchanged::seated);
    tell("Each peer ended by itself when it was told to", |row| row.peer_ended_well);
}

/// What became of every row, written down as each one ends.
#[derive(Default)]
pub struct Tally {
    pub rows: RefCell<Vec<Exchanged>>,
}

/// What one row exchanged, and where its two sides were seen.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged {
    pub pinning: Pinning,
    pub course: Course,
    /// The child that is to be the peer; none if a thread is.
    pub child: Option<Pid>,
    pub sent: u64,
    pub returned: u64,
    pub seen_by_peer: u64,
    pub own_cpu: Option<usize>,
    pub peer_cpu: Option<usize>,
    pub peer_pid: Option<Pid>,
    pub peer_ended_well: bool,
}

impl Exchanged {
    pub fn none_yet(pinning: Pinning, course: Course, child: Option<Pid>) -> Exchanged {
        Exchanged {
            pinning,
            course,
            child,
            sent: 0,
            returned: 0,
            seen_by_peer: 0,
            own_cpu: None,
            peer_cpu: None,
            peer_pid: None,
            peer_ended_well: false,
        }
    }

    fn two_processes_or_one(&self) -> bool {
        self.peer_pid == Some(self.child.unwrap_or_else(getpid))
    }

    fn seated(&self) -> bool {
        let sits = |pin_to: PinTo, cpu: Option<usize>| match pin_to {
            PinTo::Anywhere => true,
            PinTo::Cpu(wanted) => cpu == Some(wanted),
        };
        sits(self.pinning.own, self.own_cpu) && sits(self.pinning.peer, self.peer_cpu)
    }
}
