//! A stand-in for std: what concerns threads is loom's, so that loom decides who runs next; the rest is std's own.

pub use loom::{hint, sync, thread}; // Named, so they go before the same names of std.
pub use std::*;
