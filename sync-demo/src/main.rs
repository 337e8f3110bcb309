//! How threads and processes wait for each other: locks and semaphores, between threads and between processes.
#![deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

mod admission;
mod locks;
mod monitor;
mod mutex;
mod room;
mod semaphore;

const DEMOS: &[shared::Demo] = &[mutex::DEMO, semaphore::DEMO, monitor::DEMO];

fn main() -> std::process::ExitCode {
    shared::main(DEMOS)
}
