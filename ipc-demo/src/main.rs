//! How processes talk, and what it costs beside threads.
#![deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

mod abilities;
mod asleep;
mod backpressure;
mod boundaries;
mod complexity;
mod futex;
mod idle;
mod mapped;
mod mechanisms;
mod message_queue;
mod names;
mod pass_fd;
mod peer_death;
mod round_trip;
mod shared_memory;
mod shared_pitfalls;
mod signals;
mod throughput;
mod two_writers;
mod typed;
mod version;

const DEMOS: &[shared::Demo] = &[
    round_trip::DEMO,
    throughput::DEMO,
    shared_memory::DEMO,
    shared_pitfalls::DEMO,
    idle::DEMO,
    pass_fd::DEMO,
    typed::DEMO,
    peer_death::DEMO,
    complexity::DEMO,
    boundaries::DEMO,
    two_writers::DEMO,
    backpressure::DEMO,
    message_queue::DEMO,
    signals::DEMO,
];

fn main() -> std::process::ExitCode {
    shared::main(DEMOS)
}
