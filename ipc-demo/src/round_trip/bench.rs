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
