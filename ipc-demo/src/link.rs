//! What the kernel carries, under the names that it had before there was one list of mechanisms.

pub use crate::mechanisms::kernel::{Link, Names, Way};
