//! Processes: what people copy. Each module is one file that stands alone.
#![deny(missing_docs)]

pub mod child; // A child process by fork that cannot get lost.
pub mod pidfd; // A process by descriptor: unlike its number, a descriptor never comes to mean another process.
pub mod spawn; // This program again, as a new process that plays a role and is handed descriptors.
pub mod page; // One page of memory that a fork copies, or that parent and child go on sharing.
pub mod resident; // A block of memory that is really there.
pub mod foreign_memory; // Reading the memory of another process, if the kernel lets us.
pub mod memory_of; // The memory of a process, or of a family of processes: RSS, PSS and USS.
pub mod start; // Starting a thread or a process, by seven calls, and waiting for its end.
pub mod system_calls; // The system calls that a piece of work makes, counted by name.
pub mod snapshot; // A consistent snapshot of changing data to a file, by a forked child.
pub mod limits; // A limit on what a process may take: for a child before it works, or for this process for a while.
pub mod sandbox; // Giving up privileges for good, and knowing which part is in force.
pub mod supervisor; // Worker processes that are replaced when they crash or hang, and drained on SIGTERM.
pub mod shutdown; // SIGTERM as a descriptor, and work in flight that may finish.
pub mod prefork; // A listener served by worker processes that are replaced when they die.
pub mod beneath; // A file that a stranger names, opened beneath a root that no name leads out of.
pub mod task; // A task that shares with its creator what the flags say: the one system call behind fork and threads.

// Not for copying: what demonstrations share, and no snippets. They stand here because every topic has this library.
#[path = "../stage/asleep.rs"]
pub mod asleep; // Whether a thread sleeps in the kernel, and in which system call.
#[path = "../stage/crew.rs"]
pub mod crew; // Workers, as threads or as processes, that are handed a task as a function, and answer.
#[path = "../stage/duel.rs"]
pub mod duel; // Two sides that send a message back and forth, one at a time: a rival in a contest.
