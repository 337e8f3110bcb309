//! One thread, many threads: what a program does meanwhile, what threads share, and what each has for itself.
#![deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]
#![deny(unsafe_code)]

mod address_space;
mod background;
mod workers;

const DEMOS: &[shared::Demo] = &[background::DEMO, workers::DEMO, address_space::DEMO];

fn main() -> std::process::ExitCode {
    shared::main(DEMOS)
}
