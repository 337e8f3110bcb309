//! How processes talk: what people copy. Each module is one file that stands alone.
#![deny(missing_docs)]

pub mod pipe_pair; // Bytes both ways, by two pipes.
pub mod socket_pair; // Bytes both ways, by one descriptor per side.
pub mod typed; // Values, by ipc-channel.
pub mod shared_region; // Memory that several processes map and nobody can shrink.
pub mod ring; // Messages through such memory, without system calls.
