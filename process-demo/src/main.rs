//! Processes: what each has for itself, what it costs to make one, and what it protects.
#![deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

mod address_space;
mod allowance;
mod clone;
mod copy_on_write;
mod crash;
mod family;
mod fork_with_threads;
mod inherit;
mod limits;
mod management;
mod memory;
mod orphans;
mod proc_field;
mod resources;
mod secret;
mod server;
mod server_crash;
mod shared_state;
mod snapshot;
mod split;
mod start_cost;
mod stdio;
mod supervise;
mod switch;
mod web_server;
mod workers;
mod zombies;

const DEMOS: &[shared::Demo] = &[
    workers::DEMO,
    address_space::DEMO,
    clone::DEMO,
    inherit::DEMO,
    start_cost::DEMO,
    switch::DEMO,
    memory::DEMO,
    copy_on_write::DEMO,
    snapshot::DEMO,
    stdio::DEMO,
    fork_with_threads::DEMO,
    crash::DEMO,
    supervise::DEMO,
    zombies::DEMO,
    orphans::DEMO,
    management::DEMO,
    limits::DEMO,
    resources::DEMO,
    secret::DEMO,
    split::DEMO,
    web_server::DEMO,
    server_crash::DEMO,
    shared_state::DEMO,
];

fn main() -> std::process::ExitCode {
    shared::main(DEMOS)
}
