//! Every check holds of the files that people paste.

use proofs::{Check, checks_of_futex_mutex, checks_of_ring};

#[test]
fn the_futex_mutex_holds() {
    checks_of_futex_mutex::CHECKS.iter().for_each(hold);
}

#[test]
fn the_ring_holds() {
    checks_of_ring::CHECKS.iter().for_each(hold);
}

fn hold(check: &Check) {
    eprintln!("{}", check.name); // The last one named is the one that fails.
    (check.run)();
}
