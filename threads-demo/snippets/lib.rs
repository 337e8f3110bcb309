//! Threads to copy: one in the background, many side by side, and who each of them is.
#![deny(missing_docs, unsafe_code)]

pub mod background;
pub mod thread_identity;
pub mod workers; // The one file with unsafe code: it asks the C library where a stack lies.
