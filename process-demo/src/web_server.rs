//! Threads or processes for a web server?

mod capacity;
mod load;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use shared::measure::usable_cpus;
use shared::number::{counted, three_digits};
use shared::stats::ratio;
use shared::{Cell, Claim, Demo, Extras, Ruling, Snippet, Stage, Table, Tried, tried};

use crate::server::answer::{GoOn, Work};
use crate::server::client::{self, Connection, Outcome};
use crate::server::models::Model;
use crate::server::{self, Server, Setup, number};
use capacity::Row;

pub const DEMO: Demo = Demo {
    name: "web-server",
    question: "Threads or processes for a web server?",
    claims: &[Claim::PreforkServer],
    rule: "A web server handles requests in several processes at once if, with prefork, two worker processes or more had a \
           request in flight at the same moment, before any was answered, and every answer was right. Refuted if there \
           were never two, or if an answer was wrong; skipped if this machine refuses such a server.",
    extras: Extras {
        parameters: &[
            number("workers", "", "threads or processes that serve; 0 for as many as CPUs", 0.0, 0.0, 64.0),
            number("connections", "", "of the client, kept open", 16.0, 1.0, 1000.0),
            number("cpu_us", "us", "CPU time that each request takes", 50.0, 0.0, 1e6),
            number("wait_ms", "ms", "how long each request waits, as for a database", 0.0, 0.0, 1000.0),
            server::PRELOAD,
            number("rate", "1/s", "of the requests whose lateness is measured", 200.0, 1.0, 1e6),
        ],
        ..Extras::NONE
    },
    snippets: &[
        Snippet { path: "process-demo/snippets/prefork.rs", text: include_str!("../snippets/prefork.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/memory_of.rs", text: include_str!("../snippets/memory_of.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let workers = match stage.setting("workers") as usize {
        0 => usable_cpus().len().clamp(2, 16), // Of one worker, nothing could be compared.
        workers => workers,
    };
    let connections = stage.setting("connections") as usize;
    server::has_descriptors_for(connections + 24 * workers)?;
    let calm = Setup::calm(stage, workers); // Where something is counted, no request takes time.
    let ruling = judge(tried(in_flight_at_once(stage, &calm))?);
    let starve = [starves(stage, Model::ThreadPool, &calm)?, starves(stage, Model::Prefork, &calm)?] == [true; 2];
    let cpu_ns = (stage.setting("cpu_us") * 1000.0) as i64;
    let wait = Duration::from_micros((stage.setting("wait_ms") * 1000.0) as u64);
    let rows = capacity::measure(stage, &Setup { work: Work { cpu_ns, wait }, ..calm }, connections)?;
    let (served_by, open) = (counted(workers, "worker"), counted(connections, "connection"));
    let title = format!("{served_by}, {open} that stay open, requests at full speed");
    let columns =
        [("model", ""), ("answers", "1/s"), ("CPU", "ns"), ("memory", "bytes"), ("p99", "ns"), ("starved", "")];
    let row = |(model, seen): &Row| {
        let skipped = |why: &String| vec![Cell::Skipped { skipped: why.clone() }];
        [vec![model.label().into()], seen.as_ref().map_or_else(skipped, |seen| seen.cells(connections))].concat()
    };
    stage.show(Table::new(title, columns, rows.iter().map(row)));
    let beyond = if starve { format!(" With both, a connection beyond {workers} waits.") } else { String::new() };
    tell(stage, &ruling, &rows, &beyond);
    stage.rule(Claim::PreforkServer, ruling)
}

/// Worker processes that had a request in flight at the same moment, and whether every answer was right.
type Together = (usize, bool);

fn in_flight_at_once(stage: &mut Stage, setup: &Setup) -> Result<Together> {
    let server = Server::start(Model::Prefork, setup)?;
    let (mut connections, waiting) = server.hold(setup.workers)?;
    let holders = connections.iter_mut().filter_map(Connection::holder);
    let at_once = holders.map(|holder| holder.process).collect::<BTreeSet<_>>().len();
    connections.extend(waiting);
    connections.iter_mut().for_each(|connection| connection.go_on(GoOn::Answer)); // Now, and not before.
    let asked = connections.len();
    let right = asked - client::lost(connections);
    let workers = setup.workers;
    stage.fact(
        format!("prefork: each of {workers} worker processes had a request in flight before any was answered"),
        at_once == workers && right == asked,
        format!("{at_once} processes at once; {right} of {asked} requests answered right"),
    );
    Ok((at_once, right == asked))
}

fn judge(seen: Tried<Together>) -> Ruling {
    let (at_once, all_right) = match seen {
        Ok(together) => together,
        Err(why) => return Ruling::skipped(why),
    };
    let right = if all_right { "every answer was right" } else { "not every answer was right" };
    let because = format!("{at_once} worker processes had a request in flight at the same moment, and {right}");
    let ruling = if at_once >= 2 && all_right { Ruling::holds(because) } else { Ruling::refuted(because) };
    ruling.by(at_once as f64, "processes")
}

/// What happens to a connection beyond the number of workers?
fn starves(stage: &mut Stage, model: Model, setup: &Setup) -> Result<bool> {
    const ROUNDS: usize = 10;
    let (workers, server) = (setup.workers, Server::start(model, setup)?);
    let mut served = (0..workers).map(|_| server.connect()).collect::<Result<Vec<_>>>()?;
    served.iter_mut().try_for_each(|connection| server.ask(connection, 1))?;
    let mut beyond = server.connect()?;
    beyond.ask(1000);
    // What is asked later on the others is answered all the same, again and again.
    let mut later = 0;
    for _ in 0..ROUNDS {
        served.iter_mut().for_each(|connection| connection.ask(2));
        later += served.iter_mut().filter_map(|connection| connection.is_answered().then_some(())).count();
    }
    let early = beyond.outcome();
    drop(served.pop());
    let is_answered = beyond.is_answered();
    let says = if early == Outcome::NotYet { "no answer" } else { "an answer" };
    let then = if is_answered { "its answer" } else { "none" };
    Ok(stage.fact(
        format!("{}: {workers} connections that stay open keep another waiting until one closes", model.label()),
        later == ROUNDS * workers && early == Outcome::NotYet && is_answered,
        format!("{says} while {later} later requests were answered; {then} after one closed"),
    ))
}

fn tell(stage: &mut Stage, ruling: &Ruling, rows: &[Row], beyond: &str) {
    let of = |model| rows.iter().find(|row| row.0 == model)?.1.as_ref().ok();
    let Some((prefork, pool)) = of(Model::Prefork).zip(of(Model::ThreadPool)) else {
        stage.headline(format!("{} prefork workers served at once", ruling.value.unwrap_or_default()));
        stage.answer("This machine refuses one of them.");
        return stage.advise("Serve by processes where a request may crash: copy `prefork`.");
    };
    let [ours, theirs] = [prefork, pool].map(|figures| three_digits(figures.per_s()));
    stage.headline(format!("{ours} answers/s prefork, {theirs} pool"));
    let more = ratio(&prefork.by_round_per_s(), &pool.by_round_per_s());
    let (faster, advice) = match (more.clear, more.ratio > 1.0) {
        (false, _) => {
            ("Neither is clearly faster", "Speed does not decide: where a request may crash, copy `prefork`.")
        }
        (true, true) => ("Prefork is faster", "Serve by processes: copy `prefork`."),
        (true, false) => ("A thread pool is faster", "Only where a request may crash, use processes: copy `prefork`."),
    };
    stage.answer(format!("{faster}: prefork {ours} requests/s, a thread pool {theirs}.{beyond}"));
    stage.advise(advice);
}
