//! Our ring beside other people's: what each costs here, and what each offers that ours does not.
#![deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

mod block;
mod exchange;
mod large_peers;
mod message;
mod offers;
mod one_way_peers;
mod round_trip_peers;
mod tally;
mod targets;
mod ways;

const DEMOS: &[shared::Demo] = &[round_trip_peers::DEMO, one_way_peers::DEMO, large_peers::DEMO];

fn main() -> std::process::ExitCode {
    shared::main(DEMOS)
}
