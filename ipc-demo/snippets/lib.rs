//! How processes talk: what people copy. Each module is one file that stands alone.
#![deny(missing_docs)]

pub mod pipe_pair; // Bytes both ways, by two pipes.
pub mod fifo; // A pipe with a name, for processes that are not relatives.
pub mod socket_pair; // Bytes both ways, by one descriptor per side.
pub mod framed; // Messages over any stream, each with its length in front.
pub mod message_queue; // Messages with priorities, kept by the kernel.
pub mod event; // A number to count up and to wait for.
pub mod queued_signal; // A number with a signal, kept in order.
pub mod typed; // Values, by ipc-channel.
pub mod shared_region; // Memory that several processes map and nobody can shrink.
pub mod pass_fd; // Open files, sockets and memory handed to another process.
pub mod peer_credentials; // Who is on the other end of a Unix socket.
pub mod ring; // Messages through such memory, without system calls.
