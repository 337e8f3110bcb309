//! Threads: what people copy. Each module is one file that stands alone.
#![deny(missing_docs, unsafe_code)] // All but the one file that asks the C library where a stack lies.

pub mod background; // A task in the background: start it, go on, fetch its result.
pub mod workers; // Many side by side, all started before any may finish.
pub mod thread_identity; // Who a thread is, where its stack lies, where it sleeps.
