//! What goes wrong when threads or processes share something without synchronization, and what puts it right.
#![deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

mod additions;
mod between_processes;
mod lost_update;

const DEMOS: &[shared::Demo] = &[lost_update::DEMO, between_processes::DEMO];

fn main() -> std::process::ExitCode {
    shared::main(DEMOS)
}
