//! Do several processes have a request in flight at the same moment?

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use shared::Stage;

use super::client::{Connection, Outcome};
use super::handler::GoOn;
use super::models::Model;
use super::server::{Server, Setup};

/// What was seen of a prefork server whose requests are held until each worker has one.
pub struct Together {
    /// Worker processes that had a request in flight at the same moment.
    pub at_once: usize,
    pub right: usize,
    pub asked: usize,
}

const MOST_CONNECTIONS: usize = 1000; // Dealt out by hash, the chance to miss one of 64 workers is one in a million.
const PATIENCE_MS: u16 = 20_000; // Only a bound: a free worker is certain to take what waits.

/// A worker that holds a request can take no other, so each further connection goes to another worker: by the queue they
/// share, or by luck, if each has a queue of its own, and then there are more connections than workers.
pub fn show(stage: &mut Stage, model: Model, setup: &Setup) -> Result<Together> {
    let mut server = Server::start(model, setup)?;
    let shares_a_queue = model != Model::PreforkReusePort;
    let patience_ms = if shares_a_queue { PATIENCE_MS } else { 1 };
    let mut connections = Vec::new();
    let (mut holders, mut gates) = (BTreeSet::new(), 0);
    while holders.len() < setup.workers && connections.len() < MOST_CONNECTIONS {
        let mut connection = Connection::open(server.address).context("connecting to the server")?;
        let id = connections.len() as u64 + 1;
        // One gate each for as many as there are workers; a request that waits in a queue may be held there later.
        connection.ask(&format!("/hold/{}/{id}", connections.len() % setup.workers));
        connections.push(connection);
        match server.next_held(patience_ms)? {
            Some((_, pid)) => drop(holders.insert(pid)),
            None if shares_a_queue => break,
            None => {}
        }
        gates += 1;
    }
    let at_once = holders.len(); // All of them wait at a gate, and none has been opened yet.
    for gate in 0..gates {
        server.open_gate(gate % setup.workers, GoOn::Answer)?;
    }
    let (mut right, asked) = (0, connections.len());
    for (id, connection) in (1..).zip(&mut connections) {
        right += usize::from(matches!(connection.wait(id, PATIENCE_MS), Outcome::Answered(_)));
    }
    let together = Together { at_once, right, asked };
    stage.fact(
        format!(
            "{}: each of {} worker processes had a request in flight before any was answered",
            model.label(),
            setup.workers
        ),
        at_once == setup.workers && right == asked,
        format!("{at_once} processes at once; {right} of {asked} requests answered right"),
    );
    Ok(together)
}
