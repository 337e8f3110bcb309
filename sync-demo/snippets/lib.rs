//! How threads and processes wait for each other: what people copy. Each module is one file that stands alone.
#![deny(missing_docs)]

pub mod futex_mutex; // One at a time, between threads and between processes, by one word and the kernel.
pub mod process_mutex; // One at a time between processes, as pthreads do it.
pub mod semaphore; // Several at a time, between threads.
pub mod posix_semaphore; // Several at a time, between processes.
pub mod bounded_buffer; // Items from those who make them to those who use them, between threads.
