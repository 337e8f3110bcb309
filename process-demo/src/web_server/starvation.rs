//! What happens to a connection beyond the number of workers, if each worker serves one until it closes?

use anyhow::{Context, Result};
use shared::Stage;

use super::client::{Connection, Outcome};
use super::models::Model;
use super::server::{Server, Setup};

const ROUNDS: u64 = 10;
const PATIENCE_MS: u16 = 20_000; // Only a bound: each of these answers is certain to come.

pub fn show(stage: &mut Stage, setup: &Setup) -> Result<()> {
    let server = Server::start(Model::BlockingPrefork, setup)?;
    let mut right = true;
    let mut seated = Vec::new();
    for id in 0..setup.workers as u64 {
        let mut connection = Connection::open(server.address).context("connecting to the server")?;
        right &= answered(&mut connection, id);
        seated.push(connection);
    }
    let mut beyond = Connection::open(server.address).context("connecting to the server")?;
    const BEYOND: u64 = 1000;
    beyond.ask(&format!("/task/{BEYOND}"));
    // What is asked later on the others is answered all the same, again and again.
    let mut overtaken = 0;
    for id in 0..ROUNDS {
        for connection in &mut seated {
            overtaken += usize::from(answered(connection, id));
        }
    }
    let early = beyond.outcome(BEYOND);
    drop(seated.pop());
    let late = beyond.wait(BEYOND, PATIENCE_MS);
    let says = if early == Outcome::NotYet { "no answer" } else { "an answer" };
    let then = if matches!(late, Outcome::Answered(_)) { "its answer" } else { "none" };
    stage.fact(
        format!(
            "Blocking prefork: {} connections that stay open keep another one waiting until one of them closes",
            setup.workers
        ),
        right
            && overtaken as u64 == ROUNDS * setup.workers as u64
            && early == Outcome::NotYet
            && matches!(late, Outcome::Answered(_)),
        format!("{says} while {overtaken} later requests were answered; {then} after one closed"),
    );
    Ok(())
}

fn answered(connection: &mut Connection, id: u64) -> bool {
    connection.ask(&format!("/task/{id}"));
    matches!(connection.wait(id, PATIENCE_MS), Outcome::Answered(_))
}
