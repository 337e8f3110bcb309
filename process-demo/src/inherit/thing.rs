//! What can be passed on, and in which word does one say how?

use std::io;
use std::path::Path;

use anyhow::Result;
use nix::unistd::Pid;

/// One thing that a maker has, and that a new thread or process may get.
pub struct Thing {
    pub name: &'static str,
    pub how: How,
}

/// How it is observed.
#[derive(Clone, Copy)]
pub enum How {
    /// Both sides look and change it, in turn.
    InTurn(InTurn),
    /// The maker looks at itself and at the task that it made, which sleeps: at the same moment.
    FromOutside(fn(Pid) -> Result<[u64; 2]>),
}

#[derive(Clone, Copy)]
pub struct InTurn {
    /// In the maker: makes it, and returns where it is.
    pub set_up: fn(&Site) -> Result<Places>,
    /// The value that whoever calls it sees; none if it is not there.
    pub look: fn(&Places) -> Option<u64>,
    /// Gives it another value, if it can have one: the number says which.
    pub change: fn(&Places, u64) -> io::Result<()>,
}

/// What a maker has at hand.
pub struct Site<'s> {
    /// For files; their names go at once.
    pub directory: &'s Path,
    /// Of a word on the maker's stack, in use as long as the maker lives.
    pub stack_word: usize,
}

/// Where the thing is: addresses, descriptors, numbers; they survive an exec as arguments.
pub type Places = [u64; 2];

/// No address, no descriptor, no task.
pub const NOWHERE: Places = [u64::MAX; 2];

pub fn nothing(_: &Places, _: u64) -> io::Result<()> {
    Ok(())
}

/// Each value that was seen, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// By the maker, before it made the thing.
    pub before: Option<u64>,
    pub set: Option<u64>,
    /// By the created task, first of all.
    pub first: Option<u64>,
    /// By the created task, after it changed the thing.
    pub changed: Option<u64>,
    /// By the maker after that.
    pub reached: Option<u64>,
    /// By the maker, after it changed the thing again.
    pub later: Option<u64>,
    /// By the created task after that.
    pub came: Option<u64>,
}

impl Seen {
    pub fn to_array(self) -> [Option<u64>; 7] {
        let Seen { before, set, first, changed, reached, later, came } = self;
        [before, set, first, changed, reached, later, came]
    }

    pub fn from_array(values: [Option<u64>; 7]) -> Seen {
        let [before, set, first, changed, reached, later, came] = values;
        Seen { before, set, first, changed, reached, later, came }
    }

    /// What became of the thing.
    pub fn word(&self) -> &'static str {
        if self.first != self.set {
            return match self.first {
                None => GONE,
                first if first == self.before => RESET,
                _ => OWN,
            };
        }
        let by_created = self.changed != self.first;
        let by_maker = self.later != self.reached;
        let reached = by_created && self.reached == self.changed;
        let came = by_maker && self.came == self.later;
        match (by_created, by_maker) {
            (false, false) => SAME, // Nobody could change it.
            (true, true) if reached && came => SHARED,
            (true, false) if reached && self.later.is_none() => SHARED, // Ended by the created task, for both.
            (true, true) if !reached && !came => COPY,
            _ => "half shared",
        }
    }
}

pub const GONE: &str = "gone"; // It is not there.
pub const RESET: &str = "reset"; // As it was before the maker set it.
pub const OWN: &str = "its own"; // Another than the maker's.
pub const SAME: &str = "the same"; // The maker's, and nobody can change it.
pub const SHARED: &str = "shared"; // Each sees the other's change.
pub const COPY: &str = "a copy"; // The maker's value, and neither sees the other's change.

#[cfg(test)]
mod tests {
    use super::*;

    fn word(values: [u64; 7]) -> &'static str {
        Seen::from_array(values.map(|value| (value > 0).then_some(value))).word()
    }

    #[test]
    fn the_word_follows_from_who_sees_whose_value() {
        assert_eq!(word([0, 1, 1, 2, 2, 3, 3]), SHARED);
        assert_eq!(word([0, 1, 1, 2, 1, 3, 2]), COPY);
        assert_eq!(word([0, 1, 0, 0, 1, 3, 0]), GONE);
        assert_eq!(word([9, 1, 9, 2, 1, 3, 2]), RESET);
        assert_eq!(word([7, 7, 8, 8, 7, 7, 8]), OWN);
        assert_eq!(word([7, 7, 7, 7, 7, 7, 7]), SAME);
    }

    #[test]
    fn what_comes_through_in_one_direction_only_is_neither_shared_nor_a_copy() {
        assert_eq!(word([0, 1, 1, 0, 0, 0, 0]), SHARED); // Ended by the created task, and ended for the maker.
        assert_eq!(word([0, 1, 1, 2, 2, 3, 2]), "half shared");
        assert_eq!(word([0, 1, 1, 1, 1, 3, 3]), "half shared"); // The created task could not change what the maker could.
    }
}
