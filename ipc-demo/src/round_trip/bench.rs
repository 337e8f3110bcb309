//! What do all rows share? The names that a way may need, whose turn it is, and what became of each row.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;

use shared::Stage;

use super::desk::Gate;
use super::tally::Exchanged;

#[derive(Default)]
pub struct Bench {
    /// For ways that need a name; it is gone again once both sides have the way.
    pub directory: PathBuf,
    pub queue: String,
    pub floor: Floor,
    pub rows: RefCell<Vec<Exchanged>>,
}

impl Bench {
    pub fn new(stage: &Stage) -> Bench {
        let (directory, queue) = (stage.directory().to_owned(), format!("/{}", stage.name("trip")));
        Bench { directory, queue, floor: Floor::default(), rows: RefCell::default() }
    }
}

/// Whose turn it is. A peer that waits without sleeping is sent to sleep as soon as another row has the floor.
#[derive(Default)]
pub struct Floor {
    /// The row that has it, from 1.
    holder: Cell<usize>,
    rows: Cell<usize>,
    gate: RefCell<Option<Gate>>,
}

impl Floor {
    /// A number for a new row.
    pub fn number(&self) -> usize {
        self.rows.set(self.rows.get() + 1);
        self.rows.get()
    }

    /// Gives that row the floor. Cheap if it has it: this is asked before every message.
    pub fn give_to(&self, row: usize, gate: Option<&Gate>) {
        if self.holder.replace(row) != row {
            if let Some(before) = self.gate.replace(gate.cloned()) {
                before.close();
            }
            gate.inspect(|gate| gate.open());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use nix::unistd::gettid;
    use shared::measure::SystemClock;

    use super::super::exchange::End;
    use super::super::message::Message;
    use super::super::spin;
    use super::*;
    use crate::asleep::wait_until_asleep;

    #[test]
    fn a_spinning_peer_sleeps_before_its_first_turn_and_whenever_another_has_the_floor() {
        let (mut ours, mut theirs) = spin::pair().unwrap();
        let (gate, floor) = (ours.gate(), Floor::default());
        let (named, name) = mpsc::channel();
        let peer = thread::spawn(move || {
            named.send(gettid()).unwrap();
            for _ in 0..2 {
                let message = theirs.receive().unwrap();
                theirs.send(message).unwrap();
            }
        });
        let peer_id = name.recv().unwrap();
        assert!(gate.is_some());
        for number in 0..2 {
            assert!(wait_until_asleep(peer_id, SystemClock).unwrap(), "turn {number}");
            floor.give_to(1, gate.as_ref());
            ours.send(Message::numbered(number)).unwrap();
            assert_eq!(ours.receive().unwrap(), Message::numbered(number));
            floor.give_to(2, None);
        }
        peer.join().unwrap();
    }
}
