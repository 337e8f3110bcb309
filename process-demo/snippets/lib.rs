//! Processes: what people copy. Each module is one file that stands alone.
#![deny(missing_docs)]

pub mod child; // A child process by fork that cannot get lost.
pub mod page; // One page of memory that a fork copies, or that parent and child go on sharing.
pub mod resident; // A block of memory that is really there.
pub mod foreign_memory; // Reading the memory of another process, if the kernel lets us.
pub mod start; // Six ways to start something and to wait for its end.
pub mod system_calls; // The system calls that a piece of work makes, counted by name.
