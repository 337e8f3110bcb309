//! What goes wrong without synchronization, and what puts it right: what people copy. Each module is one file that
//! stands alone.
#![deny(missing_docs)]

pub mod lost_update; // Two threads, two additions, one of which vanishes; and what keeps both.
pub mod owned_counter; // One thread owns the number, and the others send to it.
pub mod shared_counter; // The same loss between processes that share memory.
pub mod file_counter; // The same loss between processes that share a file.
