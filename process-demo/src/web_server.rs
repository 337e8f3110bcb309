//! Threads or processes for a web server?

mod capacity;
mod load;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use shared::measure::usable_cpus;
use shared::number::{counted, three_digits};
use shared::stats::Ratio;
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage, refused};

use crate::server::answer::{GoOn, Work};
use crate::server::client::{self, Connection, Outcome};
use crate::server::models::Model;
use crate::server::{self, Server, Setup, number, table};
use capacity::{Plan, Row};

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
            number("panic_rate", "per mille", "requests that panic", 0.0, 0.0, 500.0),
            number("segv_rate", "per mille", "requests that end in a segmentation fault", 0.0, 0.0, 500.0),
            number("rate", "1/s", "of the paced requests; 0 for half of the slowest model's capacity", 0.0, 0.0, 1e6),
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
    let plan = plan(stage);
    let workers = plan.setup.workers;
    server::has_descriptors_for(plan.connections + 24 * workers)?;
    let calm = Setup { work: Work::NONE, ..plan.setup }; // Where something is counted, nothing may happen by chance.
    let together = [Model::Prefork, Model::PreforkReusePort].map(|model| in_flight_at_once(stage, model, &calm));
    let ruling = ruling(together)?;
    let starve = [starves(stage, Model::ThreadPool, &calm)?, starves(stage, Model::Prefork, &calm)?] == [true; 2];
    let rows = capacity::measure(stage, &plan)?;
    let columns = [("answers", "1/s"), ("CPU", "ns"), ("memory", "bytes"), ("p99", "ns"), ("starved", "")];
    let title = format!(
        "{}, {} that stay open, requests at full speed",
        counted(workers, "worker"),
        counted(plan.connections, "connection")
    );
    stage.show(table(title, "model", &columns, rows.iter().map(|row| row.cells(plan.connections)).collect()));
    let of = |model| rows.iter().find(|row| row.model == model);
    let both = of(Model::Prefork).zip(of(Model::ThreadPool));
    let compared = both.and_then(|(prefork, pool)| Some((prefork, pool, prefork.time_against(pool)?)));
    let beyond = if starve { format!(" With both, a connection beyond {workers} waits.") } else { String::new() };
    tell(stage, &ruling, compared, &beyond);
    stage.rule(Claim::PreforkServer, ruling)
}

fn plan(stage: &mut Stage) -> Plan {
    let workers = match stage.setting("workers") as usize {
        0 => usable_cpus().len().clamp(2, 16), // Of one worker, nothing could be compared.
        workers => workers,
    };
    let work = Work {
        cpu_ns: (stage.setting("cpu_us") * 1000.0) as i64,
        wait: Duration::from_micros((stage.setting("wait_ms") * 1000.0) as u64),
        panic_per_mille: stage.setting("panic_rate") as u64,
        segv_per_mille: stage.setting("segv_rate") as u64,
    };
    let ms = Duration::from_millis;
    Plan {
        setup: Setup { work, ..Setup::calm(stage, workers) },
        connections: stage.setting("connections") as usize,
        rounds: stage.by_effort(1, 9, 15),
        closed: stage.by_effort(ms(40), ms(120), ms(1000)),
        paced: stage.by_effort(ms(50), ms(1000), ms(10_000)),
        per_s: stage.setting("rate"),
    }
}

/// Worker processes that had a request in flight at the same moment, and whether every answer was right.
type Together = (usize, bool);

fn in_flight_at_once(stage: &mut Stage, model: Model, setup: &Setup) -> Result<Together> {
    let server = Server::start(model, setup)?;
    let (mut connections, waiting) = server.hold(setup.workers)?;
    let holders = connections.iter_mut().filter_map(Connection::holder);
    let at_once = holders.map(|holder| holder.process).collect::<BTreeSet<_>>().len();
    connections.extend(waiting);
    connections.iter_mut().for_each(|connection| connection.go_on(GoOn::Answer)); // Now, and not before.
    let asked = connections.len();
    let right = asked - client::lost(connections);
    stage.fact(
        format!(
            "{}: each of {} worker processes had a request in flight before any was answered",
            model.label(),
            setup.workers
        ),
        at_once == setup.workers && right == asked,
        format!("{at_once} processes at once; {right} of {asked} requests answered right"),
    );
    Ok((at_once, right == asked))
}

fn ruling(seen: [Result<Together>; 2]) -> Result<Ruling> {
    let (mut together, mut refusals) = (Vec::new(), Vec::new());
    for one in seen {
        match one {
            Ok(one) => together.push(one),
            Err(error) => refusals.push(refused(&error).ok_or(error)?),
        }
    }
    refusals.dedup();
    let at_once = together.iter().map(|(at_once, _)| *at_once).max().unwrap_or(0);
    let all_right = together.iter().all(|(_, right)| *right);
    let right = if all_right { "every answer was right" } else { "not every answer was right" };
    let because = format!("{at_once} worker processes had a request in flight at the same moment, and {right}");
    let ruling = match at_once {
        _ if together.is_empty() => Ruling::skipped(refusals.join("; ")),
        2.. if all_right => Ruling::holds(because),
        _ => Ruling::refuted(because),
    };
    Ok(ruling.by(at_once as f64, "processes"))
}

/// What happens to a connection beyond the number of workers?
fn starves(stage: &mut Stage, model: Model, setup: &Setup) -> Result<bool> {
    const ROUNDS: u64 = 10;
    let server = Server::start(model, setup)?;
    let mut served = Vec::new();
    for id in 0..setup.workers as u64 {
        let mut connection = server.connect()?;
        server.ask(&mut connection, id)?;
        served.push(connection);
    }
    let mut beyond = server.connect()?;
    beyond.ask(1000);
    // What is asked later on the others is answered all the same, again and again.
    let mut overtaken = 0;
    for id in 0..ROUNDS {
        for connection in &mut served {
            connection.ask(id);
            overtaken += u64::from(connection.is_answered());
        }
    }
    let early = beyond.outcome();
    drop(served.pop());
    let is_answered = beyond.is_answered();
    let says = if early == Outcome::NotYet { "no answer" } else { "an answer" };
    let then = if is_answered { "its answer" } else { "none" };
    let workers = setup.workers;
    Ok(stage.fact(
        format!("{}: {workers} connections that stay open keep another waiting until one closes", model.label()),
        overtaken == ROUNDS * workers as u64 && early == Outcome::NotYet && is_answered,
        format!("{says} while {overtaken} later requests were answered; {then} after one closed"),
    ))
}

fn tell(stage: &mut Stage, ruling: &Ruling, compared: Option<(&Row, &Row, Ratio)>, beyond: &str) {
    let Some((prefork, pool, time)) = compared else {
        stage.headline(format!("{} prefork workers served at once", ruling.value.unwrap_or_default()));
        stage.answer("This machine refuses one of them.");
        return stage.advise("Serve by processes where a request may crash: copy `prefork`.");
    };
    let (ours, theirs) = (three_digits(prefork.per_s()), three_digits(pool.per_s()));
    stage.headline(format!("{ours} answers/s prefork, {theirs} pool"));
    let (faster, advice) = match (time.clear, time.ratio < 1.0) {
        (false, _) => {
            ("Neither is clearly faster", "Speed does not decide: where a request may crash, copy `prefork`.")
        }
        (true, true) => ("Prefork is faster", "Serve by processes: copy `prefork`."),
        (true, false) => ("A thread pool is faster", "Only where a request may crash, use processes: copy `prefork`."),
    };
    stage.answer(format!("{faster}: prefork {ours} requests/s, a thread pool {theirs}.{beyond}"));
    stage.advise(advice);
}
