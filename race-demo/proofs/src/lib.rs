//! Do the snippets' protocols hold in every order in which their threads can run?
//!
//! The files that people paste are compiled here unchanged, against stand-ins of std and nix in which loom decides who
//! runs next and which of the allowed values a load returns. Each file's checks then run in all orders, or in all up to
//! a number of preemptions that the check's name gives. And every mutant of a file, in which one ordering is weakened
//! or one bug is planted, must fail one of the same checks: otherwise the checks prove nothing about that line.
//!
//! What this leaves out: what the real kernel and the real hardware do beyond the model (see `loom_nix` on futex
//! calls); processes, which are threads here; more threads and more rounds than the checks have; SeqCst accesses, which
//! loom takes for AcqRel; how long anybody waits, and whether everybody gets a turn.

#![cfg(not(test))] // As a test it would compile the snippets' own tests, which need the real std.
#![allow(clippy::duplicate_mod)] // The checks are compiled beside the shipped file and beside each mutant of it.

extern crate loom_nix as nix;
extern crate loom_std as std;

#[path = "checks/futex_mutex.rs"]
pub mod checks_of_futex_mutex;
#[path = "checks/ring.rs"]
pub mod checks_of_ring;
#[path = "../../../sync-demo/snippets/futex_mutex.rs"]
pub mod futex_mutex;
#[path = "../../../ipc-demo/snippets/ring.rs"]
pub mod ring;

/// Something that must hold; it panics in the first order in which it does not.
pub struct Check {
    pub name: &'static str,
    pub run: fn(),
}

/// A snippet with one change, and the snippet's checks compiled against it.
pub struct Mutant {
    pub file: &'static str,
    /// Where the change is, in the shipped file.
    pub line: usize,
    pub change: &'static str,
    pub checks: &'static [Check],
}

/// The modules are written by build.rs: each a mutated copy beside its checks.
pub mod mutants {
    use crate::Mutant;

    include!(concat!(env!("OUT_DIR"), "/mutants.rs"));
}
