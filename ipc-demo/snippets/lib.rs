//! How processes talk: snippets to copy, one concept each, every file on its own.
#![deny(missing_docs)]

// Bytes, one way or both.
pub mod pipe_pair;
pub mod socket_pair;

// Values.
pub mod typed;

// Memory.
pub mod shared_region;
