//! What did a run leave behind, by class?

use serde::{Deserialize, Serialize};

/// What a run left behind, by class; a class that could not be looked at is none, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftovers {
    pub processes: Option<u64>,
    pub zombies: Option<u64>,
    pub shared_memory: Option<u64>,
    pub queues: Option<u64>,
    pub semaphores: Option<u64>,
    pub system_v: Option<u64>,
    pub sockets: Option<u64>,
    pub files: Option<u64>,
}

impl Leftovers {
    /// Each class with its name and count, in the document's order.
    pub fn classes(&self) -> [(&'static str, Option<u64>); 8] {
        [
            ("processes", self.processes),
            ("zombies", self.zombies),
            ("shared memory", self.shared_memory),
            ("queues", self.queues),
            ("semaphores", self.semaphores),
            ("System V objects", self.system_v),
            ("sockets", self.sockets),
            ("files", self.files),
        ]
    }

    /// How many were found in the classes that could be looked at.
    pub fn found(&self) -> u64 {
        self.classes().iter().filter_map(|(_, count)| *count).sum()
    }

    /// What was found, in words: "1 processes, 2 files"; empty if nothing.
    pub fn in_words(&self) -> String {
        let found = self.classes().into_iter().filter_map(|(name, count)| Some((name, count.filter(|&n| n > 0)?)));
        found.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    }

    /// Both together; a class unknown to either stays unknown, unless something was found.
    pub fn and(&self, other: &Leftovers) -> Leftovers {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (one, other) => one.or(other).filter(|&found| found > 0),
        };
        Leftovers {
            processes: sum(self.processes, other.processes),
            zombies: sum(self.zombies, other.zombies),
            shared_memory: sum(self.shared_memory, other.shared_memory),
            queues: sum(self.queues, other.queues),
            semaphores: sum(self.semaphores, other.semaphores),
            system_v: sum(self.system_v, other.system_v),
            sockets: sum(self.sockets, other.sockets),
            files: sum(self.files, other.files),
        }
    }
}
